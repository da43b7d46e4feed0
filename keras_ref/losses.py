"""The reference's loss from probabilities, and its metrics over given logits."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_ref import compat
from keras_ref.compat import to_numpy
from keras_ref.training import tutorial_metrics

__all__ = ["binary_crossentropy", "functions_of", "metrics_of_logits", "of_rows"]


def binary_crossentropy(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`keras.losses.binary_crossentropy` of each row's probability, (N, 1)."""
    losses = keras.losses.binary_crossentropy(labels, probabilities)
    return to_numpy(losses)[:, None]


def metrics_of_logits(
    logits: np.ndarray, labels: np.ndarray, batch_size: int = 100
) -> dict[str, float]:
    """The eleven metrics that `evaluate` reports for a model that gives these logits.

    Args:
        logits: float32 (N, 1).
        labels: float32 (N, 1).
        batch_size: of `evaluate`.
    """
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Activation("sigmoid")])
    model.compile(loss=keras.losses.BinaryCrossentropy(), metrics=tutorial_metrics())
    answers = model.evaluate(logits, labels, batch_size=batch_size, verbose=0, return_dict=True)
    return {metric.name: float(answers[metric.name]) for metric in tutorial_metrics()}


def of_rows(
    cases: list[tuple[str, dict[str, Any], str, np.ndarray, np.ndarray]],
) -> list[dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Losses of rows, and their gradients by what stands before a model's last activation.

    In one compiled graph, as `fit` makes it: there a loss may look behind the activation.

    Args:
        cases: for each a class of `keras.losses`, its options, the activation at the end, what
            it is taken of (N, units), and labels.

    Returns:
        For each, by dtype, losses (N,) and gradients (N, units).
    """
    return [
        dict(zip(_DTYPES, answers, strict=True))
        for answers in zip(*(_computed(cases, dtype) for dtype in _DTYPES), strict=True)
    ]


_DTYPES = ("float32", "float64")


def _computed(
    cases: list[tuple[str, dict[str, Any], str, np.ndarray, np.ndarray]], dtype: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    import tensorflow as tf

    def made(
        name: str, options: dict[str, Any], end: str, x: np.ndarray, y: np.ndarray
    ) -> tuple[keras.Model, keras.losses.Loss, tf.Tensor, tf.Tensor]:
        model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Activation(end)])
        loss = getattr(keras.losses, name)(**options, reduction=None)
        return model, loss, tf.constant(x.astype(dtype)), tf.constant(y.astype(dtype))

    with compat.computing_in(dtype):
        models, losses, x, y = zip(*(made(*case) for case in cases), strict=True)

        @tf.function
        def graph(x: list[tf.Tensor], y: list[tf.Tensor]) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                values = [
                    loss(labels, model(inputs, training=True))
                    for model, loss, inputs, labels in zip(models, losses, x, y, strict=True)
                ]
            return values, tape.gradient(values, x)

        values, gradients = graph(list(x), list(y))
    return [(v.numpy(), g.numpy()) for v, g in zip(values, gradients, strict=True)]


def functions_of(names: list[str]) -> dict[str, str]:
    """The function behind each name that `keras.losses.get` takes, of a class too."""
    found = {name: keras.losses.get(name) for name in names}
    return {name: getattr(loss, "fn", loss).__name__ for name, loss in found.items()}
