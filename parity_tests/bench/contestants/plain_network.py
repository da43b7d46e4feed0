"""The network and its eleven metrics as a PyTorch user has them: nn.Sequential, torchmetrics."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

__all__ = ["eleven", "loaders", "network", "update"]


def network(output_bias: float) -> nn.Sequential:
    """From features to logits, (N, 1)."""
    model = nn.Sequential(nn.Linear(29, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1))
    nn.init.constant_(model[-1].bias, output_bias)
    return model


@cache
def tensors(features: Path) -> dict[str, Tensor]:
    """What the file of features holds."""
    return {name: torch.from_numpy(array) for name, array in dict(np.load(features)).items()}


def loaders(features: Path, batch_size: int) -> tuple[Any, Any, float]:
    """Of rows to train on and of validation rows, and the start of the output bias."""
    held = tensors(features)
    train = TensorDataset(held["x"], held["y"])
    validation = TensorDataset(held["validation_x"], held["validation_y"])
    return (
        DataLoader(train, batch_size=batch_size, shuffle=True),
        DataLoader(validation, batch_size=batch_size),
        float(held["output_bias"]),
    )


def eleven() -> Any:
    """The tutorial's metrics; those of true and false positives and negatives are one."""
    import torchmetrics
    from torchmetrics import classification

    return torchmetrics.MetricCollection(
        {
            "cross entropy": torchmetrics.MeanMetric(),
            "Brier score": torchmetrics.MeanSquaredError(),
            "counts": classification.BinaryStatScores(),
            "accuracy": classification.BinaryAccuracy(),
            "precision": classification.BinaryPrecision(),
            "recall": classification.BinaryRecall(),
            "auc": classification.BinaryAUROC(thresholds=200),
            "prc": classification.BinaryAveragePrecision(thresholds=200),
        }
    )


def update(metrics: Any, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
    """Counts a batch in."""
    probabilities, whole = torch.sigmoid(logits.detach()), labels.int()
    for name, metric in metrics.items():
        if name == "cross entropy":
            metric.update(loss.detach(), weight=len(labels))
        else:
            metric.update(probabilities, labels if name == "Brier score" else whole)
