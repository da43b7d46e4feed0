"""Rows of a CSV stand where they are said to, wherever the chunks end and whoever counts them."""

from __future__ import annotations

import csv
import io
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from parity_tests.decisions.commands.sharing.small import together_of
from parity_tests.decisions.commands.test_tables import COLUMNS, FORMS, TEXT, A
from torch_impl.base.processes import Processes
from torch_impl.commands import csv_blocks, tables
from torch_impl.commands.sharing import csv_rows
from torch_impl.commands.sharing.csv_rows import CsvRows, count_csv_rows
from torch_impl.commands.tables import read_blocks
from torch_impl.commands.wanted import TableError

PLAIN = [form for form in FORMS if not form.startswith("gzip")]
MIXED = {
    "two quotes are one": 'x,b\n"""a\n""",1\n"b""",2\n"""",3\n"",4\n',
    "old line breaks among others": 'x,b\r1,1\r2,2\n3,3\r\n"\r",4',
    "a header with a line break": '"x\n,",b\n1,1\n2,2\n',
    "one row": "x,b\n1,1",
}


def counted(path: Path, count: int = 1) -> CsvRows:
    """By so many processes."""
    found = together_of(count, lambda us: count_csv_rows(path, us))
    assert all(rows is not None for rows in found)
    return found[-1]


@pytest.mark.parametrize("form", [*PLAIN, *MIXED])
def test_a_span_is_the_text_of_its_rows(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row alone, and all from each on, as Python reads the text."""
    path = tmp_path / "t.csv"
    path.write_bytes(MIXED[form].encode() if form in MIXED else FORMS[form](TEXT))
    text = path.read_bytes()
    rows = parsed(text)[1:]
    for chunk, count in ((1, 1), (2, 3), (7, 3), (1 << 20, 1)):
        monkeypatch.setattr(csv_rows, "_CHUNK", chunk)
        found = counted(path, count)
        assert found.rows == len(rows) > 0, (chunk, count)
        for first in range(len(rows)):
            for stop in (first + 1, len(rows)):
                span = found.span(first, stop)
                came = parsed(text[span.begin : span.end])[first == 0 :]
                told = (chunk, count, first, stop)
                assert (span.first, span.stop, came) == (first, stop, rows[first:stop]), told


def parsed(text: bytes) -> list[list[str]]:
    """As Python's reader does, without blank lines."""
    return [row for row in csv.reader(io.StringIO(text.decode("latin-1"), newline="")) if row]


@pytest.mark.parametrize("form", PLAIN)
def test_a_span_is_read_as_the_whole_table_is(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same numbers in the same blocks."""
    monkeypatch.setattr(csv_rows, "_CHUNK", 50)
    monkeypatch.setattr(csv_blocks, "_BYTES", 40)
    monkeypatch.setattr(tables, "ROWS", 3)
    path = tmp_path / "t.csv"
    path.write_bytes(FORMS[form](TEXT))
    found = counted(path)
    for first, stop in ((0, 3), (3, 9), (15, 20), (0, 20)):
        blocks = list(read_blocks(path, COLUMNS, progress=False, span=found.span(first, stop)))
        assert [block.first for block in blocks] == [*range(first, min(stop, 18), 3)]
        came = np.concatenate([block.rows.numpy() for block in blocks])
        own = A[first:stop]
        np.testing.assert_array_equal(came, np.stack([-(own - 0.5), own, own - 0.25], axis=1))


@pytest.mark.parametrize(
    "row", ['5" wide,1', 'a""b,1', '"a"b"c,1', '"open,1', '5",\n"6,1', ' "a",1'],
)  # fmt: skip
def test_of_lone_quotes_nothing_is_concluded(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a reader of CSV may see other rows than whoever counts quotes."""
    path = tmp_path / "t.csv"
    for chunk, end in product((1, 3, 1 << 20), ('"2",2\n', "")):
        path.write_text(f"x,b\n1,1\n{row}\n{end}", "utf-8")
        monkeypatch.setattr(csv_rows, "_CHUNK", chunk)
        assert count_csv_rows(path, Processes()) is None, (chunk, end)


@pytest.mark.parametrize("blank", [2, 3, 4])
def test_a_blank_line_at_the_end_of_a_span_is_told(
    blank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is at the end of a table alone that blank lines are none."""
    monkeypatch.setattr(tables, "ROWS", 2)
    lines = ["b", "1", "2", "3", "4", "5", "6"]
    lines[blank:blank] = [""]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    found = counted(path)
    assert found.rows == 7
    told = f"{path}: row {blank} (line {blank + 1}) is blank; expected 1 fields"
    first = (blank - 1) // 2 * 2
    with pytest.raises(TableError) as caught:
        list(read_blocks(path, ["b"], progress=False, span=found.span(first, first + 2)))
    assert str(caught.value) == told


def test_a_line_that_is_too_long_is_told_by_its_own_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a span that begins behind two rows."""
    monkeypatch.setattr(csv_blocks, "_LONGEST_LINE", 400)
    path = tmp_path / "t.csv"
    lines = TEXT.splitlines()
    lines[4] = f"{'x' * 400},{lines[4]}"
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(TableError, match="line 5 has 400 characters or more"):
        list(read_blocks(path, COLUMNS, progress=False, span=counted(path).span(2, 6)))
