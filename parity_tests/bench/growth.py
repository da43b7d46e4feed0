"""How time and memory grow with the rows, each size and work in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from parity_tests import ROOT
from parity_tests.bench.material import Material

__all__ = ["SIZES", "WORKS", "Grown", "measure", "space_needed"]

SIZES = (10**4, 10**5, 10**6, 10**7)

_LIBRARY = ("order of rows", "transform", "raw rows to probabilities", "bare epoch")
_TABLES = {"score, CSV": ".csv", "score, Parquet": ".parquet"}
WORKS = (*_LIBRARY, *_TABLES)

_BYTES_OF_ROW = {".csv": 600, ".parquet": 260}
"""Of the tables that are written for it, about; scores are a tenth."""


class Grown(NamedTuple):
    """One work on so many rows."""

    work: str
    rows: int
    seconds: float
    bytes: int
    """Of memory at its peak, above the import, the rows that it is given included."""


def space_needed(works: Sequence[str], sizes: Sequence[int]) -> int:
    """Bytes on the disk, about."""
    kinds = [_BYTES_OF_ROW[_TABLES[work]] for work in works if work in _TABLES]
    return int(1.1 * max(kinds, default=0) * max(sizes))


def measure(material: Material, works: Sequence[str], sizes: Sequence[int]) -> Iterator[Grown]:
    """Each work on each size; a table is there while it is read."""
    for rows in sizes:
        for work in works:
            if work not in _TABLES:
                yield _asked(work, material, material.pipeline, rows)
                continue
            material.pipeline  # noqa: B018 (stands beside the table)
            table = material.folder / f"grown{_TABLES[work]}"
            with ExitStack() as after:
                for path in (table, table.with_name(f"scores{table.suffix}")):
                    after.callback(path.unlink, missing_ok=True)
                _write(material, table, rows)
                yield _asked(work, material, table, rows)


def _asked(work: str, material: Material, file: Path, rows: int) -> Grown:
    answer = subprocess.run(
        [sys.executable, "-m", "parity_tests.bench.grown", work, material.raw, file, str(rows)],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    if answer.returncode:
        said = answer.stderr.strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"{work} on {rows:,} rows: {said[-1]}")
    found = json.loads(answer.stdout.splitlines()[-1])
    return Grown(work, rows, found["seconds"], found["bytes"])


def _write(material: Material, path: Path, rows: int) -> None:
    """The rows over and over, with the published file's columns."""
    import pyarrow
    from pyarrow import csv, parquet

    table = pyarrow.Table.from_pandas(material.table, preserve_index=False)
    kind = csv.CSVWriter if path.suffix == ".csv" else parquet.ParquetWriter
    with kind(str(path), table.schema) as out:
        for start in range(0, rows, len(table)):
            out.write_table(table.slice(0, min(len(table), rows - start)))
