"""Who computes which rows of a batch, and in which order what they give is added up.

The rows of a batch are cut into tiles. What the tiles give is added up along a binary tree:
neighbours two by two, then their sums, and so on. Processes share out whole subtrees, "slots", so
that the bits are the same however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from torch_impl.base.processes import Processes

__all__ = ["TILE", "Batches", "Share", "share_of", "tree_sum"]

TILE = 64
"""Rows of a tile, in every path."""


class Share(NamedTuple):
    """One process's part of a batch."""

    level: int
    """A slot is a subtree over 2**level tiles."""
    slots: range
    """Those of the process …"""
    of: int
    """… of so many."""
    rows: range
    """Of the batch, those below the slots."""
    of_rows: int
    """In the batch."""


def share_of(rows: int, group: Processes) -> Share:
    """Which part of a batch of so many rows, at least 1, a process of the group computes."""
    tiles = -(-rows // TILE)
    level = 0
    # Several for each, so that nobody has much more than others; not more, since all are sent, by
    # a process to the others and by a thread's cache to that of the one that adds them up.
    while -(-tiles // 2**level) > max(16, 8 * group.count):
        level += 1
    of = -(-tiles // 2**level)
    slots = group.part(of)
    first, end = (min((slot << level) * TILE, rows) for slot in (slots.start, slots.stop))
    return Share(level, slots, of, range(first, end), rows)


@dataclass(frozen=True)
class Batches:
    """The batches of an epoch, as one of the processes sees them.

    Attributes:
        rows: of the epoch, of all processes.
        size: rows of a batch; the last one has what is left.
        group: the processes.
    """

    rows: int
    size: int
    group: Processes

    def __iter__(self) -> Iterator[Share]:
        for start in range(0, self.rows, self.size):
            yield share_of(min(self.size, self.rows - start), self.group)

    def places(self) -> Tensor:
        """Which rows of the epoch are this process's, int64, ascending."""
        own = [
            torch.arange(start + share.rows.start, start + share.rows.stop)
            for start, share in zip(range(0, self.rows, self.size), self, strict=True)
        ]
        return torch.cat(own)

    def own(self, part: slice) -> slice:
        """Where rows of the epoch are among this process's.

        Args:
            part: from a batch's first row to a batch's end.
        """
        return slice(*(self._before(row) for row in (part.start, part.stop)))

    def _before(self, row: int) -> int:
        whole, rest = divmod(row, self.size)
        of_rest = len(share_of(rest, self.group).rows) if rest else 0
        return whole * len(share_of(self.size, self.group).rows) + of_rest


def tree_sum(parts: Sequence[Tensor]) -> Tensor:
    """Neighbours added up two by two, then their sums; one that is left over goes up as it is."""
    while len(parts) > 1:
        pairs = [left + right for left, right in zip(parts[0::2], parts[1::2], strict=False)]
        parts = pairs + list(parts[2 * len(pairs) :])
    return parts[0]
