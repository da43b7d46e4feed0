"""`torch_impl`."""

from __future__ import annotations

import importlib
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parity_tests.bench.race import seconds_of
from torch_impl import Callback, FeatureTransform, FraudClassifier, fit, load_pipeline
from torch_impl.keras.random import shuffle_permutation

__all__ = ["epoch_seconds", "loaded", "order_seconds", "probabilities_seconds", "transform_seconds"]


class Stamps(Callback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, model: torch.nn.Module) -> None:
        self.times.append(time.perf_counter())

    def on_epoch_end(self, epoch: int, logs: Any, model: torch.nn.Module) -> None:
        self.times.append(time.perf_counter())


def epoch_seconds(
    features: Path, batch_size: int, epochs: int, full: bool, compiled: bool
) -> list[float]:
    """Of each epoch of `fit`.

    Args:
        features: the file.
        batch_size: rows a step.
        epochs: how many.
        full: whether with the eleven metrics and validation.
        compiled: as `fit` takes it.
    """
    rows = _arrays(features)
    validation = (rows["validation_x"], rows["validation_y"]) if full else None
    model = FraudClassifier(output_bias=float(rows["output_bias"]), seed=42)
    stamps = Stamps()
    fit(
        model, rows["x"], rows["y"], batch_size=batch_size, epochs=epochs, seed=42, metrics=full,
        validation_data=validation, callbacks=[stamps], compiled=compiled, progress=False,
    )  # fmt: skip
    return list(np.diff(stamps.times))


@cache
def _arrays(features: Path) -> dict[str, np.ndarray]:
    return dict(np.load(features))


def transform_seconds(raw: Path, scaler: Path) -> float:
    """Of raw rows to features."""
    rows, numbers = torch.from_numpy(_rows(raw)), _arrays(scaler)
    transform = FeatureTransform(numbers["mean"], numbers["scale"])
    return seconds_of(lambda: transform(rows))


@cache
def _rows(raw: Path) -> np.ndarray:
    return np.load(raw)


def probabilities_seconds(raw: Path, pipeline: Path) -> float:
    """Of raw rows to probabilities."""
    rows, loaded = _rows(raw), _pipeline(pipeline)
    return seconds_of(lambda: loaded.predict_proba(rows).numpy())


_pipeline = cache(load_pipeline)


def loaded() -> list[str]:
    """Top-level modules of this process."""
    return sorted({name.partition(".")[0] for name in sys.modules if sys.modules[name]})


def imported(name: str) -> None:
    """Imports a module here."""
    importlib.import_module(name)


def order_seconds(rows: int) -> float:
    """Of Keras's order of so many rows."""
    return seconds_of(lambda: shuffle_permutation(42, rows))
