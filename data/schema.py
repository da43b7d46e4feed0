"""The columns of the credit-card data set, and what a row must hold."""

from __future__ import annotations

import difflib
import math

import numpy as np
import pandas as pd

from data.errors import DataError

__all__ = ["COLUMNS", "FEATURES", "RAW_FEATURES", "check", "check_columns"]

_V = tuple(f"V{i}" for i in range(1, 29))

COLUMNS = ("Time", *_V, "Amount", "Class")
"""As the published file has them: seconds, 28 principal components, euros, 0 or 1."""

_UNSEEN = ("Time", "id")
"""What the model never sees and a file may lack: of 2013's data set, and of 2023's."""

RAW_FEATURES = (*_V, "Amount")
"""What the features are made of, in the order of the features."""

FEATURES = (*_V, "Log Amount")
"""What the network takes."""


def check(frame: pd.DataFrame, source: str, first_line: int | None = None) -> pd.DataFrame:
    """Refuses a table that is not whole and clean; drops and repairs nothing.

    Args:
        frame: columns in any order.
        source: the name that errors begin with.
        first_line: line of the first row in a text file, so that errors can give lines.

    Returns:
        The columns in the order of `COLUMNS`, without Time where the file has none: float64,
        and int64 for Class. A column `id` (the data set of 2023 numbers its rows) is left out.

    Raises:
        DataError: a column is missing, unknown or twice there; there are no rows; a value
            is missing, text, infinite, a negative amount, or a label other than 0 and 1;
            or only one class occurs. One line with source, row, column and value.
    """
    check_columns(list(frame.columns), source)
    columns = [name for name in COLUMNS if name in frame.columns]
    frame = frame[columns]
    if frame.empty:
        raise DataError(f"{source}: no rows; expected at least one below the header")

    def refuse(bad: np.ndarray, column: str, expected: str, values: pd.Series) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            line = "" if first_line is None else f" (line {row + first_line})"
            came = _told(values.iloc[row])
            more = f" ({int(bad.sum())} such rows)" if bad.sum() > 1 else ""
            raise DataError(
                f"{source}: row {row + 1}{line}, column {column!r}: {came}; "
                f"expected {expected}{more}"
            )

    # A short or blank row misses its last columns: say so before the first column's fault.
    missing = frame.isna().to_numpy()
    if missing.any():
        row = int(np.argmax(missing.any(axis=1)))
        column = columns[int(np.argmax(missing[row]))]
        refuse(frame[column].isna().to_numpy(), column, "a number", frame[column])
    table = {}
    for column in columns:
        values = frame[column]
        if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
            is_bool = values.map(lambda v: isinstance(v, (bool, np.bool_))).to_numpy(dtype=bool)
            texts = values.map(str)  # bytes too
            numbers = pd.to_numeric(texts, errors="coerce")
            bad = is_bool | numbers.isna().to_numpy()
            refuse(bad, column, _expected(texts.iloc[int(np.argmax(bad))]), values)
            raise DataError(
                f"{source}: column {column!r} holds {_kind(values)}, not numbers; "
                "expected float or integer"
            )
        numbers = values.to_numpy(dtype=np.float64)
        refuse(~np.isfinite(numbers), column, "a finite number", values)
        table[column] = numbers
    refuse(table["Amount"] < 0, "Amount", "an amount of at least 0", frame["Amount"])
    labels = table["Class"]
    refuse((labels != 0) & (labels != 1), "Class", "0 or 1", frame["Class"])
    if len(np.unique(labels)) < 2:
        raise DataError(
            f"{source}: column 'Class' is {int(labels[0])} in all {len(labels)} rows; "
            "expected both 0 and 1"
        )
    table["Class"] = labels.astype(np.int64)
    return pd.DataFrame(table)


def check_columns(came: list[object], source: str) -> None:
    """Refuses names that are not the data set's.

    Args:
        came: in the file's order; None or "" is a column without a name.
        source: the name that errors begin with.

    Raises:
        DataError: a column is missing, unknown or twice there. All of them are told, and what
            to do about it where that is plain.
    """
    names = ["" if name is None else str(name) for name in came]
    (only,) = names if len(names) == 1 else ("",)
    for sign, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if only.count(sign) >= len(RAW_FEATURES):
            raise DataError(
                f"{source}: its fields are separated by {called}; expected commas "
                f"(pandas.read_csv(…, sep={sign!r}) reads it, to_csv(…, index=False) writes it)"
            )
    missing = [name for name in COLUMNS if name not in names and name not in _UNSEEN]
    unknown = [name for name in dict.fromkeys(names) if name not in (*COLUMNS, *_UNSEEN)]
    faults = []
    for name in missing:
        near = difflib.get_close_matches(name.lower(), [n.lower()[:99] for n in unknown], n=1)
        guess = next((n for n in unknown if [n.lower()] == near), None)
        faults.append(f"column {name!r} is missing" + (f" (is it {guess!r}?)" if guess else ""))
    for name in unknown:
        if name == "" or name.startswith("Unnamed: "):
            faults.append(
                "a column has no name (an index, perhaps: to_csv(…, index=False) writes none)"
            )
        else:
            faults.append(f"column {_told(name)} is unknown")
    faults += [
        f"column {n!r} is there {names.count(n)} times" for n in COLUMNS if names.count(n) > 1
    ]
    if faults:
        more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise DataError(
            f"{source}: {'; '.join(faults[:_MOST_FAULTS])}{more}; "
            "expected Time (may be left out), V1 … V28, Amount, Class"
        )


_MOST_FAULTS = 8  # are told one by one


def _told(value: object) -> str:
    if isinstance(value, (bytes, str, list, dict, np.ndarray)) or not pd.isna(value):
        told = repr(value.item() if isinstance(value, np.generic) else value)
        return told if len(told) <= 80 else f"{told[:77]}…"
    return "nothing"


def _expected(text: str) -> str:
    """What was expected where pandas takes a text for no number."""
    try:
        number = float(text.replace(",", ".", 1))
    except ValueError:
        return "a number"
    if "," in text:
        return "a number with a decimal point (pandas.read_csv(…, decimal=',') takes commas)"
    # pandas 2 leaves 1e400 a text where pandas 3 reads infinity.
    return "a finite number" if math.isinf(number) else "a number"


def _kind(values: pd.Series) -> str:
    """What a column holds: its dtype, or of which class its objects are."""
    return type(values.iloc[0]).__name__ if values.dtype == object else str(values.dtype)
