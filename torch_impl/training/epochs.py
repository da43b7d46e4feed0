"""One epoch of training, or one pass of measuring, in plain PyTorch or in compiled code."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_impl.base.modes import inference
from torch_impl.keras.losses.functions import mean_loss
from torch_impl.keras.metrics import metrics_from_sums
from torch_impl.training.native import NativeEpoch
from torch_impl.training.objective import Metrics, Objective

__all__ = ["Eager", "Native", "measure"]


class Eager:
    """Epochs in plain PyTorch: any module, any optimizer, any device."""

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    ) -> None:
        self.objective, self.optimizer, self.scheduler = objective, optimizer, scheduler

    def train(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batch_size: int, metrics: bool
    ) -> dict[str, float]:
        """One epoch over rows in the order given; its loss and metrics."""
        objective = self.objective
        parameters = list(objective.model.parameters())
        totals = objective.metrics(rows.device) if metrics else None
        loss_sum = torch.zeros((), dtype=torch.float64, device=rows.device)
        for start in range(0, len(rows), batch_size):
            batch = slice(start, start + batch_size)
            y = labels[batch]
            outputs = objective.outputs(rows[batch])
            losses = objective.of_rows(outputs, y)
            loss = mean_loss(losses, None if weights is None else weights[batch])
            penalty = objective.penalty()
            loss = loss if penalty is None else loss + penalty
            for parameter in parameters:
                parameter.grad = None  # zero_grad's, in a tenth of its time
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            if self.scheduler is not None:
                self.scheduler.step()
            loss_sum += loss.detach().double() * len(y)
            if totals is not None:
                totals.update(outputs, y)
        return _logs(loss_sum, len(rows), totals, labels.dtype)

    def evaluate(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batch_size: int, metrics: bool
    ) -> dict[str, float]:
        """Loss and metrics without dropout."""
        return measure(self.objective, rows, labels, weights, batch_size, metrics)


class Native:
    """The same epochs by one call each into compiled code."""

    def __init__(self, objective: Objective, native: NativeEpoch) -> None:
        self.objective, self.native = objective, native

    def train(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batch_size: int, metrics: bool
    ) -> dict[str, float]:
        """One epoch over rows in the order given; its loss and metrics."""
        totals = self.native.train(rows, labels, weights, batch_size, metrics)
        return _native_logs(totals, "weighted_loss", rows, metrics)

    def evaluate(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batch_size: int, metrics: bool
    ) -> dict[str, float]:
        """Loss and metrics without dropout."""
        if weights is not None:
            return measure(self.objective, rows, labels, weights, batch_size, metrics)
        return _native_logs(self.native.evaluate(rows, labels), "loss", rows, metrics)


def measure(
    objective: Objective,
    rows: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    batch_size: int,
    metrics: bool,
) -> dict[str, float]:
    """Loss and metrics of rows without dropout, under Keras's names.

    Args:
        objective: what is measured.
        rows: (N, F), as the model takes them.
        labels: as the loss takes them.
        weights: (N, 1) of the rows in the loss, or None.
        batch_size: rows at a time.
        metrics: whether there is more than the loss.
    """
    totals = objective.metrics(rows.device) if metrics else None
    loss_sum = torch.zeros((), dtype=torch.float64, device=rows.device)
    with inference(objective.model):
        for start in range(0, len(rows), batch_size):
            y = labels[start : start + batch_size]
            outputs = objective.outputs(rows[start : start + batch_size])
            losses = objective.of_rows(outputs, y)
            if weights is not None:
                losses = losses * weights[start : start + batch_size]
            loss_sum += losses.sum(dtype=torch.float64)
            if totals is not None:
                totals.update(outputs, y)
        penalty = objective.penalty()
        if penalty is not None:
            loss_sum += penalty.double() * len(rows)
    return _logs(loss_sum, len(rows), totals, labels.dtype)


def _logs(
    loss_sum: Tensor, rows: int, totals: Metrics | None, dtype: torch.dtype
) -> dict[str, float]:
    logs = {"loss": float(loss_sum) / max(rows, 1)}
    return _as_keras_logs(logs if totals is None else logs | totals.result(), dtype)


def _native_logs(totals: NDArray[Any], loss: str, rows: Tensor, metrics: bool) -> dict[str, float]:
    logs = {"loss": float(totals[loss]) / max(len(rows), 1)}
    if metrics:
        logs |= metrics_from_sums(
            torch.tensor(
                [float(totals["loss"]), float(totals["squared_error"])], dtype=torch.float64
            ),
            torch.tensor([int(totals[name]) for name in ("tn", "fp", "fn", "tp")]),
            torch.from_numpy(totals["buckets"].ravel()),
        )
    return _as_keras_logs(logs, rows.dtype)


def _as_keras_logs(logs: dict[str, float], dtype: torch.dtype) -> dict[str, float]:
    # Keras's history holds what a tensor of floatx held, in the order of the names.
    held = torch.float64 if dtype == torch.float64 else torch.float32
    return {name: torch.tensor(logs[name], dtype=held).item() for name in sorted(logs)}
