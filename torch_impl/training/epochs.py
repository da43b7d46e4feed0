"""One epoch of training, or one pass of measuring, in plain PyTorch or in compiled code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_impl.base.modes import inference
from torch_impl.base.processes import Part, Processes
from torch_impl.keras.layers.drawing import Drawing
from torch_impl.keras.losses.functions import mean_loss
from torch_impl.keras.metrics import metrics_from_sums
from torch_impl.training.native import NativeEpoch
from torch_impl.training.objective import Metrics, Objective
from torch_impl.training.shares import TILE, Batches, Share, tree_sum

__all__ = ["Eager", "Native", "measure"]


@dataclass(frozen=True)
class Batch:
    """A process's rows of a batch.

    Attributes:
        rows: (n, F).
        labels: as the loss takes them.
        weights: (n, 1) or None.
        share: which rows of the batch they are.
        group: the processes.
    """

    rows: Tensor
    labels: Tensor
    weights: Tensor | None
    share: Share
    group: Processes

    def tile(self, first: int) -> Batch:
        """The tile that begins at a row of the whole batch."""
        end = min(first + TILE, self.share.rows.stop)
        own = slice(first - self.share.rows.start, end - self.share.rows.start)
        weights = None if self.weights is None else self.weights[own]
        share = self.share._replace(rows=range(first, end))
        # Copied, as a product's bits may depend on where in memory its rows begin.
        return Batch(self.rows[own].clone(), self.labels[own], weights, share, self.group)


class Eager:
    """Epochs in plain PyTorch: any module, any optimizer, any device.

    Args:
        objective: what is minimised.
        optimizer: of its module's parameters.
        scheduler: of the learning rate, or None.
        tiled: whether each tile of rows goes forward and back alone, so that the bits do not
            depend on how many processes there are.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None,
        tiled: bool = False,
    ) -> None:
        self.objective, self.optimizer, self.scheduler = objective, optimizer, scheduler
        self._tiled = tiled
        self._parameters = list(objective.model.parameters())
        modules = objective.model.modules()
        self._sharing: list[Any] = [m for m in modules if hasattr(type(m), "part")]

    def train(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batches: Batches, metrics: bool
    ) -> dict[str, float]:
        """One epoch over rows in the order given; its loss and metrics, of all processes' rows."""
        totals = self.objective.metrics(rows.device) if metrics else None
        sums = _no_sums(totals, rows.device)
        at = 0
        for share in batches:
            own = slice(at, at := at + len(share.rows))
            batch = Batch(
                rows[own], labels[own], None if weights is None else weights[own],
                share, batches.group,
            )  # fmt: skip
            sums += self._of_tiles(batch, totals) if self._tiled else self._of_rows(batch, totals)
            penalty = self.objective.penalty()
            if penalty is not None:
                if penalty.requires_grad:  # not of weights that are frozen
                    penalty.backward()  # type: ignore[no-untyped-call]
                if self._tiled or batches.group.first:
                    sums[0] += penalty.detach().double() * share.of_rows
            self.optimizer.step()
            if self.scheduler is not None:
                self.scheduler.step()
        if not self._tiled:
            batches.group.add_up(sums)
        return _logs(sums, batches, totals, labels.dtype)

    def _of_rows(self, batch: Batch, totals: Metrics | None) -> Tensor:
        """The batch's gradients, of this process's rows at once; the sums over those rows."""
        sums = self._backward(batch, totals)
        gradients = self._gradients()
        if batch.group.count > 1 and gradients:
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            batch.group.add_up(flat)
            _unflatten(flat, gradients)
        return sums

    def _of_tiles(self, batch: Batch, totals: Metrics | None) -> Tensor:
        """The batch's gradients, and the sums over all of its rows, as `tree_sum` adds them up."""
        drawing = [m for m in self.objective.model.modules() if isinstance(m, Drawing)]
        calls = [layer.calls for layer in drawing]
        share = batch.share
        slots: dict[int, list[tuple[Tensor, Tensor]]] = {slot: [] for slot in share.slots}
        # A process without rows makes the call all the same: layers count it.
        for first in share.rows[::TILE] or [share.rows.start]:
            for layer, before in zip(drawing, calls, strict=True):
                layer.calls = before
            sums = self._backward(batch.tile(first), totals)
            gradients = self._gradients()
            if slots:
                flat = torch.cat([gradient.flatten() for gradient in gradients])
                slots[first // TILE >> share.level].append((flat, sums))
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        kept = torch.zeros(share.of, len(flat) + len(sums), dtype=torch.float64, device=flat.device)
        for slot, tiles in slots.items():
            of_tiles = [[*parts] for parts in zip(*tiles, strict=True)]
            kept[slot] = torch.cat([tree_sum(parts).double() for parts in of_tiles])
        # A slot is one process's bits and zeros of all others: integers add them unchanged.
        batch.group.add_up(kept.view(torch.int64))
        _unflatten(tree_sum([*kept[:, : len(flat)].to(flat.dtype)]), gradients)
        return tree_sum([*kept[:, len(flat) :]])

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self._parameters if p.grad is not None]

    def _backward(self, batch: Batch, totals: Metrics | None) -> Tensor:
        """Leaves gradients of some rows' part of the batch's loss; the sums over those rows."""
        objective, share = self.objective, batch.share
        for layer in self._sharing if self._tiled or batch.group.count > 1 else ():
            layer.part = Part(share.rows.start, share.of_rows, batch.group)
        outputs = objective.outputs(batch.rows)
        losses = objective.of_rows(outputs, batch.labels)
        loss = mean_loss(losses, batch.weights, share.of_rows)
        for parameter in self._parameters:
            parameter.grad = None  # zero_grad's, in a tenth of its time
        loss.backward()  # type: ignore[no-untyped-call]
        sums = [(loss.detach().double() * share.of_rows).reshape(1)]
        if totals is not None:
            sums.append(totals.update(outputs, batch.labels))
        return torch.cat(sums)

    def evaluate(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batches: Batches, metrics: bool
    ) -> dict[str, float]:
        """Loss and metrics of all rows, without dropout; a process reads its part of them."""
        return measure(self.objective, rows, labels, weights, batches, metrics)


