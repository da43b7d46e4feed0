"""Keras's float32 sigmoid."""

from __future__ import annotations

import keras
import numpy as np

from keras_ref.compat import to_numpy

__all__ = ["sigmoid"]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of float32 logits, any shape."""
    return to_numpy(keras.activations.sigmoid(logits))
