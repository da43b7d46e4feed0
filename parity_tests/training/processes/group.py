"""Processes of one `torch.distributed` group, as `torchrun` would start them on one machine."""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.context import BaseContext, ForkServerProcess
from pathlib import Path
from typing import Any, Self

import torch
from torch import distributed

__all__ = ["Group", "in_group"]


def _context() -> BaseContext:
    context = multiprocessing.get_context("forkserver")
    # What its children find imported.
    context.set_forkserver_preload(["parity_tests.training.processes.work"])
    return context


class Group:
    """Members that all call one function, which is killed with them in the end.

    Args:
        count: how many.
        function: of a module, so that it can be named to them.
        arguments: of the function; a list of one tuple per member, or one tuple for all.
        patience: seconds that a member waits for the others.
    """

    def __init__(
        self,
        count: int,
        function: Callable[..., Any],
        arguments: tuple[Any, ...] | list[Any] = (),
        patience: float = 60,
    ) -> None:
        self._patience = patience
        self._scratch = tempfile.TemporaryDirectory()
        self._folder = Path(self._scratch.name)
        of_each = arguments if isinstance(arguments, list) else [arguments] * count
        self.members: list[ForkServerProcess] = [
            _context().Process(  # type: ignore[attr-defined]
                target=_member,
                args=(rank, count, str(self._folder), patience, function, of_each[rank]),
            )
            for rank in range(count)
        ]

    def __enter__(self) -> Self:
        for member in self.members:
            member.start()
        return self

    def meet(self) -> None:
        """Waits until they have found each other; before, torch itself knows of no loss."""
        met = [self._folder / f"{rank}.met" for rank in range(len(self.members))]
        until = time.monotonic() + self._patience
        while not all(path.exists() for path in met) and time.monotonic() < until:
            time.sleep(0.001)

    def answers(self) -> list[Any]:
        """What each member's function gave, or the exception that it raised."""
        for member in self.members:
            member.join(2 * self._patience)
        return [self.answer(rank) for rank in range(len(self.members))]

    def answer(self, rank: int) -> Any:
        """One member's, once it has ended; None if it was killed."""
        path = self._folder / f"{rank}.pickle"
        return pickle.loads(path.read_bytes()) if path.exists() else None

    def __exit__(self, *error: object) -> None:
        for member in self.members:
            member.kill()
            member.join()
        self._scratch.cleanup()


def in_group(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What a function gives in each of so many processes of a group."""
    with Group(count, function, arguments) as group:
        answers = group.answers()
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def _member(
    rank: int, count: int, folder: str, patience: float,
    function: Callable[..., Any], arguments: tuple[Any, ...],
) -> None:  # fmt: skip
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=count,
        timeout=timedelta(seconds=patience),
    )  # fmt: skip
    Path(folder, f"{rank}.met").touch()
    try:
        answer = function(*arguments)
    except Exception as error:
        answer = error
    part = Path(folder, f".{uuid.uuid4()}")
    part.write_bytes(pickle.dumps(answer))
    part.replace(Path(folder, f"{rank}.pickle"))
    distributed.destroy_process_group()
