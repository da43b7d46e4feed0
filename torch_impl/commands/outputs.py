"""Tables that are written, and whether a file may be written at all."""

from __future__ import annotations

import errno
import gzip
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_impl.base.replacing import check_folder, replacement
from torch_impl.commands.wanted import TableError

__all__ = ["TABLES", "check_drawing", "check_output", "join", "rows_in", "writer"]

TABLES = (".csv", ".csv.gz", ".parquet")
"""Endings of the tables that are written."""


def check_output(
    path: Path, others: Sequence[Path | None], endings: Sequence[str] = (), folder: bool = False
) -> None:
    """Says before the work what would be wrong at its end.

    Args:
        path: of a file to be written.
        others: files that are read or written besides; None for one that is not.
        endings: of which it must have one, if any are given.
        folder: whether it becomes a folder, which replaces nothing.

    Raises:
        ValueError: it has another ending, or is one of the others.
        OSError: its folder is not there, or it is something else than a file.
    """
    if endings and not path.name.lower().endswith(tuple(endings)):
        expected = f"{', '.join(endings[:-1])} or {endings[-1]}"
        raise TableError(f"{path}: ends in {path.suffix!r}; expected {expected}")
    if folder and path.exists():
        raise FileExistsError(errno.EEXIST, "is there; expected a new folder's name", str(path))
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
def writer(
    path: Path, columns: Mapping[str, type[np.generic]], header: bool = True
) -> Iterator[Any]:
    """Gives a function that writes arrays, one for each column, all of one length.

    The file is there when it is whole: what stood there before stands until then.

    Args:
        path: with one of the endings `TABLES`.
        columns: names and NumPy types.
        header: whether CSV has one.
    """
    import pyarrow
    from pyarrow import csv, parquet

    schema = pyarrow.schema([(n, pyarrow.from_numpy_dtype(t)) for n, t in columns.items()])
    with replacement(path) as part, ExitStack() as opened:
        sink: Any = str(part)
        if path.suffix.lower() == ".gz":
            sink = opened.enter_context(pyarrow.CompressedOutputStream(sink, "gzip"))
        if path.suffix.lower() == ".parquet":
            out = opened.enter_context(parquet.ParquetWriter(sink, schema))
        else:
            form = csv.WriteOptions(include_header=header)
            out = opened.enter_context(csv.CSVWriter(sink, schema, write_options=form))

        def write(*arrays: NDArray[Any]) -> None:
            # Not pyarrow.array, which imports pandas where that is installed.
            columns = [
                pyarrow.Array.from_buffers(kind, len(array), [None, pyarrow.py_buffer(array)])
                for kind, array in zip(schema.types, arrays, strict=True)
            ]
            out.write_batch(pyarrow.RecordBatch.from_arrays(columns, schema=schema))

        yield write


def rows_in(path: Path, columns: Mapping[str, type[np.generic]], header: bool = True) -> int:
    """How many rows a table has that `writer` wrote, counted in the file.

    Args:
        path: of the file.
        columns: as it was written with.
        header: likewise.
    """
    if path.suffix.lower() == ".parquet":
        from pyarrow import parquet

        found: int = parquet.read_metadata(path).num_rows
        return found
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as file:  # numbers have no line breaks; a name may
        lines = sum(text.count(b"\n") for text in iter(partial(file.read, 1 << 20), b""))
    above = 1 + sum(name.count("\n") for name in columns) if header else 0
    return int(lines) - above


def join(parts: Sequence[Path], path: Path, columns: Mapping[str, type[np.generic]]) -> None:
    """One table of several; of CSV the first alone has a header.

    Args:
        parts: what `writer` wrote, in order, in the form of `path`.
        path: where it is written; what stood there stands until it is whole.
        columns: names and NumPy types.
    """
    if path.suffix.lower() != ".parquet":  # gzip may have several members
        with replacement(path) as whole, whole.open("wb") as out:
            for part in parts:
                with part.open("rb") as file:
                    shutil.copyfileobj(file, out, 1 << 20)
        return
    from pyarrow import parquet

    with writer(path, columns) as write:
        for part in parts:
            with parquet.ParquetFile(part, pre_buffer=False) as file:
                for batch in file.iter_batches():
                    write(*map(np.from_dlpack, batch.columns))
