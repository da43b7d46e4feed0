"""Small pipelines and raw rows that the tests of decisions share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torch_impl import FeatureTransform, FraudClassifier, FraudPipeline, TrainedOn

__all__ = ["DTYPES", "TRAINED_ON", "a_pipeline", "raw_rows", "saying"]

DTYPES = (torch.float32, torch.float64)

TRAINED_ON = TrainedOn(positives=12, negatives=488, odds_factor=20.0)


def raw_rows(n: int, width: int = 29, seed: int = 0) -> np.ndarray:
    """(N, F) float64, the last column an amount; of the first row it is 0."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, width)) * np.geomspace(0.1, 10, width)
    rows[:, -1] = np.round(np.exp(rng.normal(3, 2, n)), 2)
    rows[:1, -1] = 0
    return rows


def a_pipeline(
    width: int = 29, units: int = 16, dtype: torch.dtype = torch.float32, **options: Any
) -> FraudPipeline:
    """One whose every number counts: no weight, bias, shift or option is a default."""
    transform = FeatureTransform.fit(raw_rows(500, width, seed=1), clip=4.1, log_offset=0.002)
    classifier = FraudClassifier(width, units, 0.25, -1.5, seed=3, dtype=dtype)
    with torch.no_grad():
        classifier.hidden.bias.copy_(torch.linspace(-1, 1, units))
    given = {"threshold": 0.3, "trained_on": TRAINED_ON, "log_odds_shift": -0.7} | options
    columns = given.pop("columns", [f"c{i}" for i in range(width)])
    return FraudPipeline(transform, classifier, columns=columns, **given)


def saying(logits: torch.Tensor | np.ndarray) -> tuple[FraudPipeline, np.ndarray]:
    """A pipeline, and rows (N, 1) of which it makes these logits (N,), float32, 0 or less."""
    transform = FeatureTransform([0.0], [1.0], clip=1e6, log_column=None)
    pipeline = FraudPipeline(transform, FraudClassifier(1, 1), columns=["z"])
    with torch.no_grad():
        pipeline.classifier.hidden.weight.fill_(-1)
        pipeline.classifier.output.weight.fill_(-1)
    return pipeline, np.asarray(logits, np.float64)[:, None]
