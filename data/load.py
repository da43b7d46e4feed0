"""Reads the data set from CSV, gzip, zip or Parquet."""

from __future__ import annotations

import codecs
import difflib
import gzip
import io
import lzma
import re
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from packaging.version import Version

from data.errors import DataError
from data.schema import check, check_columns

__all__ = ["load", "load_table"]

# Before 3.1 the default parser may be an ULP off; since then the option is deprecated.
_CORRECTLY_ROUNDED: dict[str, Any] = (
    {} if Version(pd.__version__) >= Version("3.1") else {"float_precision": "round_trip"}
)


_DAMAGED = (EOFError, OSError, lzma.LZMAError, zipfile.BadZipFile, zlib.error)


def load(path: str | PathLike[str]) -> pd.DataFrame:
    """Reads and checks a file of the data set.

    Args:
        path: `.csv`, `.gz` or `.zip` (of one CSV), or `.parquet`; any other ending is read
            as CSV.

    Returns:
        Columns `COLUMNS` in that order (without Time where the file has none), float64
        correctly rounded, Class int64, every row of the file in its order.

    Raises:
        DataError: the file is not there, is cut off, is not what its ending says, or holds
            what `check` refuses. One line with the file's name.
    """
    frame, first_line = _read(Path(path), check_columns)
    return check(frame, str(path), first_line)


def load_table(
    path: str | PathLike[str], label: str | None = None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Reads any table of numbers, in the forms that `load` reads.

    Args:
        path: of the file.
        label: the column that is none of the features.

    Returns:
        The other columns, float64 (N, columns) in their order; and the label's, (N,), or None.

    Raises:
        DataError: as `load`; or the label's column is missing, a column stands twice, there are
            no rows, or a value is no finite number. One line with the file's name.
    """
    frame, first_line = _read(Path(path), _check_names)
    _check_names(list(map(str, frame.columns)), str(path))
    frame.columns = frame.columns.map(str)
    if label is not None and label not in frame.columns:
        near = difflib.get_close_matches(label, frame.columns, 1)
        meant = f"; is it {near[0]!r}?" if near else ""
        raise DataError(
            f"{path}: no column {label!r}; there are {', '.join(frame.columns)[:300]}{meant}"
        )
    if frame.empty or frame.shape[1] == (label is not None):
        raise DataError(f"{path}: no rows, or no columns; expected at least one of both")
    for name in frame.columns:
        numbers = pd.to_numeric(frame[name], errors="coerce").to_numpy("float64")
        bad = ~np.isfinite(numbers)
        if bad.any():
            row = int(np.argmax(bad))
            line = "" if first_line is None else f" (line {row + first_line})"
            raise DataError(
                f"{path}: row {row + 1}{line}, column {name!r}: {str(frame[name].iloc[row])[:80]}; "
                "expected a finite number"
            )
    labels = None if label is None else frame[label].to_numpy("float64")
    return frame.drop(columns=[] if label is None else [label]).to_numpy("float64"), labels


def _check_names(names: Sequence[str], source: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{source}: the column {twice[0]!r} stands twice; expected names to differ")


def _read(
    path: Path, check_names: Callable[[list[str], str], object]
) -> tuple[pd.DataFrame, int | None]:
    """The table as it stands in a file, and the line of its first row where it has lines."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path}: {what}; expected a CSV, .gz, .zip or .parquet file")
    ending = path.suffix.lower()
    try:
        if ending == ".parquet":
            return _read_parquet(path), None
        if ending == ".gz":
            with gzip.open(path) as stream:
                content = stream.read()
        elif ending == ".zip":
            content = _only_member(path)
        else:
            content = path.read_bytes()
    except _DAMAGED as error:
        reason = str(error).strip() or type(error).__name__
        raise DataError(
            f"{path}: cannot be read as {ending[1:]} ({reason}); expected a whole file"
        ) from error
    return _parse(content, str(path), check_names), 2


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow
    from pyarrow import parquet

    try:
        # Pages are held against their checksums where the writer gave them any; the footer has
        # none, and what pandas wrote into it beside the table (its index) is not needed.
        table = parquet.read_table(path, page_checksum_verification=True)
        frame = table.to_pandas(ignore_metadata=True)
    except (pyarrow.ArrowException, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as Parquet ({error}); expected a whole file"
        ) from error
    index = [name for name in frame.columns if re.fullmatch(r"__index_level_\d+__", name)]
    return frame.drop(columns=index)


def _only_member(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
        if len(files) != 1:
            names = ", ".join(info.filename for info in files) or "nothing"
            raise DataError(f"{path}: holds {names}; expected one CSV file")
        try:
            return archive.read(files[0])
        except RuntimeError as error:  # encrypted, or by a method that Python has not
            raise DataError(f"{path}: {error}") from error


def _parse(
    content: bytes, source: str, check_names: Callable[[list[str], str], object]
) -> pd.DataFrame:
    content = content.removeprefix(codecs.BOM_UTF8)
    if not content.strip():
        raise DataError(f"{source}: the file is empty; expected a header and rows")
    _check_first_lines(content, source)
    # pandas skips a row that is one blank field wide only if told to, and turns a file whose
    # rows are all longer than its header into one with an index: both would hide rows.
    if content.endswith(b"\n"):
        content = content.rstrip(b"\r\n") + b"\n"
    try:
        # pandas renames a repeated column to `V1.1`: give the check the names of the file.
        header = pd.read_csv(io.BytesIO(content), header=None, nrows=1, dtype=str)
        names = ["" if pd.isna(name) else str(name).strip() for name in header.iloc[0]]
        check_names(names, source)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.BytesIO(content),
                index_col=False,
                skip_blank_lines=False,
                low_memory=False,
                **_CORRECTLY_ROUNDED,
            )
    except pd.errors.ParserWarning as error:
        raise DataError(
            f"{source}: line 2 has more fields than the header; expected {len(names)} fields"
        ) from error
    except pd.errors.ParserError as error:
        ragged = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        reason = (
            f"line {ragged[2]} has {ragged[3]} fields; expected {ragged[1]}"
            if ragged
            else f"cannot be read as CSV ({error})"
        )
        raise DataError(f"{source}: {reason}") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{source}: line {line} is not UTF-8 text (byte {error.object[error.start]:#04x}); "
            "expected a CSV file"
        ) from error
    frame.columns = names
    return frame


_LONGEST_LINE = 1 << 16  # bytes; 31 numbers take less than a thousand


def _check_first_lines(content: bytes, source: str) -> None:
    """The header and the row below it, by which pandas decides how many columns there are."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:999]:
        raise DataError(f"{source}: is not UTF-8 text (UTF-16, perhaps); expected a CSV file")
    start = 0
    for number in (1, 2):
        end = content.find(b"\n", start)
        line = content[start : end if end >= 0 else len(content)]
        if len(line) > _LONGEST_LINE:
            raise DataError(
                f"{source}: line {number} has {len(line):,} bytes; expected {_LONGEST_LINE:,} at "
                "most, of a table's header and rows"
            )
        if number == 1 and not line.strip():
            raise DataError(f"{source}: line 1 is blank; expected the header there")
        if end < 0:
            return
        start = end + 1
