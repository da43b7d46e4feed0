"""What the reference really draws: bits, weights, masks, orders and seeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from keras_ref.compat import to_numpy, weight_name

__all__ = [
    "dropout",
    "fit_orders",
    "fresh_model",
    "glorot_uniform",
    "noise",
    "random_bits",
    "uniform",
]

Mode = Literal["eager", "graph", "xla"]


def random_bits(seed: tuple[int, int], count: int) -> np.ndarray:
    """uint32 (count,) of a stateless op's stream; the seeds are int64."""
    bits = tf.random.stateless_uniform(
        [count], tf.constant(seed, tf.int64), minval=None, maxval=None, dtype=tf.uint32
    )
    return bits.numpy()


def uniform(seed: tuple[int, int], shape: tuple[int, ...], mode: Mode = "eager") -> np.ndarray:
    """float32 in [0, 1) of a stateless op; the seeds are int64."""
    return _uniform(shape, mode)(tf.constant(seed, tf.int64)).numpy()


@cache
def _uniform(shape: tuple[int, ...], mode: Mode) -> Callable:
    """Compiled once for all seeds."""
    return _in_mode(mode, lambda pair: tf.random.stateless_uniform(shape, pair))


def glorot_uniform(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """What the Glorot-uniform initializer gives."""
    return to_numpy(keras.initializers.GlorotUniform(seed)(shape))


def dropout(
    seed: int,
    rate: float,
    shape: tuple[int, int],
    first_call: int = 0,
    calls: int = 1,
    mode: Mode = "eager",
) -> tuple[np.ndarray, int]:
    """Training calls of a Dropout layer on ones.

    Args:
        seed: the layer's.
        rate: the layer's.
        shape: (rows, units) of the ones.
        first_call: how many calls the layer's state says it had; 0 leaves the state alone
            where the layer is called eagerly.
        calls: how many calls are made.
        mode: how they run.

    Returns:
        float32 (calls, rows, units), zero where dropped, and how many calls the state says
        were made at the end (0 for a layer without state).
    """
    if mode == "eager":
        layer, function = _dropout(rate, seed, mode)
    else:
        layer, function = _compiled_dropout(rate, mode)
    if first_call or mode != "eager":
        layer.seed_generator.state.assign([seed, first_call])
    outputs = np.stack([function(tf.ones(shape)).numpy() for _ in range(calls)])
    generator = getattr(layer, "seed_generator", None)
    return outputs, int(generator.state.value[1]) if generator else 0


def _dropout(rate: float, seed: int, mode: Mode) -> tuple[keras.layers.Dropout, Callable]:
    layer = keras.layers.Dropout(rate, seed=seed)
    return layer, _in_mode(mode, lambda x: layer(x, training=True))


@cache
def _compiled_dropout(rate: float, mode: Mode) -> tuple[keras.layers.Dropout, Callable]:
    """Compiled once for all seeds, which the layer's state holds."""
    return _dropout(rate, 0, mode)


def fit_orders(
    seed: int, rows: int, epochs: int, batch_size: int, validation_rows: int = 0
) -> np.ndarray:
    """The row numbers that `fit(shuffle=True)` trained on, int64 (epochs, rows), in order.

    Args:
        seed: for `keras.utils.set_random_seed`.
        rows: of training data.
        epochs: passes over them.
        batch_size: rows per step.
        validation_rows: of validation data, none if 0.
    """
    keras.utils.set_random_seed(seed)
    recorder = _RowRecorder()
    recorder.compile(loss="mse", run_eagerly=True)
    numbers = np.arange(rows)[:, None]
    validation = np.zeros((validation_rows, 1), np.int64)
    recorder.fit(
        numbers,
        numbers,
        batch_size=batch_size,
        epochs=epochs,
        validation_data=(validation, validation) if validation_rows else None,
        shuffle=True,
        verbose=0,
    )
    return np.concatenate(recorder.seen).reshape(epochs, rows)


def fresh_model(
    seed: int, dropout: float = 0.5, bias_initializer: str | None = "zeros"
) -> dict[str, np.ndarray]:
    """What a new 29 → 16 → 1 network drew after `set_random_seed`.

    Args:
        seed: for `keras.utils.set_random_seed`.
        dropout: rate; a layer of rate 0 has no seed.
        bias_initializer: of both Dense layers.

    Returns:
        `kernel` and `bias` of both Dense layers under `dense/…` and `dense_1/…`, and
        `dropout/seed` where the layer has one.
    """
    keras.utils.set_random_seed(seed)
    hidden = keras.layers.Dense(16, "relu", bias_initializer=bias_initializer)
    drop = keras.layers.Dropout(dropout)
    output = keras.layers.Dense(1, "sigmoid", bias_initializer=bias_initializer)
    keras.Sequential([keras.layers.Input((29,)), hidden, drop, output])
    drawn = {
        f"{name}/{weight_name(weight)}": to_numpy(weight)
        for name, layer in (("dense", hidden), ("dense_1", output))
        for weight in layer.weights
    }
    if hasattr(drop, "seed_generator"):
        # uint32 before Keras 3.5
        drawn["dropout/seed"] = np.int64(to_numpy(drop.seed_generator.state)[0])
    return drawn


class _RowRecorder(keras.Model):
    """Learns nothing and remembers which rows came."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def call(self, numbers: tf.Tensor) -> tf.Tensor:
        return tf.cast(numbers, tf.float32)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, float]:
        self.seen.append(data[0].numpy()[:, 0])
        return {"loss": 0.0}


def _in_mode(mode: Mode, function: Callable[[tf.Tensor], tf.Tensor]) -> Callable:
    if mode == "eager":
        return function
    return tf.function(function, jit_compile=mode == "xla")


def noise(kind: str, rate: float, seed: int, x: np.ndarray, calls: int) -> np.ndarray:
    """What a layer of Keras makes of x in training, call after call: (calls, *x.shape)."""
    layer = getattr(keras.layers, kind)(rate, seed=seed)
    return np.stack([to_numpy(layer(x, training=True)) for _ in range(calls)])
