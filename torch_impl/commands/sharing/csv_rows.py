"""Where each row of a plain CSV stands, counted by all processes, each a share of its bytes."""

from __future__ import annotations

import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torch_impl.base.processes import Processes
from torch_impl.commands.wanted import Span

__all__ = ["CsvRows", "count_csv_rows"]

_CHUNK = 1 << 22
"""Bytes that are looked at together: they stay in the cache."""
_NEWLINE, _RETURN, _QUOTE = b'\n\r"'
_BEFORE_A_FIELD = np.frombuffer(b',\n\r"', np.uint8)  # a quote: two within a field are one of it
_MARK = b"\xef\xbb\xbf"


class _Chunk(NamedTuple):
    """What is seen in a chunk; of pairs the first if it begins outside of quotes, or inside."""

    quotes: int
    ends: tuple[int, int]
    """Ends of rows: line breaks that are in no quotes."""
    clear: tuple[bool, bool]
    """Whether every quote that opens does so where a field begins."""


class CsvRows:
    """The rows of a file, and where they stand.

    Args:
        path: of the file.
        place: its bytes without a mark before them and line breaks after them.
        chunks: what is seen in them, one after the other.
    """

    def __init__(self, path: Path, place: range, chunks: list[_Chunk]) -> None:
        self._path, self._place = path, place
        quotes = accumulate((chunk.quotes for chunk in chunks), initial=0)
        self._within = [number % 2 for number in quotes]
        sides = list(zip(chunks, self._within, strict=False))
        self._ends = list(accumulate((c.ends[side] for c, side in sides), initial=0))
        self.clear = not self._within[-1] and all(c.clear[side] for c, side in sides)
        """Whether quotes stand so that the rows are those that a reader of CSV finds."""
        self.rows = self._ends[-1]
        """As many as line breaks: the header has one, the last row none."""

    def span(self, first: int, stop: int) -> Span:
        """Where the rows from `first` to before `stop` stand."""
        begin = self._begin(first) if first else 0
        return Span(first, stop, begin, self._begin(stop) if stop < self.rows else self._size())

    def _begin(self, row: int) -> int:
        """The byte after the line break before a row; the header's is break 0."""
        at = bisect_right(self._ends, row) - 1
        text = _Text(self._path, self._place, at)
        return text.start + int(text.ends(self._within[at])[row - self._ends[at]]) + 1

    def _size(self) -> int:
        return self._path.stat().st_size


def count_csv_rows(path: Path, sharing: Processes) -> CsvRows | None:
    """Counts the rows of a plain CSV; called by all processes.

    Args:
        path: of the file, which has a header.
        sharing: the processes, each of which reads its share.

    Returns:
        None where quotes stand within fields that have none around them, or one is left open: of
        such a file a part does not tell where its rows begin.

    Raises:
        OSError: it cannot be read.
        ProcessLostError: another process is gone.
    """
    place = _place(path)
    mine = sharing.part(-(-len(place) // _CHUNK))
    seen = sharing.of_all([_Text(path, place, number).seen() for number in mine])
    rows = CsvRows(path, place, [chunk for chunks in seen for chunk in chunks])
    return rows if rows.clear else None


class _Text:
    """One chunk of a file."""

    def __init__(self, path: Path, place: range, number: int) -> None:
        self.start = place.start + number * _CHUNK
        stop = min(self.start + _CHUNK, place.stop)
        with path.open("rb") as file:
            file.seek(self.start - 1 if number else self.start)
            before = file.read(1) if number else b"\n"
            self.bytes = file.read(stop - self.start)
            self.after = file.read(1)
        self.array = np.frombuffer(self.bytes, np.uint8)
        self.quotes = self._found(_QUOTE)
        self.before = np.frombuffer(before + self.bytes, np.uint8) if len(self.quotes) else None

    def seen(self) -> _Chunk:
        if not len(self.quotes) and b"\r" not in self.bytes:
            return _Chunk(0, (self.bytes.count(b"\n"), 0), (True, True))
        ends = len(self.ends(0)), len(self.ends(1))
        return _Chunk(len(self.quotes), ends, (self._clear(0), self._clear(1)))

    def ends(self, within: int) -> NDArray[np.intp]:
        """The places of the last bytes of line breaks that are in no quotes."""
        breaks = self._found(_NEWLINE)
        returns = self._found(_RETURN)
        if len(returns):  # old ones stand alone
            following = np.frombuffer(self.bytes[1:] + self.after, np.uint8)
            breaks = np.union1d(breaks, returns[following[returns] != _NEWLINE])
        quotes = np.searchsorted(self.quotes, breaks)
        outside: NDArray[np.intp] = breaks[(quotes + within) % 2 == 0]
        return outside

    def _clear(self, within: int) -> bool:
        if self.before is None:
            return True
        opening = self.before[self.quotes[within::2]]
        return bool(np.isin(opening, _BEFORE_A_FIELD).all())

    def _found(self, byte: int) -> NDArray[np.intp]:
        return np.flatnonzero(self.array == byte) if byte in self.bytes else np.empty(0, np.intp)


def _place(path: Path) -> range:
    """A file's bytes without the mark before them and the line breaks after them."""
    with path.open("rb") as file:
        start = len(_MARK) if file.read(len(_MARK)) == _MARK else 0
        stop = file.seek(0, os.SEEK_END)
        while stop > start:
            begin = max(start, stop - _CHUNK)
            file.seek(begin)
            text = file.read(stop - begin).rstrip(b"\r\n")
            stop = begin + len(text)
            if text:
                break
    return range(start, stop)
