"""Trained weights from the reference's own `fit`."""

from __future__ import annotations

import keras
import numpy as np

from keras_ref.model import get_weights, make_model

__all__ = ["trained_weights"]


def trained_weights(
    features: np.ndarray,
    labels: np.ndarray,
    output_bias: float | None,
    seed: int,
    epochs: int,
    batch_size: int = 2048,
    hidden_units: int = 16,
) -> dict[str, np.ndarray]:
    """Trains the tutorial's network and returns its weights by name.

    Args:
        features: float32 (N, in_features).
        labels: float32 (N, 1), 0 or 1.
        output_bias: start of the output bias, zero if None.
        seed: for `keras.utils.set_random_seed`.
        epochs: passes over the rows.
        batch_size: rows per step.
        hidden_units: width of the hidden layer.
    """
    model = make_model(
        features.shape[1], hidden_units=hidden_units, output_bias=output_bias, seed=seed
    )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=1e-3),
        loss=keras.losses.BinaryCrossentropy(),
    )
    model.fit(features, labels, batch_size=batch_size, epochs=epochs, verbose=0)
    return get_weights(model)
