"""Tables of transactions, block by block: CSV, gzip and Parquet.

Read by pyarrow, whose numbers are correctly rounded. Memory does not grow with the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_impl.commands.csv_blocks import csv_blocks
from torch_impl.commands.wanted import Span, TableError, Wanted, kind_of, where

__all__ = ["ROWS", "Block", "parquet_rows", "read_blocks", "read_table"]

ROWS = 2**16
"""Of a block at least: enough for `torch_impl.scoring` to compile, and a multiple of what it takes
at a time where it does not. A last block of fewer rows would be rounded by other code."""
_NOTHING: Mapping[str, float] = MappingProxyType({})


class Block(NamedTuple):
    """Rows that follow each other in a table."""

    rows: Tensor
    """float64 (N, F), finite."""
    others: dict[str, NDArray[np.float64]]
    """(N,) of each further column that was asked for and is there."""
    first: int
    """How many rows of the table came before."""

    def labels(self, path: Path) -> Tensor:
        """The column Class, float32 (N, 1).

        Args:
            path: of the table, for the error.

        Raises:
            TableError: a label is not 0 or 1.
        """
        labels = self.others["Class"]
        bad = (labels != 0) & (labels != 1)
        _refuse_first(bad, labels, path, "Class", self.first, "0 or 1")
        return torch.from_numpy(labels.astype(np.float32)).reshape(-1, 1)


def read_table(
    path: Path,
    columns: Sequence[str],
    others: Sequence[str] = (),
    optional: Sequence[str] = (),
    above: Mapping[str, float] = _NOTHING,
    progress: bool = True,
) -> Block:
    """The whole table, as one block; see `read_blocks`."""
    return _joined(list(read_blocks(path, columns, others, optional, above, progress)))


def read_blocks(
    path: Path,
    columns: Sequence[str],
    others: Sequence[str] = (),
    optional: Sequence[str] = (),
    above: Mapping[str, float] = _NOTHING,
    progress: bool = True,
    span: Span | None = None,
) -> Iterator[Block]:
    """Reads a table: Parquet or CSV, plain or in gzip, whatever its name says.

    Blocks have 65,536 rows, the last one what is left with them, so that blocks and whole table
    are scored to the same bits: matrix products round a row by its place in a block. In which
    parts the file was read makes no difference.

    Args:
        path: of the file.
        columns: the F numbers of a row, in this order; the table may have others in any.
        others: further columns of numbers.
        optional: further ones that may be missing.
        above: of some of `columns`, what their numbers must be more than.
        progress: whether to show on a terminal how far it is.
        span: of the rows that are read, if not all; its first is the first of a block.

    Raises:
        TableError: a column is missing or twice there, there are no rows, a line has other fields
            than the header, or a value is no finite number or too small; told at the row where it
            is known. Blank lines at the end are none.
        OSError: there is no such file.
        ModuleNotFoundError: pyarrow is not installed.
    """
    if not path.is_file():
        path.open("rb").close()  # says what is wrong, where the system knows
        raise TableError(f"{path}: is no file; expected CSV, .gz or .parquet")
    wanted = Wanted(path, tuple(columns), tuple(others), tuple(optional), above, span)
    parquet = kind_of(path) == "parquet"
    first, held = wanted.first, []
    with _bar(path, parquet, progress) as bar:
        for batch in (_parquet_blocks if parquet else csv_blocks)(wanted, bar):
            held.append(_block(batch, wanted, first))
            first += batch.num_rows
            if first - held[0].first >= 2 * ROWS:
                *whole, rest = _parts(_joined(held))
                yield from whole
                held = [rest]
    if not held:
        raise TableError(f"{path}: has no rows; expected at least one")
    yield _joined(held)


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    rows = torch.from_numpy(np.concatenate([block.rows.numpy() for block in blocks]))
    others = {
        name: np.concatenate([block.others[name] for block in blocks]) for name in blocks[0].others
    }
    return Block(rows, others, blocks[0].first)


def _parts(block: Block) -> list[Block]:
    """Blocks of `ROWS`, the last one with what is left."""
    starts = range(0, len(block.rows) - ROWS + 1, ROWS)
    places = [slice(start, start + ROWS) for start in starts[:-1]]
    return [
        Block(
            block.rows[place],
            {name: column[place] for name, column in block.others.items()},
            block.first + place.start,
        )
        for place in (*places, slice(starts[-1], None))
    ]


def _block(batch: Any, wanted: Wanted, first: int) -> Block:
    names = batch.schema.names

    def numbers(name: str) -> NDArray[np.float64]:
        return _numbers(batch.column(names.index(name)), wanted, name, first)

    table = np.empty((batch.num_rows, len(wanted.columns)))
    for place, name in enumerate(wanted.columns):
        table[:, place] = numbers(name)
    for name, least in wanted.above.items():
        column = table[:, wanted.columns.index(name)]
        expected = f"more than {least:g}, as its logarithm is taken"
        _refuse_first(column - least <= 0, column, wanted.path, name, first, expected)
    kept = {n: numbers(n) for n in (*wanted.others, *wanted.optional) if n in names}
    return Block(torch.from_numpy(table), kept, first)


def parquet_rows(path: Path) -> int:
    """How many rows a Parquet file says it has.

    Raises:
        TableError: it cannot be read.
    """
    with _parquet(path) as file:
        rows: int = file.metadata.num_rows
        return rows


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(
            path, page_checksum_verification=True, buffer_size=1 << 20, pre_buffer=False
        ) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        raise TableError(
            f"{path}: cannot be read as Parquet ({error}); expected a whole file"
        ) from None


def _parquet_blocks(wanted: Wanted, bar: Any) -> Iterator[Any]:
    """Record batches of the wanted columns."""
    import pyarrow

    with _parquet(wanted.path) as file:
        found = wanted.found(file.schema_arrow.names)
        for name in found:
            kind = file.schema_arrow.field(name).type
            numeric = pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind)
            if not numeric and not pyarrow.types.is_decimal(kind):
                raise TableError(f"{wanted.path}: column {name!r} holds {kind}; expected numbers")
        bar.total = file.metadata.num_rows
        for batch in _batches(file, found, wanted.span):
            bar.update(batch.num_rows)
            yield batch


def _batches(file: Any, found: list[str], span: Span | None) -> Iterator[Any]:
    """All of a file, or a span: of a row group that begins before it, what is before is dropped."""
    if span is None:
        yield from file.iter_batches(ROWS, columns=found)
        return
    groups = range(file.metadata.num_row_groups)
    starts = [0, *accumulate(file.metadata.row_group(group).num_rows for group in groups)]
    touched = [g for g in groups if starts[g] < span.stop and span.first < starts[g + 1]]
    at = starts[touched[0]]
    for batch in file.iter_batches(ROWS, row_groups=touched, columns=found):
        before = max(span.first - at, 0)
        inside = batch.slice(before, max(span.stop - at - before, 0))
        at += batch.num_rows
        if inside.num_rows:
            yield inside
        if at >= span.stop:
            return


def _numbers(column: Any, wanted: Wanted, name: str, first: int) -> NDArray[np.float64]:
    """A column as finite float64, missing values refused."""
    import pyarrow

    if pyarrow.types.is_decimal(column.type):  # by its text: its own cast rounds twice
        column = column.cast(pyarrow.string())
    if column.type != pyarrow.float64():
        column = column.cast(pyarrow.float64(), safe=False)
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise TableError(
            f"{where(wanted.path, first + row + 1)}, column {name!r}: nothing; "
            "expected a finite number"
        )
    # Not its to_numpy, which imports pandas where that is installed.
    numbers: NDArray[Any] = np.from_dlpack(column)
    _refuse_first(~np.isfinite(numbers), numbers, wanted.path, name, first, "a finite number")
    return numbers


def _refuse_first(
    bad: NDArray[np.bool_],
    numbers: NDArray[np.float64],
    path: Path,
    name: str,
    first: int,
    expected: str,
) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise TableError(
            f"{where(path, first + row + 1)}, column {name!r}: {numbers[row]:g}; "
            f"expected {expected}"
        )


def _bar(path: Path, parquet: bool, progress: bool) -> Any:
    from tqdm import tqdm

    total, unit = (None, "row") if parquet else (path.stat().st_size, "B")
    return tqdm(
        total=total, unit=unit, unit_scale=True, desc=path.name, leave=False,
        disable=None if progress else True,
    )  # fmt: skip
