"""Tables: each number correctly rounded, each row once and in order, one line for what is wrong."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from torch_impl.commands import csv_blocks, tables
from torch_impl.commands.tables import read_blocks, read_table

COLUMNS = ("b", "a", "Amount")
TEXT = "id,a,b,Amount,Class\n" + "".join(f"t{i},{i}.5,{-i},{i}.25,{i % 2}\n" for i in range(1, 21))
A = np.arange(1, 21) + 0.5


def read(path: Path, **options: Any) -> np.ndarray:
    """(N, 3) of `COLUMNS`."""
    return read_table(path, COLUMNS, progress=False, **options).rows.numpy()


def halfway(number: float) -> str:
    """The decimal number halfway to the next float64, written out."""
    exact = (Fraction(number) + Fraction(np.nextafter(number, np.inf))) / 2
    digits = exact.numerator * 10**1100 // exact.denominator
    return f"{digits}e-1100"


HARD = [
    "0.1", "1e23", "9007199254740993", "1.7976931348623157e308", "5e-324",
    "2.4703282292062328e-324", "2.2250738585072011e-308", "2.2250738585072012e-308", "-0.0",
    "1" * 300, "0." + "0" * 300 + "7", "8.41", "6.02214076e23", "+.5", "7.", " 12.5 ", "1E5",
    "123456789012345678901234567890",
    *(halfway(number) for number in (1.0, 0.3, 1e22, 5e-324, 123.456)),
    *(f"{halfway(number).partition('e')[0]}1e-1101" for number in (1.0, 0.3, 1e22)),
]  # fmt: skip


def test_numbers_of_a_csv_are_correctly_rounded(tmp_path: Path) -> None:
    """As Python's `float` reads them, which is; those halfway between two floats too."""
    path = tmp_path / "hard.csv"
    path.write_text("x\n" + "\n".join(HARD) + "\n", encoding="utf-8")
    (came,) = read_table(path, ["x"], progress=False).rows.numpy().T
    expected = np.array([float(text) for text in HARD])
    np.testing.assert_array_equal(came.view(np.int64), expected.view(np.int64))


@settings(max_examples=20)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_what_python_writes_is_read_to_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float]
) -> None:
    """Any finite float64, by its shortest text."""
    path = tmp_path_factory.getbasetemp() / "drawn.csv"
    path.write_text("x\n" + "\n".join(map(repr, numbers)) + "\n", encoding="utf-8")
    (came,) = read_table(path, ["x"], progress=False).rows.numpy().T
    np.testing.assert_array_equal(came.view(np.int64), np.array(numbers).view(np.int64))


CENTS = [Decimal(n * 7919).scaleb(-2) for n in range(1, 4000, 13)]

KINDS = {
    "float64": pyarrow.array([0.1, -2.5], pyarrow.float64()),
    "float32": pyarrow.array([0.1, -2.5], pyarrow.float32()),
    "float16": pyarrow.array(np.array([0.1, -2.5], np.float16)),
    "int8": pyarrow.array([-128, 127], pyarrow.int8()),
    "int64": pyarrow.array([2**53 + 3, -(2**62) - 257], pyarrow.int64()),
    "uint64": pyarrow.array([2**64 - 1, 1], pyarrow.uint64()),
    "decimal": pyarrow.array(CENTS, pyarrow.decimal128(12, 2)),
    "wide decimal": pyarrow.array([Decimal("1e20") / 3], pyarrow.decimal128(38, 8)),
    "dictionary": pyarrow.array([0.1, 0.1, 7.0]).dictionary_encode(),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_parquet_are_correctly_rounded(kind: str, tmp_path: Path) -> None:
    """Of every type of numbers, as Python's `float` makes them of the value."""
    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"x": KINDS[kind]}), path)
    (came,) = read_table(path, ["x"], progress=False).rows.numpy().T
    expected = np.array([float(value) for value in KINDS[kind].to_pylist()])
    np.testing.assert_array_equal(came, expected, strict=True)


FORMS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "with a byte-order mark": lambda text: text.encode("utf-8-sig"),
    "carriage returns": lambda text: text.replace("\n", "\r\n").encode(),
    "old line breaks": lambda text: text.replace("\n", "\r").encode(),
    "no last line break": lambda text: text[:-1].encode(),
    "blank lines at the end": lambda text: (text + "\n\n\r\n").encode(),
    "quoted": lambda text: quoted(text).encode(),
    "line breaks and quotes in quotes": lambda text: broken(text).encode(),
    "Latin-1 in a column that is not read": lambda text: text.replace("\nt", "\n\xe9").encode(
        "latin-1"
    ),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip of several members": lambda text: b"".join(
        gzip.compress(part.encode()) for part in (text[:50], "", text[50:131], text[131:])
    ),
}


def quoted(text: str, change: Callable[[str], str] = str) -> str:
    """The same table with every field in quotes, its names changed."""
    out = io.StringIO(newline="")
    rows = list(csv.reader(io.StringIO(text)))
    changed = [[change(field) if field.startswith("t") else field for field in r] for r in rows]
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(changed)
    return out.getvalue()


def broken(text: str) -> str:
    """With line breaks and quotes within the names."""
    return quoted(text, lambda name: f'\n{name}"\r\n\n,"')


@pytest.mark.parametrize("form", FORMS)
def test_every_row_of_a_csv_is_read_once_and_in_order(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is written, and wherever one part of it ends and the next begins."""
    path = tmp_path / "t.csv"
    path.write_bytes(FORMS[form](TEXT))
    expected = np.stack([-(A - 0.5), A, A - 0.25], axis=1)
    for size, block in ((1, 1), (40, 3), (61, 20), (1 << 20, 7)):
        monkeypatch.setattr(csv_blocks, "_BYTES", size)
        monkeypatch.setattr(tables, "ROWS", block)
        blocks = list(read_blocks(path, COLUMNS, ["Class"], ["Time"], progress=False))
        assert [b.first for b in blocks] == list(range(0, 21 - block, block))
        assert {len(b.rows) for b in blocks[:-1]} <= {block}
        rows = np.concatenate([block.rows.numpy() for block in blocks])
        np.testing.assert_array_equal(rows, expected, strict=True)
        labels = np.concatenate([block.labels(path).numpy() for block in blocks])
        frauds = np.float32(np.arange(1, 21) % 2)[:, None]
        np.testing.assert_array_equal(labels, frauds, strict=True)


@pytest.mark.parametrize("group", [1, 7, 100])
def test_every_row_of_parquet_is_read_once_and_in_order(
    group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its groups of rows are."""
    monkeypatch.setattr(tables, "ROWS", 3)
    path = tmp_path / "table"
    columns = {"Amount": A - 0.25, "x": ["t"] * 20, "a": A, "b": -(A - 0.5)}
    parquet.write_table(pyarrow.table(columns), path, row_group_size=group)
    blocks = list(read_blocks(path, COLUMNS, progress=False))
    assert [len(block.rows) for block in blocks] == [3] * 5 + [5]
    np.testing.assert_array_equal(read(path), np.stack([-(A - 0.5), A, A - 0.25], axis=1))


def test_a_wide_table_is_read(tmp_path: Path) -> None:
    """Of sixty thousand columns, whose header alone fills most of a part."""
    more = ",".join(f"column{i}" for i in range(60_000))
    path = tmp_path / "t.csv"
    path.write_text(f"a,{more},b,Amount\n" + ("1" + ",0" * 60_000 + ",2,3\n") * 9, "utf-8")
    np.testing.assert_array_equal(read(path), [[2, 1, 3]] * 9)
