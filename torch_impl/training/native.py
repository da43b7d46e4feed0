"""The compiled training epoch, `native_epoch.cpp`.

One call runs a whole epoch, so that neither Python nor a framework's dispatch stands between
the steps. It computes what the eager path computes, masks included, in Keras's order. Threads and
processes share out each batch; the bits do not depend on how many there are.
"""

from __future__ import annotations

import ctypes
import math
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torch_impl.base.compiled import library, pointer
from torch_impl.base.processes import ALONE, Processes
from torch_impl.keras.layers.dropout import KerasDropout
from torch_impl.keras.optimizers.adam import KerasAdam
from torch_impl.keras.random import stream_start
from torch_impl.model import FraudClassifier
from torch_impl.training.plain import (
    REALS,
    altered,
    is_plain,
    packed,
    parameters_of,
    sizes,
    unpack,
)
from torch_impl.training.shares import TILE, Batches, share_of

__all__ = ["TOTALS", "EpochShare", "Job", "NativeEpoch"]

_SOURCE = Path(__file__).with_name("native_epoch.cpp")

TOTALS = np.dtype(
    [("loss", "f8"), ("weighted_loss", "f8"), ("squared_error", "f8")]
    + [(name, "i8") for name in ("tp", "fp", "tn", "fn")]
    + [("buckets", "i8", (2, 199))]
)
"""`struct Totals` of the C++ source."""
_SUMS = 3  # that are no counts

_TILES_PER_THREAD = 4
"""Of a batch; fewer are computed about as soon as another thread has begun."""


class EpochShare(ctypes.Structure):
    """`struct Share` of the C++ source."""

    _fields_: ClassVar = [(name, ctypes.c_int64) for name in ("level", "first", "end", "count")]


_EXCHANGE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64)


class Job(ctypes.Structure):
    """`struct Job` of the C++ source."""

    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("x", "y", "weight")),
        *((name, ctypes.c_int64) for name in ("rows", "batch")),
        *((name, EpochShare) for name in ("full", "last")),
        *((name, ctypes.c_void_p) for name in ("weights", "momentum", "velocity")),
        *((name, ctypes.c_int64) for name in ("iterations", "training")),
        *((name, ctypes.c_void_p) for name in ("adam", "streams", "scale")),
        *((name, ctypes.c_int64) for name in ("shift_left", "threshold", "metrics")),
        *((name, ctypes.c_void_p) for name in ("slots", "parts", "totals")),
        ("exchange", _EXCHANGE),
        ("of_the_run", ctypes.c_int64 * 32),  # what the source keeps there
    ]


