"""Tables of transactions, block by block: CSV, gzip and Parquet in, CSV and Parquet out.

Read by pyarrow, whose numbers are correctly rounded. Memory does not grow with the table.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_impl.base.replacing import check_folder, replacement

__all__ = ["Block", "TableError", "check_output", "read_blocks", "read_table", "writer"]

_CSV_BYTES = 1 << 22  # parsed at a time: some seven thousand rows, which stay in the cache
_PARQUET_ROWS = 1 << 14
_OUTPUTS = (".csv", ".parquet")


class TableError(ValueError):
    """A table is not what was expected: one line with its path and, where it has one, its row."""


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
        if bad.any():
            row = int(np.argmax(bad))
            where = _where(path, self.first + row + 1)
            raise TableError(f"{where}, column 'Class': {labels[row]:g}; expected 0 or 1")
        return torch.from_numpy(labels.astype(np.float32)).reshape(-1, 1)


def read_table(
    path: Path,
    columns: Sequence[str],
    others: Sequence[str] = (),
    optional: Sequence[str] = (),
    progress: bool = True,
) -> Block:
    """The whole table, as one block; see `read_blocks`."""
    blocks = list(read_blocks(path, columns, others, optional, progress))
    rows = torch.cat([block.rows for block in blocks])
    kept = {
        name: np.concatenate([block.others[name] for block in blocks]) for name in blocks[0].others
    }
    return Block(rows, kept, 0)


def read_blocks(
    path: Path,
    columns: Sequence[str],
    others: Sequence[str] = (),
    optional: Sequence[str] = (),
    progress: bool = True,
) -> Iterator[Block]:
    """Reads a table.

    Args:
        path: `.parquet`, `.gz` of a CSV, or else CSV.
        columns: the F numbers of a row, in this order; the table may have others in any.
        others: further columns of numbers.
        optional: further ones that may be missing.
        progress: whether to show on a terminal how far it is.

    Raises:
        TableError: a column is missing or twice there, there are no rows, a line has other fields
            than the header, or a value is no finite number; told at the row where it is known.
        OSError: there is no such file.
        ModuleNotFoundError: pyarrow is not installed.
    """
    if not path.is_file():
        path.open("rb").close()  # says what is wrong, where the system knows
        raise TableError(f"{path}: is no file; expected CSV, .gz or .parquet")
    parquet = path.suffix.lower() == ".parquet"
    wanted = _Wanted(path, tuple(columns), tuple(others), tuple(optional))
    first = 0
    with _bar(path, parquet, progress) as bar:
        for batch in (_parquet if parquet else _csv)(wanted, bar):
            names = batch.schema.names
            table = np.empty((batch.num_rows, len(columns)))
            for place, name in enumerate(columns):
                table[:, place] = _numbers(batch.column(names.index(name)), wanted, name, first)
            kept = {
                name: _numbers(batch.column(names.index(name)), wanted, name, first)
                for name in (*others, *optional)
                if name in names
            }
            yield Block(torch.from_numpy(table), kept, first)
            first += batch.num_rows
    if not first:
        raise TableError(f"{path}: has no rows; expected at least one")


class _Wanted(NamedTuple):
    path: Path
    columns: tuple[str, ...]
    others: tuple[str, ...]
    optional: tuple[str, ...]

    def found(self, names: Sequence[str]) -> list[str]:
        """What is read of a table with these columns."""
        faults = []
        for name in (*self.columns, *self.others):
            if name not in names:
                near = difflib.get_close_matches(name, [n[:99] for n in names], 1)
                faults.append(f"{name!r} is missing" + (f" (is it {near[0]!r}?)" if near else ""))
        found = [n for n in (*self.columns, *self.others, *self.optional) if n in names]
        faults += [f"{n!r} is there {names.count(n)} times" for n in found if names.count(n) > 1]
        if faults:
            more = f"; and {len(faults) - 8} more" if len(faults) > 8 else ""
            raise TableError(
                f"{self.path}: column {'; '.join(faults[:8])}{more}; expected "
                f"{', '.join((*self.columns, *self.others))[:300]}"
            )
        return found


def _csv(wanted: _Wanted, bar: Any) -> Iterator[Any]:
    """Record batches of float64 columns."""
    import pyarrow
    from pyarrow import csv as arrow_csv

    names = _header(wanted.path)
    found = wanted.found(names)
    with wanted.path.open("rb") as file:
        source: Any = pyarrow.PythonFile(file)
        if wanted.path.suffix.lower() == ".gz":
            source = pyarrow.CompressedInputStream(source, "gzip")
        try:
            # Its null values are none here: an empty field is no number.
            reader = arrow_csv.open_csv(
                source,
                read_options=arrow_csv.ReadOptions(block_size=_CSV_BYTES),
                parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(found, pyarrow.float64()),
                    include_columns=found,
                    null_values=[],
                ),
            )
            for batch in reader:
                bar.update(file.tell() - bar.n)
                yield batch
        except (pyarrow.ArrowException, OSError, EOFError) as error:
            raise TableError(_told(wanted, found, error)) from None


def _header(path: Path) -> list[str]:
    for row in _lines(path):
        return row
    raise TableError(f"{path}: is empty; expected a header and rows")


def _lines(path: Path) -> Iterator[list[str]]:
    """Rows of fields, as Python's reader sees them."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
            yield from csv.reader(file)
    except (csv.Error, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TableError(f"{path}: is no whole CSV file ({error})") from None


def _told(wanted: _Wanted, found: Sequence[str], error: Exception) -> str:
    """Which value pyarrow stumbled over: it says neither row nor name."""
    lines = _lines(wanted.path)
    header = next(lines)
    places = [(name, header.index(name)) for name in found]
    for row, fields in zip(count(1), lines, strict=False):
        where = _where(wanted.path, row)
        if len(fields) != len(header):
            came = f"has {len(fields)} fields" if fields else "is blank"
            return f"{where} {came}; expected {len(header)} fields"
        for name, place in places:
            if not _is_number(fields[place]):
                value = repr(fields[place][:80]) if fields[place].strip() else "nothing"
                return f"{where}, column {name!r}: {value}; expected a number"
    return f"{wanted.path}: cannot be read as CSV ({error})"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False


def _parquet(wanted: _Wanted, bar: Any) -> Iterator[Any]:
    """Record batches of the wanted columns."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(
            wanted.path, page_checksum_verification=True, buffer_size=1 << 20
        ) as file:
            found = wanted.found(file.schema_arrow.names)
            for name in found:
                kind = file.schema_arrow.field(name).type
                numeric = pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind)
                if not numeric and not pyarrow.types.is_decimal(kind):
                    raise TableError(
                        f"{wanted.path}: column {name!r} holds {kind}; expected numbers"
                    )
            bar.total = file.metadata.num_rows
            for batch in file.iter_batches(_PARQUET_ROWS, columns=found):
                bar.update(batch.num_rows)
                yield batch
    except (pyarrow.ArrowException, OSError) as error:
        raise TableError(
            f"{wanted.path}: cannot be read as Parquet ({error}); expected a whole file"
        ) from None


def _numbers(column: Any, wanted: _Wanted, name: str, first: int) -> NDArray[np.float64]:
    """A column as finite float64, missing values refused."""
    import pyarrow

    if column.type != pyarrow.float64():
        column = column.cast(pyarrow.float64(), safe=False)
    numbers: NDArray[np.float64] = column.to_numpy(zero_copy_only=False)
    finite = np.isfinite(numbers)
    if not finite.all():
        at = int(np.argmin(finite))
        value = column[at].as_py()
        raise TableError(
            f"{_where(wanted.path, first + at + 1)}, column {name!r}: "
            f"{'nothing' if value is None else value}; expected a finite number"
        )
    return numbers


def _where(path: Path, row: int) -> str:
    """A row, counted from 1, and its line in a text that breaks none of its fields."""
    line = "" if path.suffix.lower() == ".parquet" else f" (line {row + 1})"
    return f"{path}: row {row}{line}"


def check_output(path: Path, inputs: Sequence[Path]) -> None:
    """Says before the work what would be wrong at its end.

    Raises:
        TableError: the ending is none that is written, or the file is one of those read.
        NotADirectoryError: its folder is not there.
    """
    if path.suffix.lower() not in _OUTPUTS:
        raise TableError(f"{path}: ends in {path.suffix!r}; expected {' or '.join(_OUTPUTS)}")
    check_folder(path)
    for other in inputs:
        if path.exists() and other.exists() and path.samefile(other):
            raise TableError(f"{path}: is the file that is read; expected another to write")


@contextmanager
def writer(path: Path, columns: dict[str, type[np.generic]]) -> Iterator[Any]:
    """Gives a function that writes arrays, one for each column, all of one length.

    The file is there when it is whole: what stood there before stands until then.

    Args:
        path: `.csv` or `.parquet`.
        columns: names and NumPy types.
    """
    import pyarrow
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    schema = pyarrow.schema([(n, pyarrow.from_numpy_dtype(t)) for n, t in columns.items()])

    def opened(part: Path) -> Any:
        if path.suffix.lower() == ".parquet":
            return parquet.ParquetWriter(str(part), schema)
        return arrow_csv.CSVWriter(str(part), schema)

    with replacement(path) as part, opened(part) as out:

        def write(*arrays: NDArray[Any]) -> None:
            out.write_batch(pyarrow.record_batch([pyarrow.array(a) for a in arrays], schema=schema))

        yield write


def _bar(path: Path, parquet: bool, progress: bool) -> Any:
    from tqdm import tqdm

    total, unit = (None, "row") if parquet else (path.stat().st_size, "B")
    return tqdm(
        total=total, unit=unit, unit_scale=True, desc=path.name, leave=False,
        disable=None if progress else True,
    )  # fmt: skip
