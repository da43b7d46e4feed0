"""CSV, plain or in gzip, as record batches of pyarrow's, and what is wrong with it."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from torch_impl.commands.wanted import Span, TableError, Wanted, kind_of, where

__all__ = ["csv_blocks", "header_of"]

_BYTES = 1 << 20  # parsed at a time: some two thousand rows, which stay in the cache
_LONGEST_LINE = 1 << 20  # characters; a row of 31 numbers takes less than a thousand


def csv_blocks(wanted: Wanted, bar: Any) -> Iterator[Any]:
    """Record batches of float64 columns."""
    import pyarrow
    from pyarrow import csv as arrow_csv

    names = header_of(wanted.path)
    found = wanted.found(names)
    # A blank line is no row; one that is left out would shift those below it. Nor are pyarrow's
    # null values any here: an empty field is no number.
    parsing = arrow_csv.ParseOptions(ignore_empty_lines=False, newlines_in_values=True)
    converting = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(found, pyarrow.float64()), include_columns=found, null_values=[]
    )
    row, span = wanted.first, wanted.span
    header = names if row else None
    with wanted.path.open("rb") as file:
        source: Any = file
        if kind_of(wanted.path) == "gzip":
            source = pyarrow.CompressedInputStream(pyarrow.PythonFile(file), "gzip")
        elif span is not None:
            source = _Stretch(file, span)
        try:
            # Not by pyarrow's own reader of streams: it reads ahead in threads, and a process
            # that ends before them, at an error or Ctrl-C, may hang or die of a signal.
            for part in _whole_rows(source.read, wanted.path):
                reading = arrow_csv.ReadOptions(
                    use_threads=False, block_size=len(part) + 1, column_names=header
                )
                try:
                    table = arrow_csv.read_csv(
                        pyarrow.py_buffer(part), reading, parsing, converting
                    )
                except pyarrow.ArrowException as error:
                    raise TableError(_told(wanted, found, error, part, row, header)) from None
                header = names
                row += table.num_rows
                bar.update(file.tell() - bar.n)
                yield from table.to_batches()
        except (pyarrow.ArrowException, OSError, EOFError) as error:
            for _ in _rows(wanted.path):  # raises what Python says of a damaged file
                pass
            raise TableError(f"{wanted.path}: cannot be read as CSV ({error})") from None
    if span is not None and row < span.stop:  # `_whole_rows` took them for those at the end
        raise TableError(f"{where(wanted.path, row + 1)} is blank; expected {len(names)} fields")


class _Stretch:
    """The bytes of a span, as a file that has nothing else."""

    def __init__(self, file: BinaryIO, span: Span) -> None:
        self.file, self.left = file, span.end - span.begin
        file.seek(span.begin)

    def read(self, most: int) -> bytes:
        found = self.file.read(min(most, self.left))
        self.left -= len(found)
        return found


def _whole_rows(read: Callable[[int], bytes], path: Path) -> Iterator[bytes]:
    """A text in parts that end with a row, without the blank lines at its end.

    Raises:
        TableError: a row is longer than a part may be.
    """
    rest, first = b"", True
    while more := read(_BYTES):
        text = rest + more
        kept = text[: _end_of_rows(text)].rstrip(b"\r\n")
        rest = text[len(kept) :]
        if kept:
            yield (kept if first else _without_break(kept)) + b"\n"
            first = False
        elif len(rest.strip(b"\r\n")) > _BYTES + _LONGEST_LINE:
            raise TableError(
                f"{path}: {len(rest):,} bytes without the end of a row; is it a table?"
            )
    last = rest.rstrip(b"\r\n")
    if last:
        yield (last if first else _without_break(last)) + b"\n"


def _end_of_rows(text: bytes) -> int:
    """Where the last row that is whole ends: at a line break that is in no quotes."""
    end = text.rfind(b"\n") + 1
    while text.count(b'"', 0, end) % 2:
        end = text.rfind(b"\n", 0, text.rfind(b'"', 0, end)) + 1
    return end


def _without_break(text: bytes) -> bytes:
    """What follows the line break that it begins with."""
    return text[2:] if text.startswith(b"\r\n") else text[1:]


def header_of(path: Path) -> list[str]:
    """The names in a table's first line.

    Raises:
        TableError: there is no such line, or it is no text.
    """
    for row in _rows(path):
        if not row:
            raise TableError(f"{path}: line 1 is blank; expected the header there")
        if any("\0" in name for name in row):
            raise TableError(f"{path}: is no text in UTF-8; expected CSV, .gz or .parquet")
        return row
    raise TableError(f"{path}: is empty; expected a header and rows")


def _rows(path: Path) -> Iterator[list[str]]:
    """Header and rows, as Python's reader sees them."""
    opened = gzip.open if kind_of(path) == "gzip" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
            yield from _fields(path, file, 0)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TableError(f"{path}: is no whole gzip file ({error})") from None


def _fields(path: Path, file: Any, row: int) -> Iterator[list[str]]:
    """The rows of a text, of which the first has this number; 0 is the header's."""
    try:
        for fields in csv.reader(_lines(path, file, row + 1)):
            yield fields
            row += 1
    except csv.Error as error:
        raise TableError(f"{where(path, row)} is no CSV ({error}); is a quote open?") from None


def _lines(path: Path, file: Any, first: int) -> Iterator[str]:
    for number in count(first):
        line = file.readline(_LONGEST_LINE)
        if len(line) == _LONGEST_LINE:
            raise TableError(
                f"{path}: line {number} has {_LONGEST_LINE:,} characters or more; "
                "expected a row of a table"
            )
        if not line:
            return
        yield line


def _told(
    wanted: Wanted, found: Sequence[str], error: Exception, part: bytes, before: int,
    header: Sequence[str] | None,
) -> str:  # fmt: skip
    """Which value of a part pyarrow stumbled over: it says neither row nor name."""
    text = io.StringIO(part.decode("utf-8-sig", errors="replace"), newline="")
    rows = _fields(wanted.path, text, 0 if header is None else before + 1)
    header = header or next(rows)
    places = [(name, header.index(name)) for name in found]
    row = before
    for row, fields in enumerate(rows, before + 1):
        if len(fields) != len(header):
            came = f"has {len(fields)} field{'s'[: len(fields) != 1]}" if fields else "is blank"
            return f"{where(wanted.path, row)} {came}; expected {len(header)} fields"
        for name, place in places:
            if not _is_number(fields[place]):
                value = repr(fields[place][:80]) if fields[place].strip() else "nothing"
                return (
                    f"{where(wanted.path, row)}, column {name!r}: {value}; expected a finite number"
                )
    if not row:
        return f"{wanted.path}: has no rows; expected at least one"
    return f"{wanted.path}: cannot be read as CSV ({error})"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and text.isascii() and "_" not in text
    except ValueError:
        return False
