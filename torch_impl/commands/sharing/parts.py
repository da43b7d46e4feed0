"""A table is written in parts, which processes share out, and which become one.

A part is some of the blocks that one process reads of the whole table, so that its bits are the
same whoever makes it; how many processes there are makes no difference to what the parts are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from torch_impl.base.processes import Processes, processes
from torch_impl.commands import tables
from torch_impl.commands.outputs import join, rows_in, writer
from torch_impl.commands.sharing.csv_rows import count_csv_rows
from torch_impl.commands.sharing.kept import KeptParts, Part, PartsError
from torch_impl.commands.tables import Block, parquet_rows
from torch_impl.commands.wanted import Span, kind_of

__all__ = ["Work", "Written", "write_parts"]

_BLOCKS = 4
"""Of a part: less than a second's work, and some megabytes."""


class Work(NamedTuple):
    """What is read, computed and written."""

    table: Path
    output: Path
    columns: Mapping[str, type[np.generic]]
    """Of the output."""
    read: Callable[[Span | None], Iterator[Block]]
    """The blocks of a span, or of the whole table."""
    score: Callable[[Block, Any], int]
    """Writes a block's rows by the function that it is given, and says how many are alerts."""
    run: Mapping[str, Any]
    """What else the output depends on."""
    as_folder: bool
    """Whether the parts stay parts."""


class Written(NamedTuple):
    """What came of it, the same in all processes."""

    rows: int
    alerts: int
    parts: int
    resumed: int
    """Parts that were there already."""


def write_parts(work: Work, progress: bool = True) -> Written:
    """Writes the output; called by all processes.

    Args:
        work: what is to be done.
        progress: whether the first process shows on a terminal how far all are.

    Returns:
        Counts of the whole output, which has as many rows as the table, counted in both.

    Raises:
        PartsError: the parts that are there are of another run, another run is at work, or a row
            is lost or doubled.
        ProcessLostError: another process is gone.
        TableError: as `read_blocks` says.
        OSError: something cannot be read or written.
    """
    us, kept, run = processes(), KeptParts(work.output), _run(work)
    if any(other != run for other in us.of_all(run)):
        raise PartsError(f"{work.table}: differs from machine to machine, or the model does")
    with kept.locked() if us.first else nullcontext():
        resumed = us.from_first(lambda: kept.found(run))
        cut = _Cut.of(work.table, us)
        parts = {part.number: part for part in resumed}
        if parts and us.first:
            of = f" of {cut.parts}" if cut else ""
            line = f"{kept.folder}: goes on, {len(parts)}{of} parts are there"
            print(line, file=sys.stderr, flush=True)
        alone = [None] if us.first else []
        mine = _made(work, kept, cut.spans(parts, us) if cut else alone, cut, parts)
        with _bar(work.table, cut, parts.values(), progress and us.first) as bar:
            # In step, so that nobody waits for another for longer than a part takes.
            while any(made := us.of_all(next(mine, None))):
                parts |= {part.number: part for part in made if part}
                bar.update(sum(part.rows for part in made if part))
        written = [parts[number] for number in sorted(parts)]
        if us.first:
            _finish(work, kept, cut, written)
    rows, alerts = (sum(part[i] for part in written) for i in (1, 2))
    return Written(rows, alerts, len(written), len(resumed))


class _Cut(NamedTuple):
    """A table whose rows are counted, and can be read from anywhere."""

    rows: int
    span: Callable[[int, int], Span]
    """From the row `first` to before `stop`."""

    @staticmethod
    def of(path: Path, us: Processes) -> _Cut | None:
        """None for one that is read from its beginning alone, or has no rows."""
        kind = kind_of(path)
        if kind == "parquet":
            cut = _Cut(parquet_rows(path), Span)
        elif kind == "csv" and (counted := count_csv_rows(path, us)):
            cut = _Cut(counted.rows, counted.span)
        else:
            return None
        return cut if cut.rows else None

    @property
    def parts(self) -> int:
        """The last block takes what is left of the rows, and so does the last part."""
        return -(-max(self.rows // tables.ROWS, 1) // _BLOCKS)

    def rows_of(self, number: int) -> range:
        size = _BLOCKS * tables.ROWS
        last = number == self.parts - 1
        return range(number * size, self.rows if last else (number + 1) * size)

    def spans(self, there: Iterable[int], us: Processes) -> list[Span | None]:
        """This process's share of the parts that are missing, neighbours in one span."""
        missing = sorted(set(range(self.parts)) - set(there))
        mine = [missing[i] for i in us.part(len(missing))]
        runs = [[n for _, n in run] for _, run in groupby(enumerate(mine), lambda p: p[1] - p[0])]
        return [self.span(self.rows_of(r[0]).start, self.rows_of(r[-1]).stop) for r in runs]


def _made(
    work: Work, kept: KeptParts, spans: Sequence[Span | None], cut: _Cut | None,
    there: Iterable[int],
) -> Iterator[Part]:  # fmt: skip
    """Makes the parts of some spans, one after the other."""
    there = frozenset(there)
    for span in spans:
        numbered = groupby(work.read(span), lambda block: block.first // (_BLOCKS * tables.ROWS))
        for number, blocks in numbered:
            if number not in there:
                yield _part(work, kept, number, blocks, cut)


def _part(
    work: Work, kept: KeptParts, number: int, blocks: Iterator[Block], cut: _Cut | None
) -> Part:
    path, header = kept.file(number), work.as_folder or not number
    rows = alerts = 0
    with writer(path, work.columns, header) as write:
        for block in blocks:
            alerts += work.score(block, write)
            rows += len(block.rows)
    part = Part(number, rows_in(path, work.columns, header), alerts, path.stat().st_size)
    expected = len(cut.rows_of(number)) if cut else rows
    if not part.rows == rows == expected:
        raise PartsError(
            f"{path}: has {part.rows:,} rows, of {rows:,} that were read; expected {expected:,}"
        )
    kept.note(part)
    return part


def _finish(work: Work, kept: KeptParts, cut: _Cut | None, parts: Sequence[Part]) -> None:
    """The parts become the output, if none is missing."""
    rows = sum(part.rows for part in parts)
    if [part.number for part in parts] != list(range(len(parts))) or (cut and rows != cut.rows):
        expected = f"the {cut.rows:,} rows" if cut else "all rows"
        raise PartsError(f"{kept.folder}: {rows:,} rows in {len(parts)} parts; expected {expected}")
    for part in parts:
        if not kept.is_whole(part):
            raise PartsError(f"{kept.file(part.number)}: is gone or cut short since it was written")
    if work.as_folder:
        kept.become_folder(len(parts))
        return
    join([kept.file(part.number) for part in parts], work.output, work.columns)
    joined = rows_in(work.output, work.columns)
    if joined != rows:
        raise PartsError(f"{work.output}: has {joined:,} rows; expected the parts' {rows:,}")
    kept.remove()


def _run(work: Work) -> dict[str, Any]:
    """What a part depends on: of the table its length and when it was last written."""
    status = work.table.stat()
    return {
        "table": work.table.name,
        "bytes": status.st_size,
        "changed": status.st_mtime_ns,
        "columns": ", ".join(work.columns),
        "rows of a part": _BLOCKS * tables.ROWS,
        "parts that stay": work.as_folder,
        **work.run,
    }


def _bar(table: Path, cut: _Cut | None, there: Iterable[Part], shown: bool) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=cut.rows if cut else None, initial=sum(part.rows for part in there), unit="row",
        unit_scale=True, desc=table.name, leave=False, disable=None if shown else True,
    )  # fmt: skip
