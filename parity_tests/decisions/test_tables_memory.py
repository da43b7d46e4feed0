"""Reading a table holds a few blocks of it, however long it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import csv, parquet

from torch_impl.commands.tables import read_blocks

FEW, TIMES = 300_000, 4
"""Rows: more than a block, and than the buffers of a column."""


def _one_group(table: Any, path: str) -> None:
    parquet.write_table(table, path, row_group_size=len(table))


def _many_groups(table: Any, path: str) -> None:
    parquet.write_table(table, path, row_group_size=FEW // 2)


KINDS = {
    "csv": (csv.write_csv, ".csv"),
    "parquet of one row group": (_one_group, ".parquet"),
    "parquet of many row groups": (_many_groups, ".parquet"),
}


def most_held(path: Path) -> int:
    """The most bytes that pyarrow holds while a table is read."""
    before = pyarrow.total_allocated_bytes()
    held = [
        pyarrow.total_allocated_bytes() - before
        for _ in read_blocks(path, ["V1", "V2"], progress=False)
    ]
    return max(held)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_table_four_times_as_long_takes_no_more_memory(kind: str, tmp_path: Path) -> None:
    """What grew with the rows would be four times as much, and what is read ahead varies."""
    write, ending = KINDS[kind]
    numbers = np.random.default_rng(0).normal(size=(2, FEW))
    few = pyarrow.table(dict(zip(("V1", "V2"), numbers, strict=True)))
    held = []
    for table in (few, pyarrow.concat_tables([few] * TIMES)):
        path = tmp_path / f"{len(table)}{ending}"
        write(table, str(path))
        held.append(most_held(path))
    assert 0 < held[1] < 2 * held[0]
