"""Keras's float32 sigmoid."""

from __future__ import annotations

import keras
import numpy as np

__all__ = ["sigmoid"]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of float32 logits, any shape."""
    return np.array(keras.activations.sigmoid(logits))
