"""What of a file was read: each byte once, in a bounded number of steps."""

from __future__ import annotations

from bisect import bisect_left

from torch_impl.keras_files.contents import KerasFileError

__all__ = ["Ledger"]

_STEPS = 300_000  # a network of 1,000 layers with Adam's state takes as many, and half a second
_CLAIM = 4  # steps
_PRODUCED = 2  # times the file's size


class Ledger:
    """Bounds time and memory by a file's size, whatever its bytes say.

    A reader claims the bytes that it reads, each once, or counts what it makes of them where the
    same may be asked for again: it never is more than a multiple of the file. What costs time
    and no bytes is a step.

    Args:
        size: of the file.
        where: its name, for errors.
        steps: how many may be taken.
    """

    def __init__(self, size: int, where: str, steps: int = _STEPS) -> None:
        self._size, self._where, self._steps, self._left = size, where, steps, steps
        self._unproduced = _PRODUCED * size
        self._starts: list[int] = []
        self._ends: list[int] = []

    def step(self, count: int = 1) -> None:
        """Takes steps.

        Raises:
            KerasFileError: they are too many.
        """
        self._left -= count
        if self._left < 0:
            raise KerasFileError(
                f"{self._where}: has too many parts: more than {self._steps} steps to read it"
            )

    def produce(self, size: int, what: str) -> None:
        """Counts what is made of the file.

        Raises:
            KerasFileError: it is more than twice the file.
        """
        self.step(_CLAIM)
        self._unproduced -= size
        if self._unproduced < 0:
            raise KerasFileError(
                f"{self._where}: {what} of {size} bytes would make more than {_PRODUCED} times the "
                f"file's {self._size}; expected each byte to be used once"
            )

    def claim(self, at: int, size: int, what: str) -> None:
        """Takes bytes that no one has taken.

        Raises:
            KerasFileError: they are not within the file, or some belong to something else.
        """
        self.step(_CLAIM)
        if at < 0 or size < 0 or at + size > self._size:
            raise KerasFileError(
                f"{self._where}: {what} at byte {at} of {size} bytes; expected it within the "
                f"file's {self._size} bytes"
            )
        if not size:
            return
        place = bisect_left(self._starts, at)
        before = self._ends[place - 1] if place else 0
        after = self._starts[place] if place < len(self._starts) else self._size
        if before > at or after < at + size:
            raise KerasFileError(
                f"{self._where}: {what} at byte {at} of {size} bytes stands where something else "
                "does; expected each byte to be read once"
            )
        self._starts.insert(place, at)
        self._ends.insert(place, at + size)
