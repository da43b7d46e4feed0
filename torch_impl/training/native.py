"""The compiled training epoch, `native_epoch.cpp`.

One call runs a whole epoch, so that neither Python nor a framework's dispatch stands between
the steps. It computes what the eager path computes, masks included, in Keras's order.
"""

from __future__ import annotations

import ctypes
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torch_impl.base.compiled import library, pointer
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

__all__ = ["NativeEpoch"]

_SOURCE = Path(__file__).with_name("native_epoch.cpp")

TOTALS = np.dtype(
    [("loss", "f8"), ("weighted_loss", "f8"), ("squared_error", "f8")]
    + [(name, "i8") for name in ("tp", "fp", "tn", "fn")]
    + [("buckets", "i8", (2, 199))]
)
"""`struct Totals` of the C++ source."""


class NativeEpoch:
    """Epochs of one model, optimizer and shuffled data set.

    Reads and writes the module's parameters, the optimizer's state and the dropout's count,
    so that native and eager epochs may follow each other.

    Args:
        model: a seeded classifier in float32 or float64 on the CPU.
        optimizer: of its four parameters.
        library: built for the model's sizes and dtype.
    """

    def __init__(self, model: FraudClassifier, optimizer: KerasAdam, library: ctypes.CDLL) -> None:
        self._model, self._optimizer, self._library = model, optimizer, library

    @classmethod
    def create(
        cls, model: nn.Module, optimizer: torch.optim.Optimizer, rows: Tensor
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
        return None if built is None else cls(model, optimizer, built)

    def train(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batch_size: int, metrics: bool
    ) -> NDArray[Any]:
        """Runs one epoch and gives its sums.

        Args:
            rows: (N, F) of the model's dtype, contiguous, in training order.
            labels: (N, 1), likewise.
            weights: (N, 1) or None, likewise.
            batch_size: rows per step.
            metrics: whether more than the loss is added up.

        Returns:
            A record of `TOTALS`.
        """
        model, drop = self._model, self._model.dropout
        assert isinstance(drop, KerasDropout)
        group = self._optimizer.param_groups[0]
        beta1, beta2 = group["betas"]
        real = REALS[rows.dtype][1]
        # β as float32 holds it in the corrections of bias, as `KerasAdam.alpha` explains.
        powers = np.float32(beta1), np.float32(beta2)
        adam = np.array([group["lr"], *powers, 1 - beta1, 1 - beta2, group["eps"]], dtype=real)
        steps = -(-len(rows) // batch_size)
        parameters = parameters_of(model)
        states = [self._optimizer.state_of(p) for p in parameters]
        done = int(states[0]["step"])
        w = packed(parameters)
        m = packed([state["momentum"] for state in states])
        v = packed([state["velocity"] for state in states])
        streams = stream_start(drop.seed, drop.calls, steps).numpy().astype(np.uint32)
        totals = np.zeros((), TOTALS)
        self._library.train_epoch(
            pointer(rows),
            pointer(labels),
            pointer(weights),
            ctypes.c_int64(len(rows)),
            ctypes.c_int64(batch_size),
            pointer(w),
            pointer(m),
            pointer(v),
            ctypes.c_int64(done),
            pointer(adam),
            pointer(streams),
            0 if drop.conversion == "xla" else 9,
            ctypes.c_uint32(math.ceil(float(np.float32(drop.rate)) * 2**23)),
            real(1 / (1 - drop.rate)),
            int(metrics),
            pointer(totals),
        )
        unpack(w, parameters)
        unpack(m, [state["momentum"] for state in states])
        unpack(v, [state["velocity"] for state in states])
        for state in states:
            state["step"] += steps
        if drop.rate > 0:
            drop.calls += steps
        return totals

    def evaluate(self, rows: Tensor, labels: Tensor) -> NDArray[Any]:
        """Sums over rows without dropout, as a record of `TOTALS`."""
        totals, w = np.zeros((), TOTALS), packed(parameters_of(self._model))
        self._library.evaluate(
            pointer(rows),
            pointer(labels),
            ctypes.c_int64(len(rows)),
            pointer(w),
            pointer(totals),
        )
        return totals
