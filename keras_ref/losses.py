"""The reference's loss from probabilities, and its metrics over given logits."""

from __future__ import annotations

import keras
import numpy as np

from keras_ref.compat import to_numpy
from keras_ref.training import tutorial_metrics

__all__ = ["binary_crossentropy", "metrics_of_logits"]


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
