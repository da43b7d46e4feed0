"""How time and memory grow with the rows, each size and work in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from parity_tests.bench.growth.launch import answers
from parity_tests.bench.material import Material

__all__ = ["SIZES", "WORKS", "Grown", "measure", "space_needed"]

SIZES = (10**4, 10**5, 10**6, 10**7)

_LIBRARY = ("order of rows", "transform", "raw rows to probabilities", "bare epoch")
_TABLES = {
    "score, CSV": (".csv", 1),
    "score, Parquet": (".parquet", 1),
    "score, CSV, 2 processes": (".csv", 2),
    "score, Parquet, 2 processes": (".parquet", 2),
}
"""What a table is named, and how many processes share it out."""
WORKS = (*_LIBRARY, *_TABLES)

_BYTES_OF_ROW = {".csv": 600, ".parquet": 260}
"""Of the tables that are written for it, about; scores are a tenth."""


class Grown(NamedTuple):
    """One work on so many rows."""

    work: str
    rows: int
    seconds: float
    bytes: int
    """Of memory at its peak, above the import, the rows that it is given included; of the process
    that has the most."""


def space_needed(works: Sequence[str], sizes: Sequence[int]) -> int:
    """Bytes on the disk, about."""
    kinds = [_BYTES_OF_ROW[_TABLES[work][0]] for work in works if work in _TABLES]
    return int(1.1 * max(kinds, default=0) * max(sizes))


def measure(material: Material, works: Sequence[str], sizes: Sequence[int]) -> Iterator[Grown]:
    """Each work on each size; a table is there while it is read.

    Raises:
        RuntimeError: a work failed, or rows are missing or doubled in what it wrote.
    """
    for rows in sizes:
        for work in works:
            if work not in _TABLES:
                yield _asked(work, material, material.pipeline, rows)
                continue
            material.pipeline  # noqa: B018 (stands beside the table)
            ending, processes = _TABLES[work]
            table = material.folder / f"grown{ending}"
            scores = table.with_name(f"scores{ending}")
            with ExitStack() as after:
                for path in (table, scores, scores.with_name(f".{scores.name}.lock")):
                    after.callback(path.unlink, missing_ok=True)
                _write(material, table, rows)
                grown = _asked(work, material, table, rows, processes)
                written = _rows_in(scores)
                if written != rows:
                    raise RuntimeError(f"{work}: {written:,} rows; expected {rows:,}")
                yield grown


def _asked(work: str, material: Material, file: Path, rows: int, processes: int = 1) -> Grown:
    found = answers("by_rows_worker", (work, material.raw, file, rows), processes)
    return Grown(work, rows, *(max(one[name] for one in found) for name in ("seconds", "bytes")))


def _rows_in(path: Path) -> int:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return int(parquet.ParquetFile(path).metadata.num_rows)
    with path.open("rb") as lines:
        return sum(1 for _ in lines) - 1  # the header's


def _write(material: Material, path: Path, rows: int) -> None:
    """The rows over and over, with the published file's columns."""
    import pyarrow
    from pyarrow import csv, parquet

    table = pyarrow.Table.from_pandas(material.table, preserve_index=False)
    kind = csv.CSVWriter if path.suffix == ".csv" else parquet.ParquetWriter
    with kind(str(path), table.schema) as out:
        for start in range(0, rows, len(table)):
            out.write_table(table.slice(0, min(len(table), rows - start)))
