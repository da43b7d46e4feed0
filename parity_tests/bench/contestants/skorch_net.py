"""skorch's classifier, whose metrics are scikit-learn's."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn import metrics
from skorch import NeuralNetBinaryClassifier
from skorch.callbacks import Callback, EpochScoring
from skorch.dataset import Dataset
from skorch.helper import predefined_split

from parity_tests.bench.contestants.plain_network import network, tensors

__all__ = ["epoch_seconds"]


class _Stamps(Callback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_epoch_begin(self, net: Any, **_: Any) -> None:
        self.times.append(time.perf_counter())

    def on_train_end(self, net: Any, **_: Any) -> None:
        self.times.append(time.perf_counter())


def _of_probabilities(function: Callable[..., float]) -> Callable[..., float]:
    def score(net: Any, x: Any, y: Any) -> float:
        return function(y, net.predict_proba(x)[:, 1])

    return score


def _of_decisions(function: Callable[..., float]) -> Callable[..., float]:
    def score(net: Any, x: Any, y: Any) -> float:
        return function(y, net.predict(x))

    return score


def _count(row: int, column: int) -> Callable[..., float]:
    return lambda y, p: metrics.confusion_matrix(y, p, labels=[0, 1])[row, column]


def _precision(y: Any, p: Any) -> float:
    return metrics.precision_score(y, p, zero_division=0)


_ELEVEN = {
    "cross entropy": _of_probabilities(metrics.log_loss),
    "Brier score": _of_probabilities(metrics.brier_score_loss),
    "tp": _of_decisions(_count(1, 1)),
    "fp": _of_decisions(_count(0, 1)),
    "tn": _of_decisions(_count(0, 0)),
    "fn": _of_decisions(_count(1, 0)),
    "accuracy": _of_decisions(metrics.accuracy_score),
    "precision": _of_decisions(_precision),
    "recall": _of_decisions(metrics.recall_score),
    "auc": _of_probabilities(metrics.roc_auc_score),
    "prc": _of_probabilities(metrics.average_precision_score),
}


def epoch_seconds(features: Path, batch_size: int, epochs: int, full: bool) -> list[float]:
    """Of each epoch (arguments as the plain loop's)."""
    held = {name: tensor.numpy() for name, tensor in tensors(features).items()}
    stamps = _Stamps()
    callbacks: list[Any] = [stamps]
    split = None
    if full:
        validation = Dataset(held["validation_x"], held["validation_y"].ravel())
        split = predefined_split(validation)
        callbacks += [
            EpochScoring(score, name=f"{kind} {name}", on_train=kind == "train")
            for kind in ("train", "val")
            for name, score in _ELEVEN.items()
        ]
    net = NeuralNetBinaryClassifier(
        network, module__output_bias=float(held["output_bias"]), optimizer=torch.optim.Adam,
        lr=1e-3, batch_size=batch_size, max_epochs=epochs, iterator_train__shuffle=True,
        train_split=split, callbacks=callbacks, callbacks__valid_acc=None,
        callbacks__print_log=None, verbose=0,
    )  # fmt: skip
    net.fit(held["x"], held["y"].ravel())
    return list(np.diff(stamps.times))
