"""The tutorial's network, as the tutorial writes it.

Ported from TensorFlow's "Classification on imbalanced data"
(tensorflow.org/tutorials/structured_data/imbalanced_data), with one change: the tutorial
passes `bias_initializer=None` for "no prior", and Keras then draws that bias from
Glorot-uniform instead of starting it at zero. Here it is zero, as the tutorial means it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_ref.compat import to_numpy, weight_name

__all__ = [
    "OF_FLOAT32",
    "DropoutOfFloat32",
    "get_weights",
    "initial_weights",
    "make_model",
    "set_weights",
]


class DropoutOfFloat32(keras.layers.Dropout):
    """`Dropout` with the mask of float32 in every dtype.

    TensorFlow draws other bits for another dtype. Here the ordinary layer drops ones of float32,
    so that float64 loses the very units that float32 loses.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drops and scales in the inputs' dtype."""
        if not training or self.rate == 0:
            return inputs
        ones = keras.ops.ones_like(inputs, dtype="float32")
        kept = super().call(ones, training=True) != 0
        scale = 1 / (1 - self.rate) if self.rate < 1 else 0
        return keras.ops.where(kept, inputs * scale, keras.ops.zeros_like(inputs))


class AlphaDropoutOfFloat32(keras.layers.AlphaDropout):
    """`AlphaDropout` that drops the units of float32 in every dtype."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drops, scales and shifts in the inputs' dtype."""
        if not training or self.rate == 0:
            return inputs
        # Keras's own draws numbers of floatx.
        drawn = keras.random.uniform(
            keras.ops.shape(inputs), dtype="float32", seed=self.seed_generator
        )
        kept = keras.ops.cast(drawn >= self.rate, inputs.dtype)
        lowest = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946
        scale = ((1 - self.rate) * (1 + self.rate * lowest**2)) ** -0.5
        shift = -scale * lowest * self.rate
        return scale * (inputs * kept + lowest * (1 - kept)) + shift


OF_FLOAT32: dict[str, type[keras.layers.Layer]] = {
    "Dropout": DropoutOfFloat32,
    "AlphaDropout": AlphaDropoutOfFloat32,
}
"""By the class in whose place they stand."""


class Layers(NamedTuple):
    """The classes that a network is made of."""

    hidden: Callable[..., keras.layers.Layer] = keras.layers.Dense
    dropout: Callable[..., keras.layers.Layer] = keras.layers.Dropout
    output: Callable[..., keras.layers.Layer] = keras.layers.Dense


def make_model(
    in_features: int = 29,
    hidden_units: int = 16,
    dropout: float = 0.5,
    output_bias: float | None = None,
    seed: int | None = None,
    layers: Layers | None = None,
) -> keras.Sequential:
    """Builds the network, its layers called what Keras calls the first of their kinds.

    Args:
        in_features: width of a feature row.
        hidden_units: width of the hidden layer.
        dropout: share of hidden units dropped in training, 0 to 1.
        output_bias: start of the output bias, zero if None.
        seed: what `keras.utils.set_random_seed` gets before the layers are made.
        layers: what they are; the tutorial's, Keras's own, if None.
    """
    layers = layers or Layers()
    if seed is not None:
        keras.utils.set_random_seed(seed)
    bias_initializer = "zeros" if output_bias is None else keras.initializers.Constant(output_bias)
    return keras.Sequential(
        [
            keras.layers.Input((in_features,)),
            # Names that a process does not count upwards.
            layers.hidden(hidden_units, activation="relu", name="dense"),
            layers.dropout(dropout, name="dropout"),
            layers.output(
                1, activation="sigmoid", bias_initializer=bias_initializer, name="dense_1"
            ),
        ]
    )


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """The weights by name, `layer/weight` (`dense/kernel`, …), as copies."""
    return {
        f"{layer.name}/{weight_name(weight)}": to_numpy(weight).copy()
        for layer in model.layers
        for weight in layer.weights
        if weight.trainable
    }


def set_weights(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Copies weights in by name.

    Raises:
        ValueError: a name is missing or unexpected, or a shape or dtype differs; all are
            named at once and nothing is copied.
    """
    targets = {
        f"{layer.name}/{weight_name(weight)}": weight
        for layer in model.layers
        for weight in layer.weights
        if weight.trainable
    }
    faults = [f"{name} is missing" for name in sorted(targets.keys() - weights.keys())]
    faults += [f"{name} is unexpected" for name in sorted(weights.keys() - targets.keys())]
    for name in sorted(targets.keys() & weights.keys()):
        came = (weights[name].shape, str(weights[name].dtype))
        expected = (tuple(targets[name].shape), targets[name].dtype)
        if came != expected:
            faults.append(f"{name} came as {came}, expected {expected}")
    if faults:
        raise ValueError("Keras weights do not fit: " + "; ".join(faults))
    for name, target in targets.items():
        target.assign(weights[name])


def initial_weights(
    in_features: int = 29,
    hidden_units: int = 16,
    dropout: float = 0.5,
    output_bias: float | None = None,
    seed: int | None = None,
) -> dict[str, np.ndarray]:
    """The weights that a new model starts with (arguments as `make_model`)."""
    return get_weights(make_model(in_features, hidden_units, dropout, output_bias, seed))


def copy_through(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sets weights into a model of their sizes and reads them back."""
    in_features, hidden_units = weights["dense/kernel"].shape
    model = make_model(in_features, hidden_units)
    set_weights(model, weights)
    return get_weights(model)


def dropped(seed: int, rate: float, shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Two training calls of `DropoutOfFloat32` on ones, (2, *shape) of the dtype."""
    layer = DropoutOfFloat32(rate, seed=seed, dtype=dtype)
    return np.stack([to_numpy(layer(np.ones(shape, dtype), training=True)) for _ in range(2)])


def untouched_tutorial_bias(seed: int) -> np.ndarray:
    """The output bias that the tutorial's own `bias_initializer=None` starts with."""
    keras.utils.set_random_seed(seed)
    layer = keras.layers.Dense(1, activation="sigmoid", bias_initializer=None)
    layer.build((None, 16))
    return to_numpy(layer.bias)
