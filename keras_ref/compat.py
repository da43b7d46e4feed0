"""How versions and backends of Keras are asked the same question; the one place that knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

__all__ = [
    "KERAS_2",
    "adam_moments",
    "apply_gradients",
    "built_for",
    "clear_session",
    "computing_in",
    "export",
    "gradients",
    "iterations",
    "learning_rate",
    "to_numpy",
    "wake",
    "weight_name",
]

KERAS_2 = keras.__version__.startswith("2.")


@contextmanager
def computing_in(dtype: str) -> Iterator[None]:
    """Makes new layers, optimizers, losses and metrics compute in a dtype."""
    keras.backend.set_floatx(dtype)
    keras.mixed_precision.set_global_policy(dtype)
    try:
        yield
    finally:
        keras.backend.set_floatx("float32")
        keras.mixed_precision.set_global_policy("float32")


def clear_session() -> None:
    """Names are counted anew; older ones always search for garbage, which takes 0.2 s."""
    try:
        keras.backend.clear_session(free_memory=False)
    except TypeError:
        keras.backend.clear_session()


def wake() -> None:
    """One small operation, with which a backend is loaded and says what it has to say."""
    (keras.backend if KERAS_2 else keras.ops).zeros(1)


def to_numpy(tensor: Any) -> np.ndarray:
    """A tensor's or variable's value; of any dtype, bfloat16 too."""
    if KERAS_2:
        return tensor.numpy()
    if keras.backend.backend() == "torch":  # whose tensors may not be asked while they learn
        return keras.ops.convert_to_numpy(tensor)
    return np.asarray(keras.ops.convert_to_tensor(tensor))


def weight_name(weight: Any) -> str:
    """`kernel` or `bias`; Keras 2 says `dense/kernel:0`."""
    return weight.name.rpartition("/")[2].partition(":")[0]


def gradients(
    model: keras.Model, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None
) -> list[np.ndarray]:
    """Of the compiled loss in training mode, for each trainable weight in the model's order."""
    ask = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()]
    return ask(model, x, y, sample_weight)


def _tensorflow(model: keras.Model, x: Any, y: Any, weight: Any) -> list[np.ndarray]:
    import tensorflow as tf

    # Keras 2 takes no arrays here.
    x, y, weight = (a if a is None else tf.constant(a) for a in (x, y, weight))

    @tf.function
    def of_one_batch() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True), weight)
        return tape.gradient(loss, model.trainable_weights)

    return [gradient.numpy() for gradient in of_one_batch()]


def _jax(model: keras.Model, x: Any, y: Any, weight: Any) -> list[np.ndarray]:
    import jax

    def loss(trainable: Any, others: Any, metrics: Any) -> Any:
        predicted, others = model.stateless_call(trainable, others, x, training=True)
        value, _ = model.stateless_compute_loss(
            trainable, others, metrics, x=x, y=y, y_pred=predicted, sample_weight=weight
        )
        return value

    variables = (model.trainable_variables, model.non_trainable_variables, model.metrics_variables)
    came = jax.grad(loss)(*([variable.value for variable in kind] for kind in variables))
    return [np.asarray(gradient) for gradient in came]


def _torch(model: keras.Model, x: Any, y: Any, weight: Any) -> list[np.ndarray]:
    model.zero_grad()
    model.compute_loss(x, y, model(x, training=True), weight).backward()
    return [variable.value.grad.numpy().copy() for variable in model.trainable_weights]


def apply_gradients(optimizer: Any, came: list[np.ndarray], model: keras.Model) -> None:
    """One step of the optimizer."""
    convert = keras.backend.constant if KERAS_2 else keras.ops.convert_to_tensor
    tensors = [convert(gradient) for gradient in came]
    optimizer.apply_gradients(zip(tensors, model.trainable_weights, strict=True))


def adam_moments(optimizer: Any) -> dict[str, list[Any]]:
    """`momentum` and `velocity`, in the order of the weights that Adam was built for.

    Neither list where the optimizer is not of Adam's kind. Keras 3.0 to 3.2 order
    `optimizer.variables` as the later ones do, but these attributes are in all.
    """
    return {
        "momentum": list(getattr(optimizer, "_momentums", [])),
        "velocity": list(getattr(optimizer, "_velocities", [])),
    }


def built_for(optimizer: Any, weights: list[Any]) -> list[Any]:
    """Those of the weights that an optimizer was built for, in its order."""
    if KERAS_2:
        return sorted(weights, key=lambda weight: optimizer._index_dict[optimizer._var_key(weight)])
    return list(optimizer._trainable_variables)


def learning_rate(optimizer: Any) -> float:
    """Of its next step."""
    return float(to_numpy(optimizer.learning_rate))


def iterations(optimizer: Any) -> int:
    """Steps made; Keras before 3.3 has no `int()` of a variable."""
    return int(to_numpy(optimizer.iterations))


def export(model: keras.Model, folder: str) -> None:
    """`model.export` without its progress on the screen; older ones cannot be told so."""
    try:
        model.export(folder, verbose=False)
    except TypeError:
        model.export(folder)
