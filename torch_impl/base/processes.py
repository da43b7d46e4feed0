"""The processes that share out work: those of `torch.distributed`'s default group.

Where none is initialised there is one process, and nothing is exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from torch import Tensor, distributed

__all__ = ["ProcessLostError", "Processes", "processes"]

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

    def from_first(self, thing: T) -> T:
        """What the first process has; the others' is not looked at.

        Raises:
            ProcessLostError: another process is gone.
        """
        if self.count == 1:
            return thing
        box = [thing if self.first else None]
        _exchanged(lambda: distributed.broadcast_object_list(box))
        return box[0]  # type: ignore[return-value]

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


def processes() -> Processes:
    """Those of the default group, or this one alone."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Processes()
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
