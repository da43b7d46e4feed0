"""Keras's optimizers: runs of a small network, and steps by given gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ref import compat

__all__ = ["step", "train"]

Case = tuple[str, dict[str, Any], float | None]
"""Class in `keras.optimizers`, its options, and the learning rate of the second half."""


def train(
    cases: dict[str, Case],
    weights: dict[str, np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    steps: int,
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Trains Dense tanh, Dense with the mean cross-entropy of its logits, anew for each case.

    Args:
        cases: by name.
        weights: where each run begins, `hidden/kernel` and so on, (in, out) for kernels.
        x: (batches, N, F), taken one after the other and over again.
        y: (batches, N, 1).
        steps: of each run.

    Returns:
        By case, then dtype (`float32`, `float64`): each weight by its path, and by
        `path/name` what the optimizer keeps of it, under Keras's name.
    """
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {name: {} for name in cases}
    for dtype in ("float32", "float64"):
        with compat.computing_in(dtype):
            model = _model(weights)
            gradients = _gradients(model, tf.constant(x, dtype), tf.constant(y, dtype))
            for name, (kind, options, later) in cases.items():
                _start(model, weights)
                optimizer = getattr(keras.optimizers, kind)(**options)
                optimizer.build(model.trainable_variables)
                run = _run(optimizer, model, gradients)
                run(tf.constant(0), tf.constant(steps // 2))
                if later is not None:
                    optimizer.learning_rate = later
                run(tf.constant(steps // 2), tf.constant(steps))
                found[name][dtype] = _variables(optimizer, model)
    return found


def step(
    cases: dict[str, Case], weights: dict[str, np.ndarray], gradients: list[dict[str, np.ndarray]]
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """A step by each of the given gradients, op by op, returned as `train` does."""
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {name: {} for name in cases}
    for dtype in ("float32", "float64"):
        with compat.computing_in(dtype):
            model = _model(weights)
            for name, (kind, options, _) in cases.items():
                _start(model, weights)
                optimizer = getattr(keras.optimizers, kind)(**options)
                for given in gradients:
                    tensors = [
                        tf.constant(given[_name(w)], dtype) for w in model.trainable_variables
                    ]
                    optimizer.apply(tensors, model.trainable_variables)
                found[name][dtype] = _variables(optimizer, model)
    return found


def _model(weights: dict[str, np.ndarray]) -> keras.Model:
    features, units = weights["hidden/kernel"].shape
    return keras.Sequential([
        keras.Input((features,)),
        keras.layers.Dense(units, activation="tanh", name="hidden"),
        keras.layers.Dense(1, name="output"),
    ])  # fmt: skip


def _start(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    for variable in model.trainable_variables:
        variable.assign(weights[_name(variable)])


def _gradients(model: keras.Model, x: tf.Tensor, y: tf.Tensor) -> Callable[..., Any]:
    loss = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def of_batch(number: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            value = loss(y[number], model(x[number], training=True))
        return tape.gradient(value, model.trainable_variables)

    return lambda number: of_batch(number % len(x))


def _run(optimizer: Any, model: keras.Model, gradients: Callable[..., Any]) -> Callable[..., Any]:
    """Steps from a first to a last one, in one graph."""

    @tf.function
    def run(first: tf.Tensor, last: tf.Tensor) -> None:
        for number in tf.range(first, last):
            optimizer.apply(gradients(number), model.trainable_variables)

    return run


def _variables(optimizer: Any, model: keras.Model) -> dict[str, np.ndarray]:
    found = {}
    for weight in model.trainable_variables:
        found[_name(weight)] = compat.to_numpy(weight)
        prefix = weight.path.replace("/", "_") + "_"  # what is kept is called by its weight's path
        for kept in optimizer.variables:
            if kept.name.startswith(prefix):
                name = f"{_name(weight)}/{kept.name.removeprefix(prefix)}"
                found[name] = compat.to_numpy(kept)
    return found


def _name(weight: Any) -> str:
    """Its path without the model's name, such as `hidden/kernel`."""
    return weight.path.partition("/")[2]
