"""What a training step costs on any number of processes, from what few were measured to need.

A step of B rows on N processes of T threads each takes

    fixed + order · B + row · ⌈own rows⌉ / T + 2 (N - 1) · message + 2 (N - 1) / N · sent · byte

`row` is a row's way forward and back, which is shared out in whole subtrees of tiles; `order` is
its place in Keras's order of rows, which every process finds for all; `sent` are the bytes of the
subtrees' sums, which are taken to go around a ring. It rests on: threads that share out rows
without loss, processes that begin at the same moment, and a network between any two that costs what
it costs between the two that were measured. It leaves out adding up the subtrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from torch_impl.base.processes import Processes
from torch_impl.training.shares import TILE, share_of

__all__ = ["Cost", "Measured", "fitted"]


class Measured(NamedTuple):
    """One process's step of so many rows."""

    batch: int
    seconds: float
    outside: float
    """Of them, those in which the rows are put in order."""


@dataclass(frozen=True)
class Cost:
    """Of a step, in seconds.

    Attributes:
        fixed: however many rows.
        row: of each row that a process computes, on one thread.
        order: of each row of the batch, in every process.
        slot_bytes: of a subtree's sums.
        message: of each of the 2 (N - 1) messages that a process waits for.
        byte: of each byte that it sends.
    """

    fixed: float
    row: float
    order: float
    slot_bytes: float
    message: float
    byte: float

    def over(self, message: float, byte: float) -> Cost:
        """The same over another network."""
        return replace(self, message=message, byte=byte)

    def exchange(self, batch: int, processes: int) -> float:
        """Of the sums of a batch."""
        sent = share_of(batch, Processes(0, processes)).of * self.slot_bytes
        around = 2 * (processes - 1)
        return around * self.message + around / processes * sent * self.byte

    def step(self, batch: int, processes: int = 1, threads: int = 1) -> float:
        """Of a batch."""
        share = share_of(batch, Processes(0, processes))
        most = min(batch, -(-share.of // processes) * TILE << share.level)
        own = self.fixed + self.order * batch + self.row * most / threads
        return own + self.exchange(batch, processes)

    def pays_from(self, processes: int, threads: int = 1, largest: int = 2**32) -> int | None:
        """The least power of two of rows a batch from which they are faster than one process."""
        batch = TILE
        while batch <= largest:
            if self.step(batch, processes, threads) < self.step(batch, 1, threads):
                return batch
            batch *= 2
        return None


def fitted(
    alone: Sequence[Measured], exchanges: Sequence[tuple[int, float]], slot_bytes: float
) -> Cost:
    """The line through what one process took, and through what two took to add up.

    Each figure counts by its share of error.

    Args:
        alone: of one process on one thread, batches of at least two sizes.
        exchanges: bytes, and the seconds in which two processes added them up.
        slot_bytes: of a subtree's sums.
    """
    order = float(np.median([one.outside / one.batch for one in alone]))
    row, fixed = _line([(one.batch, one.seconds - order * one.batch) for one in alone])
    byte, twice = _line(exchanges)
    return Cost(fixed, row, order, slot_bytes, twice / 2, byte)


def _line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Slope and start; one that comes out below zero is lost in the noise, and none."""
    x, y = np.array(points, dtype=float).T
    slope, start = np.polyfit(x, y, 1, w=1 / y)
    return max(0.0, float(slope)), max(0.0, float(start))
