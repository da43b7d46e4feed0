"""What the bytes, the flops and the random bits of a work would cost here alone, in seconds.

Each is measured with PyTorch on one thread, as a plain copy, plain products or plain operations
on integers of the size in question. They stand beside what was measured and judge nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parity_tests.bench.material import BATCH_SIZE
from parity_tests.bench.race import seconds_of

__all__ = ["of_epoch", "of_order", "of_probabilities", "of_reading", "of_transform"]

_FEATURES, _HIDDEN = 29, 16
_ROUNDS = 10
"""Of Philox, for each word; an xor in the place of each."""


def of_epoch(rows: int, validation_rows: int = 0) -> dict[str, float]:
    """Features read once, the products of forward and backward, the words of the masks."""
    with _one_thread():
        x = torch.randn(rows + validation_rows, _FEATURES)
        w, d = torch.randn(_FEATURES, _HIDDEN), torch.randn(BATCH_SIZE, _HIDDEN)
        batches = x.split(BATCH_SIZE)
        steps = rows // BATCH_SIZE
        words = torch.randint(2**31, (BATCH_SIZE * _HIDDEN,), dtype=torch.int32)

        def products() -> None:
            for number, batch in enumerate(batches):
                batch @ w
                if number < steps:
                    batch.T @ d

        def bits() -> None:
            for _ in range(-(-rows // BATCH_SIZE) * _ROUNDS):
                words.bitwise_xor_(words)

        return {
            "bytes": _median(lambda: x.sum()),
            "flops": _median(products),
            "random bits": _median(bits),
        }


def of_transform(rows: int) -> dict[str, float]:
    """Rows read in float64 and written in float32; a logarithm, and two operations a number."""
    with _one_thread():
        raw, out = _raw(rows), torch.empty(rows, _FEATURES)
        return {"bytes": _median(lambda: out.copy_(raw)), "flops": _median(_scaling(raw))}


def of_probabilities(rows: int) -> dict[str, float]:
    """Rows read once; the transform's operations, the products, and a sigmoid."""
    with _one_thread():
        raw = _raw(rows)
        block = torch.randn(BATCH_SIZE, _FEATURES)
        w, v = torch.randn(_FEATURES, _HIDDEN), torch.randn(_HIDDEN, 1)
        scaling = _scaling(raw)

        def work() -> None:
            scaling()
            for _ in range(-(-rows // BATCH_SIZE)):
                torch.sigmoid(block @ w @ v)

        return {"bytes": _median(lambda: raw.sum()), "flops": _median(work)}


def of_order(rows: int) -> dict[str, float]:
    """The places written once, and a word for each."""
    with _one_thread():
        order, words = torch.empty(rows, dtype=torch.int64), torch.empty(rows, dtype=torch.int32)
        words.zero_()

        def bits() -> None:
            for _ in range(_ROUNDS):
                for part in words.split(BATCH_SIZE * _HIDDEN):
                    part.bitwise_xor_(part)

        return {"bytes": _median(lambda: order.fill_(1)), "random bits": _median(bits)}


def of_reading(path: Path) -> float:
    """A file that the system holds in memory, read once."""
    return _median(path.read_bytes)


def _raw(rows: int) -> Tensor:
    return torch.rand(rows, _FEATURES, dtype=torch.float64)


def _scaling(raw: Tensor) -> Callable[[], None]:
    """On numbers that stay in the cache."""
    amounts, block = raw[:, -1].contiguous(), raw[:BATCH_SIZE].clone()

    def work() -> None:
        amounts.log()
        for _ in range(-(-len(raw) // BATCH_SIZE)):
            block.sub_(1.0).mul_(1.0)

    return work


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _median(work: Callable[[], Any], repeats: int = 7) -> float:
    work()
    return statistics.median(seconds_of(work) for _ in range(repeats))
