"""The tutorial's transform with NumPy and scikit-learn, and Keras's `predict` behind it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from parity_tests.bench.race import seconds_of

__all__ = ["predict_seconds", "transform_seconds"]


def transform_seconds(raw: Path, scaler: Path) -> float:
    """Of raw rows to features."""
    rows, fitted = _ready(raw, scaler)
    return seconds_of(lambda: _transformed(rows, fitted))


def predict_seconds(raw: Path, scaler: Path, model: Path, batch_size: int) -> float:
    """Of raw rows to probabilities, in the process of a Keras."""
    rows, fitted = _ready(raw, scaler)
    network = _network(model)
    return seconds_of(
        lambda: network.predict(_transformed(rows, fitted), batch_size=batch_size, verbose=0)
    )


def _transformed(rows: np.ndarray, scaler: StandardScaler) -> np.ndarray:
    rows = rows.copy()
    rows[:, -1] = np.log(rows[:, -1] + 0.001)
    return np.clip(scaler.transform(rows), -5, 5).astype(np.float32)


@cache
def _ready(raw: Path, scaler: Path) -> tuple[np.ndarray, StandardScaler]:
    fitted, numbers = StandardScaler(), np.load(scaler)
    fitted.mean_, fitted.scale_, fitted.var_ = (numbers[n] for n in ("mean", "scale", "var"))
    fitted.n_features_in_ = len(fitted.mean_)
    return np.load(raw), fitted


@cache
def _network(model: Path) -> Any:
    import keras

    return keras.saving.load_model(model, compile=False)
