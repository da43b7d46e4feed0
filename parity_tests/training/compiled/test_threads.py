"""Threads share out a compiled epoch: the same bits, and none for batches too small to pay."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from parity_tests.sides.compiler import needs_compiler
from parity_tests.training.small_runs import rows_and_labels
from torch_impl import FraudClassifier, KerasAdam, fit
from torch_impl.base.processes import ALONE
from torch_impl.training import native
from torch_impl.training.native import NativeEpoch
from torch_impl.training.shares import Batches

pytestmark = needs_compiler


def run(threads: int, rows: int, batch_size: int, dtype: torch.dtype) -> list[Any]:
    """Weights and sums of three epochs, and sums of the same rows without dropout."""
    x, y = (torch.from_numpy(array).to(dtype) for array in rows_and_labels(rows))
    model = FraudClassifier(5, 8, seed=3).to(dtype)
    optimizer = KerasAdam(model.parameters())
    epoch = NativeEpoch.create(model, optimizer, x, threads)
    assert epoch is not None
    trained = [epoch.train(x, y, None, Batches(rows, batch_size, ALONE), True) for _ in range(3)]
    return [*(p.detach().numpy() for p in model.parameters()), *trained, epoch.evaluate(x, y)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("rows", "batch_size"), [(5000, 2048), (5000, 5000), (4097, 1024)], ids=str
)
def test_any_number_of_threads_gives_the_same_bits(
    rows: int, batch_size: int, dtype: torch.dtype
) -> None:
    """Two, three and eight, on however many cores, of what one gives; over and over."""
    one = run(1, rows, batch_size, dtype)
    for threads in (2, 3, 8, 8, 8):
        for came, expected in zip(run(threads, rows, batch_size, dtype), one, strict=True):
            np.testing.assert_array_equal(came, expected, strict=True)


@pytest.mark.parametrize(
    ("batch_size", "helpers"), [(64, 0), (511, 0), (512, 1), (2048, 7), (8192, 15)]
)
def test_no_thread_is_started_for_whom_there_is_no_work(
    batch_size: int, helpers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for each four tiles of 64 rows, and for each of 16 slots, the caller's among them."""
    started = []

    class Counted(threading.Thread):
        def start(self) -> None:
            started.append(self)
            super().start()

    monkeypatch.setattr(native, "Thread", Counted)
    x, y = rows_and_labels(8192)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(32)
        model = FraudClassifier(5, 8, seed=3)
        fit(model, x, y, batch_size=batch_size, epochs=1, seed=1, progress=False)
    finally:
        torch.set_num_threads(before)
    assert len(started) == helpers
