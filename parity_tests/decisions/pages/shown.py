"""What the pages of torch_impl are made of in their tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torch_impl.keras.metrics import KerasMetrics
from torch_impl.pages.evaluation import Evaluation
from torch_impl.pages.training import Counts, Training
from torch_impl.pipeline.pipeline import COLUMNS
from torch_impl.pipeline.threshold import Ranking

__all__ = ["an_evaluation", "scores", "some_training"]


def scores(rows: int = 5000, rate: float = 0.02, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """float32 probabilities of a model that ranks well, and labels (N,)."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < rate).astype(np.float32)
    labels[:2] = (0, 1)
    p = 1 / (1 + np.exp(5 - 6 * labels - 2 * rng.normal(size=rows)))
    return p.astype(np.float32), labels


def an_evaluation(p: Any = None, labels: Any = None, **options: Any) -> Evaluation:
    """Of these probabilities, or of those of `scores`."""
    if p is None:
        p, labels = scores()
    p, labels = np.asarray(p, np.float32), np.asarray(labels, np.float32)
    metrics = KerasMetrics()
    logits = torch.logit(torch.from_numpy(p), eps=1e-7)
    metrics.update(logits[:, None], torch.from_numpy(labels)[:, None])
    given = {"model": "fraud.safetensors", "table": "rows.csv", "threshold": 0.5} | options
    return Evaluation(metrics=metrics.result(), ranking=Ranking(p, labels), **given)


def some_training(epochs: int = 12, **options: Any) -> Training:
    """A run of some epochs, on rows of which a few columns tell the classes apart."""
    rng = np.random.default_rng(1)
    labels = (rng.random((2000, 1)) < 0.05).astype(np.float32)
    rows = rng.normal(size=(2000, 29)) + labels * np.linspace(0, 3, 29)
    rows[:, -1] = np.round(rng.lognormal(3, 1.5, 2000), 2)
    falling = [0.3 * 0.6**k + 0.004 for k in range(epochs)]
    rising = [0.8 - 0.7 * 0.8**k for k in range(epochs)]
    history = {"loss": falling, "val_loss": [v / 2 for v in falling]}
    for key in ("prc", "precision", "recall"):
        history |= {key: rising, f"val_{key}": [v * 0.9 for v in rising]}
    given = {
        "model": "fraud.safetensors",
        "table": "rows.csv",
        "history": history,
        "kept_epoch": epochs // 2,
        "options": {"epochs at most": "100", "seed": "0"},
        "splits": {"training": Counts(2000, 101), "test": Counts(500, 24)},
        "columns": COLUMNS,
        "rows": rows,
        "labels": labels,
    }
    return Training(**given | options)
