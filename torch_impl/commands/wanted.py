"""What a command wants of a table, and how it tells that it is not there."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = ["Span", "TableError", "Wanted", "kind_of", "listed", "where"]

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_TOLD = 3  # missing columns that are named
_LOOKED_AT = 1000  # columns in which a misspelt one is sought


class TableError(ValueError):
    """A table is not what was expected: one line with its path and, where it has one, its row."""


class Span(NamedTuple):
    """Rows that follow each other in a table, and in CSV where they stand.

    Args:
        first: how many rows of the table come before.
        stop: how many come before the first one after them.
        begin: byte of the file at which they begin; the first row's begins with the header, at 0.
        end: byte after them.
    """

    first: int
    stop: int
    begin: int = 0
    end: int = 0


class Wanted(NamedTuple):
    """Columns of a table.

    Args:
        path: of the table.
        columns: the F numbers of a row, in this order.
        others: further columns of numbers.
        optional: further ones that may be missing.
        above: of a column, what its numbers must be more than.
        span: of the rows, if not all are wanted.
    """

    path: Path
    columns: tuple[str, ...]
    others: tuple[str, ...]
    optional: tuple[str, ...]
    above: Mapping[str, float]
    span: Span | None = None

    @property
    def first(self) -> int:
        """How many rows of the table come before those that are wanted."""
        return self.span.first if self.span else 0

    def found(self, names: Sequence[str]) -> list[str]:
        """What is read of a table with these columns.

        Raises:
            TableError: a column is missing or twice there.
        """
        wanted = (*self.columns, *self.others)
        if len(names) == 1 < len(wanted):
            for sign, called in _SEPARATORS.items():
                if names[0].count(sign) >= len(wanted) - 1:
                    raise TableError(
                        f"{self.path}: its fields are separated by {called}; expected commas"
                    )
        missing = [name for name in wanted if name not in names]
        found = [n for n in (*wanted, *self.optional) if n in names]
        faults = [f"{n!r} is missing{_guess(n, names, wanted)}" for n in missing[:_TOLD]]
        if len(missing) > _TOLD:
            faults.append(f"so are {len(missing) - _TOLD} more")
        faults += [f"{n!r} is there {names.count(n)} times" for n in found if names.count(n) > 1]
        if faults:
            raise TableError(f"{self.path}: column {'; '.join(faults)}; expected {listed(wanted)}")
        return found


def _guess(name: str, names: Sequence[str], wanted: Sequence[str]) -> str:
    others = {n.strip().lower()[:99]: n for n in names[:_LOOKED_AT] if n not in wanted}
    near = difflib.get_close_matches(name.lower(), others, 1)
    return f" (is it {others[near[0]][:99]!r}?)" if near else ""


def listed(names: Sequence[str]) -> str:
    """Names with commas between, the middle of many left out."""
    shown = names if len(names) <= 8 else (names[0], "…", *names[-3:])
    return ", ".join(name[:80] for name in shown).replace(", …,", " …")


def kind_of(path: Path) -> Literal["csv", "gzip", "parquet"]:
    """What a file is, by its first bytes, or else by its ending."""
    with path.open("rb") as file:
        start = file.read(4)
    ending = path.suffix.lower()
    if start == b"PAR1" or ending == ".parquet":
        return "parquet"
    return "gzip" if start.startswith(b"\x1f\x8b") or ending == ".gz" else "csv"


def where(path: Path, row: int) -> str:
    """A row, counted from 1, and its line in a text that breaks none of its fields."""
    line = "" if kind_of(path) == "parquet" else f" (line {row + 1})"
    return f"{path}: row {row}{line}"