class Native:
    """The same epochs by one call each into compiled code."""

    def __init__(self, objective: Objective, native: NativeEpoch) -> None:
        self.objective, self.native = objective, native

    def train(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batches: Batches, metrics: bool
    ) -> dict[str, float]:
        """One epoch over rows in the order given; its loss and metrics, of all processes' rows."""
        totals = self.native.train(rows, labels, weights, batches, metrics)
        return _native_logs(totals, "weighted_loss", batches.rows, rows.dtype, metrics)

    def evaluate(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batches: Batches, metrics: bool
    ) -> dict[str, float]:
        """Loss and metrics of all rows, without dropout; a process reads its part of them."""
        if weights is not None:
            return measure(self.objective, rows, labels, weights, batches, metrics)
        totals = self.native.evaluate(rows, labels, batches.group)
        return _native_logs(totals, "loss", len(rows), rows.dtype, metrics)


def measure(
    objective: Objective,
    rows: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    batches: Batches,
    metrics: bool,
) -> dict[str, float]:
    """Loss and metrics of rows without dropout, under Keras's names.

    Args:
        objective: what is measured.
        rows: (N, F), as the model takes them.
        labels: as the loss takes them.
        weights: (N, 1) of the rows in the loss, or None.
        batches: of the N rows; processes share out whole ones.
        metrics: whether there is more than the loss.
    """
    totals = objective.metrics(rows.device) if metrics else None
    starts = range(0, batches.rows, batches.size)
    # Of each batch, to be added up in their order, whoever measures which.
    sums = _no_sums(totals, rows.device).repeat(len(starts), 1)
    with inference(objective.model):
        for place in batches.group.part(len(starts)):
            batch = slice(starts[place], starts[place] + batches.size)
            outputs = objective.outputs(rows[batch])
            losses = objective.of_rows(outputs, labels[batch])
            if weights is not None:
                losses = losses * weights[batch]
            sums[place, 0] = losses.sum(dtype=torch.float64)
            if totals is not None:
                sums[place, 1:] = totals.update(outputs, labels[batch])
        batches.group.add_up(sums)
        total = _no_sums(totals, rows.device)
        for of_batch in sums:
            total += of_batch
        penalty = objective.penalty()
        if penalty is not None:
            total[0] += penalty.double() * batches.rows
    return _logs(total, batches, totals, labels.dtype)


def _no_sums(totals: Metrics | None, device: torch.device) -> Tensor:
    """Of the losses, and what the metrics add up: float64 zeros."""
    further = 0 if totals is None else len(totals.sums)
    return torch.zeros(1 + further, dtype=torch.float64, device=device)


def _unflatten(flat: Tensor, tensors: list[Tensor]) -> None:
    """Puts the numbers into the tensors, one after the other."""
    at = 0
    for tensor in tensors:
        tensor.copy_(flat[at : at + tensor.numel()].view_as(tensor))
        at += tensor.numel()


def _logs(
    sums: Tensor, batches: Batches, totals: Metrics | None, dtype: torch.dtype
) -> dict[str, float]:
    logs = {"loss": float(sums[0]) / max(batches.rows, 1)}
    if totals is not None:
        totals.sums.copy_(sums[1:])
        batches.group.add_up(totals.counts)
        logs |= totals.result()
    return _as_keras_logs(logs, dtype)


def _native_logs(
    totals: NDArray[Any], loss: str, rows: int, dtype: torch.dtype, metrics: bool
) -> dict[str, float]:
    logs = {"loss": float(totals[loss]) / max(rows, 1)}
    if metrics:
        logs |= metrics_from_sums(
            torch.tensor(
                [float(totals["loss"]), float(totals["squared_error"])], dtype=torch.float64
            ),
            torch.tensor([int(totals[name]) for name in ("tn", "fp", "fn", "tp")]),
            torch.from_numpy(totals["buckets"].ravel()),
        )
    return _as_keras_logs(logs, dtype)


def _as_keras_logs(logs: dict[str, float], dtype: torch.dtype) -> dict[str, float]:
    # Keras's history holds what a tensor of floatx held, in the order of the names.
    held = torch.float64 if dtype == torch.float64 else torch.float32
    return {name: torch.tensor(logs[name], dtype=held).item() for name in sorted(logs)}
