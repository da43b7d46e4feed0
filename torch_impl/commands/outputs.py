"""Tables that are written, and whether a file may be written at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_impl.base.replacing import check_folder, replacement
from torch_impl.commands.wanted import TableError

__all__ = ["TABLES", "check_drawing", "check_output", "writer"]

TABLES = (".csv", ".csv.gz", ".parquet")
"""Endings of the tables that are written."""


def check_output(path: Path, others: Sequence[Path | None], endings: Sequence[str] = ()) -> None:
    """Says before the work what would be wrong at its end.

    Args:
        path: of a file to be written.
        others: files that are read or written besides; None for one that is not.
        endings: of which it must have one, if any are given.

    Raises:
        ValueError: it has another ending, or is one of the others.
        OSError: its folder is not there, or it is something else than a file.
    """
    if endings and not path.name.lower().endswith(tuple(endings)):
        expected = f"{', '.join(endings[:-1])} or {endings[-1]}"
        raise TableError(f"{path}: ends in {path.suffix!r}; expected {expected}")
    check_folder(path)
    for other in others:
        if other is not None and path.resolve() == other.resolve():
            raise TableError(f"{path}: is named twice; expected a file of its own to write")


def check_drawing() -> None:
    """Says before the work that a page has nothing to be drawn with.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError("matplotlib is not installed", name="matplotlib")


@contextmanager
def writer(path: Path, columns: dict[str, type[np.generic]]) -> Iterator[Any]:
    """Gives a function that writes arrays, one for each column, all of one length.

    The file is there when it is whole: what stood there before stands until then.

    Args:
        path: with one of the endings `TABLES`.
        columns: names and NumPy types.
    """
    import pyarrow
    from pyarrow import csv, parquet

    schema = pyarrow.schema([(n, pyarrow.from_numpy_dtype(t)) for n, t in columns.items()])
    with replacement(path) as part, ExitStack() as opened:
        sink: Any = str(part)
        if path.suffix.lower() == ".gz":
            sink = opened.enter_context(pyarrow.CompressedOutputStream(sink, "gzip"))
        kind = parquet.ParquetWriter if path.suffix.lower() == ".parquet" else csv.CSVWriter
        out = opened.enter_context(kind(sink, schema))

        def write(*arrays: NDArray[Any]) -> None:
            # Not pyarrow.array, which imports pandas where that is installed.
            columns = [
                pyarrow.Array.from_buffers(kind, len(array), [None, pyarrow.py_buffer(array)])
                for kind, array in zip(schema.types, arrays, strict=True)
            ]
            out.write_batch(pyarrow.RecordBatch.from_arrays(columns, schema=schema))

        yield write
