"""The command in small parts, as torchrun starts it for the tests, and within their process."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from torch_impl import __main__ as command
from torch_impl import scoring
from torch_impl.base.processes import Processes, ProcessLostError
from torch_impl.commands import csv_blocks, score, tables, telling
from torch_impl.commands.sharing import csv_rows, parts
from torch_impl.commands.sharing.kept import KeptParts

__all__ = ["PART", "launched", "make_small", "together", "together_of"]

BLOCK, BLOCKS = 64, 2
PART = BLOCK * BLOCKS
"""Rows."""


def make_small(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Blocks, parts and what is read at a time, so that few rows are many of them."""
    put(tables, "ROWS", BLOCK)
    put(scoring, "_PART", BLOCK)
    put(parts, "_BLOCKS", BLOCKS)
    put(csv_blocks, "_BYTES", 20_000)
    put(csv_rows, "_CHUNK", 7_001)


@dataclass(frozen=True)
class _Thread(Processes):
    """One that exchanges with other threads of this process."""

    barrier: Any = None
    box: Any = None

    def of_all(self, thing: Any) -> list[Any]:
        self.box[self.rank] = thing
        self._wait()
        things = list(self.box)
        self._wait()
        return things

    def from_first(self, work: Any) -> Any:
        return self.of_all(work() if self.rank == 0 else None)[0]

    def _wait(self) -> None:
        try:
            self.barrier.wait(60)
        except threading.BrokenBarrierError:
            raise ProcessLostError("another process of the group is gone") from None


def together_of(count: int, work: Callable[[Processes], Any]) -> list[Any]:
    """What so many threads come to, each of which takes itself for a process."""
    barrier, box, came = threading.Barrier(count), [None] * count, [None] * count

    def run(rank: int) -> None:
        came[rank] = work(_Thread(rank, count, barrier, box))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return came


def together(count: int, *words: object) -> list[int]:
    """A command by so many threads, each of which takes itself for a process; their statuses.

    The first that fails tells, as in a group of processes.
    """
    own, failures = threading.local(), iter(range(count))

    @contextmanager
    def joined() -> Iterator[Callable[[], bool]]:
        def tells() -> bool:
            first = next(failures) == 0
            own.us.barrier.abort()
            return first

        yield tells

    def run(us: Processes) -> int:
        own.us = us
        return command.main([str(word) for word in words])

    seen = {"processes": lambda: own.us}
    with (
        mock.patch.object(command, "joined", joined),
        mock.patch.multiple(command, **seen),
        mock.patch.multiple(score, **seen),
        mock.patch.multiple(parts, **seen),
        mock.patch.multiple(telling, **seen),
    ):
        return together_of(count, run)


def launched(count: int, *words: object) -> list[str]:
    """The command line by which torchrun starts so many processes of this file's `main`."""
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node",
        str(count), "-m", "parity_tests.decisions.commands.sharing.small", *map(str, words),
    ]  # fmt: skip


def main() -> int:
    """Each process writes its number where `PIDS` says, and takes `PAUSE` seconds for a part."""
    make_small()
    if "PIDS" in os.environ:
        Path(os.environ["PIDS"], os.environ["RANK"]).write_text(str(os.getpid()), "utf-8")
    note, pause = KeptParts.note, float(os.environ.get("PAUSE", "0"))

    def slowly(self: KeptParts, part: Any) -> None:
        note(self, part)
        time.sleep(pause)

    KeptParts.note = slowly  # type: ignore[method-assign]
    return command.main()


if __name__ == "__main__":
    sys.exit(main())