class NativeEpoch:
    """Epochs of one model, optimizer and shuffled data set.

    Reads and writes the module's parameters, the optimizer's state and the dropout's count,
    so that native and eager epochs may follow each other.

    Args:
        model: a seeded classifier in float32 or float64 on the CPU.
        optimizer: of its four parameters.
        library: built for the model's sizes and dtype.
        threads: that may share out a batch, if it is large enough.
    """

    def __init__(
        self, model: FraudClassifier, optimizer: KerasAdam, library: ctypes.CDLL, threads: int = 1
    ) -> None:
        self._model, self._optimizer, self._library = model, optimizer, library
        self._threads = threads
        sizes = np.zeros(3, np.int64)
        library.epoch_sizes(pointer(sizes))
        self._slot_bytes, self._weights_bytes, self._levels = sizes.tolist()

    @classmethod
    def create(
        cls, model: nn.Module, optimizer: torch.optim.Optimizer, rows: Tensor, threads: int = 1
    ) -> NativeEpoch | None:
        """The compiled epoch of this run.

        None where the run is not the plain recipe that the C++ source knows, and, with one
        warning, where it is but no compiler is there.
        """
        if not (is_plain(model, rows.dtype) and type(optimizer) is KerasAdam):
            return None
        parameters, drop = parameters_of(model), model.dropout
        plain = (
            type(drop) is KerasDropout
            and drop.rate < 1
            and rows.device.type == "cpu"
            and rows.shape[1] == model.in_features
            and all(p.requires_grad for p in parameters)
            and len(optimizer.param_groups) == 1
            and not optimizer.has_options()
            and {id(p) for p in optimizer.param_groups[0]["params"]} == {id(p) for p in parameters}
            and len({int(optimizer.state_of(p)["step"]) for p in parameters}) == 1
            and not altered(model, optimizer)
        )
        if not plain:
            return None
        built = library(_SOURCE, "fit runs its slower eager path", **sizes(model))
        return None if built is None else cls(model, optimizer, built, threads)

    def train(
        self,
        rows: Tensor,
        labels: Tensor,
        weights: Tensor | None,
        batches: Batches,
        metrics: bool,
    ) -> NDArray[Any]:
        """Runs one epoch and gives its sums.

        Args:
            rows: (n, F), this process's rows of each batch, in training order; of the model's
                dtype, contiguous.
            labels: (n, 1), likewise.
            weights: (n, 1) or None, likewise.
            batches: of the epoch.
            metrics: whether more than the loss is added up.

        Returns:
            A record of `TOTALS`, of the rows of all processes.

        Raises:
            ProcessLostError: another process is gone.
        """
        model, drop = self._model, self._model.dropout
        assert isinstance(drop, KerasDropout)
        group = self._optimizer.param_groups[0]
        beta1, beta2 = group["betas"]
        real = REALS[rows.dtype][1]
        # β as float32 holds it in the corrections of bias, as `KerasAdam.alpha` explains.
        powers = np.float32(beta1), np.float32(beta2)
        adam = np.array([group["lr"], *powers, 1 - beta1, 1 - beta2, group["eps"]], dtype=real)
        steps = -(-batches.rows // batches.size)
        parameters = parameters_of(model)
        states = [self._optimizer.state_of(p) for p in parameters]
        moments = [[state[name] for state in states] for name in ("momentum", "velocity")]
        held = [self._aligned(tensors) for tensors in (parameters, *moments)]
        streams = stream_start(drop.seed, drop.calls, steps).numpy().astype(np.uint32)
        scale = np.array(1 / (1 - drop.rate), dtype=real)
        job = Job(
            **dict(zip(("weights", "momentum", "velocity"), map(pointer, held), strict=True)),
            iterations=int(states[0]["step"]),
            training=1,
            adam=pointer(adam),
            streams=pointer(streams),
            scale=pointer(scale),
            shift_left=0 if drop.conversion == "xla" else 9,
            threshold=math.ceil(float(np.float32(drop.rate)) * 2**23),
            metrics=metrics,
        )
        totals = self._run(job, rows, labels, weights, batches)
        for numbers, tensors in zip(held, (parameters, *moments), strict=True):
            unpack(numbers.numpy(), tensors)
        for state in states:
            state["step"] += steps
        if drop.rate > 0:
            drop.calls += steps
        return totals

    def evaluate(self, rows: Tensor, labels: Tensor, group: Processes = ALONE) -> NDArray[Any]:
        """Sums over rows without dropout, as a record of `TOTALS`.

        Args:
            rows: (N, F), all of them; a process reads its part.
            labels: (N, 1).
            group: the processes that share them out.

        Raises:
            ProcessLostError: another process is gone.
        """
        if not len(rows):
            return np.zeros((), TOTALS)
        own = share_of(len(rows), group).rows
        part = slice(own.start, own.stop)
        weights, scale = self._aligned(parameters_of(self._model)), np.ones((), np.float64)
        job = Job(weights=pointer(weights), scale=pointer(scale))
        batches = Batches(len(rows), len(rows), group)
        return self._run(job, rows[part], labels[part], None, batches)

    def _aligned(self, tensors: list[Tensor]) -> Tensor:
        """What `packed` gives, in room for a `Weights` of the source."""
        numbers = packed(tensors)
        size = self._weights_bytes // numbers.itemsize
        held = torch.zeros(size, dtype=tensors[0].dtype)
        held[: len(numbers)] = torch.from_numpy(numbers)
        return held

    def _run(
        self, job: Job, rows: Tensor, labels: Tensor, weights: Tensor | None, batches: Batches
    ) -> NDArray[Any]:
        """Runs a job over the batches, by several threads where that pays."""
        shares = [share_of(min(batches.size, batches.rows), batches.group)]
        shares.append(share_of(batches.rows % batches.size or batches.size, batches.group))
        job.full, job.last = (
            EpochShare(s.level, s.slots.start, s.slots.stop, s.of) for s in shares
        )
        job.rows, job.batch = batches.rows, batches.size
        job.x, job.y, job.weight = pointer(rows), pointer(labels), pointer(weights)
        share = shares[0]
        pay = min(len(share.rows) // (_TILES_PER_THREAD * TILE), len(share.slots))
        threads = max(1, min(self._threads, pay))
        words = self._slot_bytes // 8
        slots, parts = (
            torch.zeros(count * words, dtype=torch.int64)
            for count in (max(s.of for s in shares), threads * self._levels)
        )
        totals = np.zeros(threads, TOTALS)
        job.slots, job.parts, job.totals = pointer(slots), pointer(parts), pointer(totals)
        failures: list[BaseException] = []

        def exchange(count: int) -> int:
            try:
                # A slot is one process's bits and zeros of all others: integers add them unchanged.
                batches.group.add_up(slots[: count * words])
            except BaseException as failure:  # which the source cannot pass on
                failures.append(failure)
            return len(failures)

        if batches.group.count > 1:
            job.exchange = _EXCHANGE(exchange)
        at = ctypes.byref(job)
        helpers = [
            Thread(target=self._library.epoch_help, args=(at, ctypes.c_int64(thread)), daemon=True)
            for thread in range(1, threads)
        ]
        try:
            for helper in helpers:
                helper.start()
            self._library.epoch_run(at)
        finally:
            self._library.epoch_end(at)
            for helper in helpers:
                helper.join()
        if failures:
            raise failures[0]
        # Sums of numbers are the first thread's; counts are added up over threads and processes.
        counts = torch.from_numpy(totals.view(np.int64).reshape(threads, -1)[:, _SUMS:])
        counts[0] = counts.sum(0)
        batches.group.add_up(counts[0])
        total: NDArray[Any] = totals[:1].reshape(())
        return total
