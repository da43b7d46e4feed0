"""The weights after chosen steps of a run, from which the page draws how differences grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from torch_impl import FraudClassifier, KerasAdam, to_keras_weights
from torch_impl.training.native import NativeEpoch
from torch_impl.training.shares import Batches

__all__ = ["spread_steps", "weights_after"]


def spread_steps(total: int, most: int = 200) -> tuple[int, ...]:
    """At most so many of the steps 1 … total, dense at the start, the last one included."""
    if total <= most:
        return tuple(range(1, total + 1))
    return tuple(int(step) for step in np.unique(np.geomspace(1, total, most).round()))


@contextmanager
def weights_after(
    steps: Sequence[int], model: FraudClassifier, optimizer: KerasAdam
) -> Iterator[list[dict[str, np.ndarray]]]:
    """While it is open, `fit` of the model keeps the weights after the given steps.

    The compiled epoch runs many steps in one call; here it gets one batch per call, which
    gives the same weights to the bit. Nothing is hung on the model or its optimizer, which
    would send `fit` along its eager path.

    Args:
        steps: numbers from 1; none leave `fit` as it is.
        model: about to be trained, from its first step.
        optimizer: of its parameters.

    Yields:
        The weights under Keras's names, one dictionary per step, filled as `fit` goes.
    """
    wanted, kept, done = set(steps), [], 0
    whole_epoch, one_step = NativeEpoch.train, KerasAdam.step

    def after_step() -> None:
        nonlocal done
        done += 1
        if done in wanted:
            kept.append(to_keras_weights(model))

    @wraps(one_step)
    def stepped(self: KerasAdam, *arguments: Any) -> Any:
        loss = one_step(self, *arguments)
        if self is optimizer:
            after_step()
        return loss

    def by_batches(
        self: NativeEpoch,
        rows: Tensor,
        labels: Tensor,
        weights: Tensor | None,
        batches: Batches,
        *rest: Any,
    ) -> Any:
        totals = None
        for batch in torch.arange(len(rows)).split(batches.size):
            part = slice(int(batch[0]), int(batch[-1]) + 1)
            own = None if weights is None else weights[part]
            one = replace(batches, rows=len(batch))
            sums = whole_epoch(self, rows[part], labels[part], own, one, *rest)
            after_step()
            if totals is None:
                totals = sums
                continue
            for name in sums.dtype.names:
                totals[name] += sums[name]
        return totals

    if not wanted:
        yield kept
        return
    with (
        mock.patch.object(NativeEpoch, "train", by_batches),
        mock.patch.object(KerasAdam, "step", stepped),
    ):
        yield kept
