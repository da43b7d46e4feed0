"""What is wrong with a table is told in one line: where, what came, what was expected."""

# ruff: noqa: E501 (a row is a row)

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from parity_tests.decisions.commands.test_tables import COLUMNS, TEXT
from torch_impl.commands.tables import read_table
from torch_impl.commands.wanted import TableError


def table_of(**columns: Any) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    full = {"b": [1.0, 2.0], "a": [1.0, 2.0], "Amount": [1.0, 2.0], "Class": [0, 1]} | columns
    parquet.write_table(pyarrow.table(full), sink)
    return sink.getvalue()


def line(number: int, text: str) -> bytes:
    """The table with this row in the place of row `number`."""
    rows = TEXT.splitlines()
    rows[number] = text
    return "\n".join(rows).encode()


EXPECTED = "expected b, a, Amount, Class"
WRONG: dict[str, tuple[bytes, str]] = {
    "nothing in it": (b"", "is empty; expected a header and rows"),
    "no rows": (b"a,b,Amount,Class\n", "has no rows; expected at least one"),
    "a header without a line break": (b"a,b,Amount,Class", "has no rows; expected at least one"),
    "a blank first line": (b"\na,b\n", "line 1 is blank; expected the header there"),
    "a column missing": (b"a,Amount,Class\n", f"column 'b' is missing; {EXPECTED}"),
    "many missing": (
        b"x,A,B\n",
        f"column 'b' is missing (is it 'B'?); 'a' is missing (is it 'A'?); 'Amount' is missing; "
        f"so are 1 more; {EXPECTED}",
    ),
    "a column twice there": (
        b"a,b,Amount,Class,a\n", f"column 'a' is there 2 times; {EXPECTED}",
    ),
    "semicolons": (b"a;b;Amount;Class\n1;2;3;0\n", "its fields are separated by semicolons; expected commas"),
    "UTF-16": (TEXT.encode("utf-16"), "is no text in UTF-8; expected CSV, .gz or .parquet"),
    "a blank line": (line(4, ""), "row 4 (line 5) is blank; expected 5 fields"),
    "a line of blanks at the end": (TEXT.encode() + b"  \n", "row 21 (line 22) has 1 field; expected 5 fields"),
    "a field too many": (line(3, "t,1,2,3,0,"), "row 3 (line 4) has 6 fields; expected 5 fields"),
    "a word": (line(3, "t,1,2,x\x1b[31m,0"), r"row 3 (line 4), column 'Amount': 'x\x1b[31m'; expected a finite number"),
    "nothing": (line(3, "t,1,,2,0"), "row 3 (line 4), column 'b': nothing; expected a finite number"),
    "a null": (line(3, "t,NULL,1,2,0"), "row 3 (line 4), column 'a': 'NULL'; expected a finite number"),
    "not a number": (line(20, "t,1,nan,2,0"), "row 20 (line 21), column 'b': nan; expected a finite number"),
    "infinity": (line(1, "t,1,2,-inf,0"), "row 1 (line 2), column 'Amount': -inf; expected a finite number"),
    "more than float64": (line(1, "t,1,2,1e999,0"), "row 1 (line 2), column 'Amount': inf; expected a finite number"),
    "digits of another script": (line(1, "t,1,٣,1,0"), "row 1 (line 2), column 'b': '٣'; expected a finite number"),
    "a negative amount": (line(7, "t,1,2,-5,0"), "row 7 (line 8), column 'Amount': -5; expected more than -0.001, as its logarithm is taken"),
    "a label of two": (line(7, "t,1,2,5,2"), "row 7 (line 8), column 'Class': 2; expected 0 or 1"),
    "half a label": (line(7, "t,1,2,5,0.5"), "row 7 (line 8), column 'Class': 0.5; expected 0 or 1"),
    "gzip cut short": (
        gzip.compress(TEXT.encode())[:-9],
        "is no whole gzip file (Compressed file ended before the end-of-stream marker was reached)",
    ),
    "a long line": (
        b"a,b,Amount,Class\n" + b"1" * 3_200_000,
        "3,145,712 bytes without the end of a row; is it a table?",
    ),
    "a long header": (
        b"a" * 3_000_000, "line 1 has 1,048,576 characters or more; expected a row of a table",
    ),
    "Parquet with a null": (table_of(a=[1.0, None]), "row 2, column 'a': nothing; expected a finite number"),
    "Parquet with NaN": (table_of(a=[1.0, np.nan]), "row 2, column 'a': nan; expected a finite number"),
    "Parquet with texts": (table_of(a=["1", "2"]), "column 'a' holds string; expected numbers"),
    "Parquet with truths": (table_of(Class=[True, False]), "column 'Class' holds bool; expected numbers"),
    "Parquet without rows": (table_of(**dict.fromkeys(("a", "b", "Amount", "Class"), pyarrow.array([], pyarrow.float64()))), "has no rows; expected at least one"),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_with_a_table_is_told_in_one_line(fault: str, tmp_path: Path) -> None:
    """Where, what came, what was expected."""
    content, told = WRONG[fault]
    path = tmp_path / "t.csv"
    path.write_bytes(content)

    def read() -> object:
        block = read_table(path, COLUMNS, ["Class"], above={"Amount": -0.001}, progress=False)
        return block.labels(path)

    with pytest.raises(TableError) as caught:
        read()
    assert str(caught.value) == f"{path}: {told}"


def test_damage_to_gzip_is_noticed_by_its_checksum(tmp_path: Path) -> None:
    """Before the rows are taken for whole."""
    whole = gzip.compress(TEXT.encode())
    path = tmp_path / "t.csv.gz"
    for content in (whole[:-8] + bytes(4) + whole[-4:], whole + b"scrap"):
        path.write_bytes(content)
        with pytest.raises(TableError, match="is no whole gzip file"):
            read_table(path, COLUMNS, progress=False)


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_damage_to_parquet_is_told(ending: str, tmp_path: Path) -> None:
    """Cut short, or a text in its place."""
    for content in (table_of()[:-9], TEXT.encode()):
        path = tmp_path / f"t{ending}"
        path.write_bytes(content)
        if ending == ".csv" and content == TEXT.encode():
            assert len(read_table(path, COLUMNS, progress=False).rows) == 20
            continue
        with pytest.raises(TableError, match=r"cannot be read as Parquet .*expected a whole file"):
            read_table(path, COLUMNS, progress=False)
