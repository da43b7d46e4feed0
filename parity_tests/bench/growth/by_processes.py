"""Training by several processes: whether it is Keras's, how long a step takes, and how many pay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any, NamedTuple

from parity_tests.bench.growth.cost import Cost, Measured, fitted
from parity_tests.bench.growth.launch import answers
from parity_tests.bench.material import BATCH_SIZE, Material
from torch_impl.base.processes import Processes
from torch_impl.training.shares import share_of

__all__ = ["COUNTS", "NETWORK", "PLANNED", "Agreed", "Exchange", "Shared", "Step", "measure"]

COUNTS = (1, 2, 4)
PLANNED = (8, 64, 512)
"""Processes that are measured, and that are computed."""

BATCHES = (BATCH_SIZE, 16_384, 131_072)
"""Rows of them."""
ROWS = 2**20
"""Of an epoch, at least."""
EXCHANGES = 200
"""Of each size."""
NETWORK = (25e-6, 8 / 10e9)
"""Seconds a message and a byte, of ordinary Ethernet: assumed, not measured."""


Members = list[dict[str, Any]]
"""What each process of a group found."""


class Agreed(NamedTuple):
    """Recorded runs of Keras, by so many processes."""

    processes: int
    stages: int
    agree: int
    used: float
    """The largest error in double, as a share of what one process is allowed."""
    same_bits: int
    runs: int


class Step(NamedTuple):
    """A step of `fit`, as it was measured."""

    path: str
    batch: int
    processes: int
    threads: int
    seconds: float
    exchange: float
    """Of them, those of the process that waits least for the others' sums."""
    same_bits: bool
    """As one process's weights."""


class Exchange(NamedTuple):
    """What the processes of a group sent each other, and nothing else."""

    processes: int
    bytes: int
    seconds: float


class Shared(NamedTuple):
    """All that was measured, and what follows from it."""

    agreed: list[Agreed]
    steps: list[Step]
    exchanges: list[Exchange]
    cost: Cost

    def facts(self) -> dict[str, Any]:
        """As data."""
        lists = (self.agreed, self.steps, self.exchanges)
        found = [[one._asdict() for one in some] for some in lists]
        return {**dict(zip(self._fields, found, strict=False)), "cost": asdict(self.cost)}


def measure(
    material: Material, counts: Sequence[int] = COUNTS, batches: Sequence[int] = BATCHES,
    rows: int = ROWS, exchanges: int = EXCHANGES,
) -> Shared:  # fmt: skip
    """Each group in processes of its own, one group after the other.

    Args:
        material: where the rows are.
        counts: of processes, 1 and 2 among them.
        batches: rows of them, at least two sizes.
        rows: of an epoch, at least.
        exchanges: of each size.

    Raises:
        RuntimeError: a process failed.
    """
    arguments = (material.features, rows, exchanges, *batches)
    groups = {count: answers("by_processes_worker", arguments, count) for count in counts}
    firsts = {count: members[0] for count, members in groups.items()}
    sent_alone = [
        Exchange(count, **one) for count, first in firsts.items() for one in first["exchanges"]
    ]
    plain = {
        count: [of for of in first["steps"] if of["path"] == "compiled" and of["threads"] == 1]
        for count, first in firsts.items()
    }
    alone = [Measured(of["batch"], of["seconds"], of["outside"]) for of in plain[1]]
    sent, batch = plain[2][0]["bytes"], plain[2][0]["batch"]
    slot_bytes = sent / share_of(batch, Processes(0, 2)).of
    of_two = [(one.bytes, one.seconds) for one in sent_alone if one.processes == 2]
    steps = sorted(_steps(groups), key=lambda step: (step.path, step.batch))
    cost = fitted(alone, of_two, slot_bytes)
    return Shared(list(_agreed(groups)), steps, sent_alone, cost)


def _steps(groups: Mapping[int, Members]) -> Iterator[Step]:
    weights = {(of["path"], of["batch"]): of["weights"] for of in groups[1][0]["steps"]}
    for count, members in groups.items():
        for each in zip(*(one["steps"] for one in members), strict=True):
            path, batch, threads, seconds = itemgetter("path", "batch", "threads", "seconds")(
                each[0]
            )
            waited = min(one["exchange"] for one in each)
            alike = all(one["weights"] == weights[path, batch] for one in each)
            yield Step(path, batch, count, threads, seconds, waited, alike)


def _agreed(groups: Mapping[int, Members]) -> Iterator[Agreed]:
    of_one = groups[1][0]["agreement"]["digests"]
    for count, members in groups.items():
        found = [one["agreement"] for one in members]
        same = sum(all(one["digests"][run] == of_one[run] for one in found) for run in of_one)
        agree, used = min(one["agree"] for one in found), max(one["used"] for one in found)
        yield Agreed(count, found[0]["stages"], agree, used, same, len(of_one))
