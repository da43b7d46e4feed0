"""Short runs of `fit` on a few random rows, for the tests of how it behaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_impl import FraudClassifier, History, fit

__all__ = ["FEATURES", "ROWS", "X", "Y", "assert_same", "rows_and_labels", "trained"]

ROWS, FEATURES = 300, 5


def rows_and_labels(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, 5) and labels (N, 1), float32; one in four or so is positive."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, FEATURES)).astype(np.float32)
    return x, (x[:, :1] + generator.normal(size=(rows, 1)) > 1).astype(np.float32)


def trained(x: Any, y: Any = None, **options: Any) -> tuple[dict[str, Tensor], History]:
    """Weights and history after two epochs of a small classifier."""
    model = FraudClassifier(FEATURES, 8, seed=3)
    options = {"batch_size": 64, "epochs": 2, "seed": 3, "progress": False} | options
    history = fit(model, x, y, **options)
    return model.state_dict(), history


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Every tensor, to the bit."""
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


X, Y = rows_and_labels()
