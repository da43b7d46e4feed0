"""What of a file was read: each byte once, in a bounded number of steps."""

from __future__ import annotations

from bisect import bisect_left

from torch_impl.keras_files.contents import KerasFileError

__all__ = ["Ledger"]

_STEPS = 200_000  # a network of 1,000 layers with Adam's state takes as many, and half a second
_CLAIM = 4  # steps


class Ledger:
    """Bounds time and memory by a file's size, whatever its bytes say.

    Every container's reader claims the bytes that it reads, each once: what comes out of them is
    never more than a fixed multiple of the file. What costs time and no bytes is a step.

    Args:
        size: of the file.
        where: its name, for errors.
        steps: how many may be taken.
    """

    def __init__(self, size: int, where: str, steps: int = _STEPS) -> None:
        self._size, self._where, self._steps, self._left = size, where, steps, steps
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
