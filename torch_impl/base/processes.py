"""The processes that share out work: those of `torch.distributed`'s default group.

Where none is initialised there is one process, and nothing is exchanged.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from torch import Tensor, distributed

__all__ = ["ALONE", "Part", "ProcessLostError", "Processes", "processes"]

T = TypeVar("T")


class ProcessLostError(ConnectionError):
    """Another process of the group is gone, or did not answer in the group's time."""


@dataclass(frozen=True)
class Processes:
    """Who takes part, as one of them sees it.

    Every method but `part` is called by all of them, in the same order.

    Attributes:
        rank: of this process, from 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes and tells."""
        return self.rank == 0

    def part(self, things: int) -> range:
        """Which of so many things are this process's: neighbours, as many as of any other, ± 1."""
        return range(things * self.rank // self.count, things * (self.rank + 1) // self.count)

    def add_up(self, *tensors: Tensor) -> None:
        """Puts the sum over all processes in each tensor's place, the same bits in all of them.

        Raises:
            ProcessLostError: another process is gone.
        """
        for tensor in tensors if self.count > 1 else ():
            _exchanged(partial(distributed.all_reduce, tensor))

    def from_first(self, work: Callable[[], T]) -> T:
        """What the first process gets from `work`, which the others do not call.

        Raises:
            ProcessLostError: another process is gone.
            Exception: what `work` raised, in all of them.
        """
        if self.count == 1:
            return work()
        box: list[Any] = [None, None]
        if self.first:
            try:
                box[0] = work()
            except Exception as error:
                box[1] = error
        _exchanged(lambda: distributed.broadcast_object_list(box))
        if box[1] is not None:
            raise box[1]
        return box[0]  # type: ignore[no-any-return]

    def of_all(self, thing: T) -> list[T]:
        """What each process has, in the order of their ranks.

        Raises:
            ProcessLostError: another process is gone.
        """
        if self.count == 1:
            return [thing]
        things: list[Any] = [None] * self.count
        _exchanged(lambda: distributed.all_gather_object(things, thing))
        return things


ALONE = Processes()


@dataclass(frozen=True)
class Part:
    """A process's rows of a batch, for layers to which it matters which they are.

    Attributes:
        first: rows of the batch before them.
        rows: of the batch, of all processes.
        group: the processes.
    """

    first: int
    rows: int
    group: Processes


def processes() -> Processes:
    """Those of the default group, or this one alone; a warning, where `torchrun` started more."""
    if not (distributed.is_available() and distributed.is_initialized()):
        count = os.environ.get("WORLD_SIZE", "1")
        if count != "1" and "TORCHELASTIC_RUN_ID" in os.environ:
            warnings.warn(
                f"torchrun started {count} processes, and no group is initialised: each of them "
                "does all of the work; call torch.distributed.init_process_group first to share it",
                stacklevel=3,
            )
        return ALONE
    return Processes(distributed.get_rank(), distributed.get_world_size())


def _exchanged(exchange: Callable[[], Any]) -> None:
    try:
        exchange()
    except RuntimeError as error:  # torch has no narrower one for every backend
        line = str(error).strip().splitlines()
        raise ProcessLostError(
            "another process of the group is gone or did not answer "
            f"({line[-1] if line else type(error).__name__})"
        ) from error
