"""The columns of the credit-card data set, and what a row must hold."""

from __future__ import annotations

import difflib

import numpy as np
import pandas as pd

from data.errors import DataError

__all__ = ["COLUMNS", "FEATURES", "RAW_FEATURES", "check"]

_V = tuple(f"V{i}" for i in range(1, 29))

COLUMNS = ("Time", *_V, "Amount", "Class")
"""As the published file has them: seconds, 28 principal components, euros, 0 or 1."""

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
        The columns in the order of `COLUMNS`: float64, and int64 for Class.

    Raises:
        DataError: a column is missing, unknown or twice there; there are no rows; a value
            is missing, text, infinite, a negative amount, or a label other than 0 and 1;
            or only one class occurs. One line with source, row, column and value.
    """
    _check_columns(list(frame.columns), source)
    frame = frame[list(COLUMNS)]
    if frame.empty:
        raise DataError(f"{source}: no rows; expected at least one below the header")

    def refuse(bad: np.ndarray, column: str, expected: str, values: pd.Series) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            line = "" if first_line is None else f" (line {row + first_line})"
            value = values.iloc[row]
            came = "nothing" if pd.isna(value) else repr(getattr(value, "item", lambda: value)())
            more = f" ({int(bad.sum())} such rows)" if bad.sum() > 1 else ""
            raise DataError(
                f"{source}: row {row + 1}{line}, column {column!r}: {came}; "
                f"expected {expected}{more}"
            )

    # A short or blank row misses its last columns: say so before the first column's fault.
    missing = frame.isna().to_numpy()
    if missing.any():
        row = int(np.argmax(missing.any(axis=1)))
        column = COLUMNS[int(np.argmax(missing[row]))]
        refuse(frame[column].isna().to_numpy(), column, "a number", frame[column])
    table = {}
    for column in COLUMNS:
        values = frame[column]
        if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
            is_bool = values.map(lambda v: isinstance(v, (bool, np.bool_))).to_numpy(dtype=bool)
            numbers = pd.to_numeric(values.astype(str), errors="coerce")
            refuse(is_bool | numbers.isna().to_numpy(), column, "a number", values)
            raise DataError(
                f"{source}: column {column!r} holds {values.dtype}, not numbers; "
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


def _check_columns(came: list[object], source: str) -> None:
    names = [str(name) for name in came]
    missing = [name for name in COLUMNS if name not in names]
    unknown = [name for name in dict.fromkeys(names) if name not in COLUMNS]
    faults = []
    for name in missing:
        near = difflib.get_close_matches(name.lower(), [n.lower() for n in unknown], n=1)
        guess = next((n for n in unknown if [n.lower()] == near), None)
        faults.append(f"column {name!r} is missing" + (f" (is it {guess!r}?)" if guess else ""))
    faults += [f"column {name!r} is unknown" for name in unknown]
    faults += [
        f"column {n!r} is there {names.count(n)} times" for n in COLUMNS if names.count(n) > 1
    ]
    if faults:
        raise DataError(f"{source}: {'; '.join(faults)}; expected Time, V1 … V28, Amount, Class")
