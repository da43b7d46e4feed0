"""The data set is read whole and to the bit, or refused in one line that says where."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import COLUMNS, DataError, load, prepare, synthetic


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return synthetic(seed=5, rows=40, positives=4)


@pytest.fixture
def text(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False)


def gzipped(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content))


def zipped(path: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("creditcard.csv", content)


WRITERS: dict[str, Callable[[Path, pd.DataFrame], None]] = {
    "rows.csv": lambda p, f: f.to_csv(p, index=False),
    "rows.csv.gz": lambda p, f: gzipped(p, f.to_csv(index=False).encode()),
    "rows.zip": lambda p, f: zipped(p, f.to_csv(index=False).encode()),
    "rows.lzma.zip": lambda p, f: zipped(p, f.to_csv(index=False).encode(), zipfile.ZIP_LZMA),
    "rows.parquet": lambda p, f: f.to_parquet(p),
    "quoted.csv": lambda p, f: f.to_csv(p, index=False, quoting=1),
    "windows.csv": lambda p, f: p.write_bytes(
        b"\xef\xbb\xbf" + f.to_csv(index=False).replace("\n", "\r\n").encode()
    ),
    "reordered.csv": lambda p, f: f[list(reversed(COLUMNS))].to_csv(p, index=False),
    "numbered.csv": lambda p, f: f.assign(id=range(len(f))).to_csv(p, index=False),
    "no-last-newline.csv": lambda p, f: p.write_text(f.to_csv(index=False).rstrip("\n")),
    "blank-lines-at-the-end.csv": lambda p, f: p.write_text(f.to_csv(index=False) + "\n\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_every_form_of_the_file_gives_the_same_bits(
    name: str, frame: pd.DataFrame, tmp_path: Path
) -> None:
    """Each number as written, each row in its place, columns in the standard order."""
    WRITERS[name](tmp_path / name, frame)
    loaded = load(tmp_path / name)
    assert tuple(loaded.columns) == COLUMNS
    assert set(map(str, loaded.dtypes)) == {"float64", "int64"}
    for column in COLUMNS:
        np.testing.assert_array_equal(loaded[column], frame[column], strict=True)


def test_the_column_that_the_model_never_sees_may_be_missing(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    """As in the data set of 2023, which has `id` in Time's place."""
    frame.drop(columns="Time").assign(id=range(len(frame))).to_csv(tmp_path / "a.csv", index=False)
    loaded = load(tmp_path / "a.csv")
    assert tuple(loaded.columns) == COLUMNS[1:]
    np.testing.assert_array_equal(prepare(loaded).train.raw, prepare(frame).train.raw)


@settings(max_examples=20)
@given(values=st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=5))
def test_numbers_are_read_correctly_rounded(
    values: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The nearest float64 of what stands in the file, subnormals included."""
    rows = pd.DataFrame(0.0, index=range(len(values)), columns=list(COLUMNS))
    rows["V7"] = values
    rows["Class"] = [1] + [0] * (len(values) - 1)
    path = tmp_path_factory.mktemp("numbers") / "n.csv"
    rows.to_csv(path, index=False)
    np.testing.assert_array_equal(load(path)["V7"], values)


def with_cell(text: str, row: int, column: str, value: str) -> str:
    lines = text.splitlines()
    cells = lines[row].split(",")
    cells[COLUMNS.index(column)] = value
    lines[row] = ",".join(cells)
    return "\n".join(lines) + "\n"


BAD_CELLS = {
    "text-in-a-number": ("V3", "abc", ["row 7 (line 8)", "column 'V3'", "'abc'", "a number"]),
    "comma-decimal": ("V3", '"1,5"', ["row 7 (line 8)", "column 'V3'", "'1,5'", "decimal=','"]),
    "long-text": ("V3", "x" * 10_000, ["row 7 (line 8)", "xx…; expected a number"]),
    "nothing": ("V28", "", ["row 7 (line 8)", "column 'V28'", "nothing", "a number"]),
    "nan": ("Amount", "NaN", ["row 7 (line 8)", "column 'Amount'", "nothing", "a number"]),
    "infinity": ("V1", "inf", ["row 7 (line 8)", "column 'V1'", "inf", "a finite number"]),
    "too-large": ("V1", "1e400", ["row 7 (line 8)", "column 'V1'", "a finite number"]),
    "minus-infinity": ("Time", "-inf", ["row 7 (line 8)", "column 'Time'", "a finite number"]),
    "negative-amount": ("Amount", "-3.5", ["row 7 (line 8)", "column 'Amount'", "-3.5"]),
    "label-2": ("Class", "2", ["row 7 (line 8)", "column 'Class'", "2", "0 or 1"]),
    "label-half": ("Class", "0.5", ["row 7 (line 8)", "column 'Class'", "0.5", "0 or 1"]),
    "label-text": ("Class", "fraud", ["row 7 (line 8)", "column 'Class'", "'fraud'"]),
}


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


@pytest.mark.parametrize("case", BAD_CELLS)
def test_a_bad_cell_is_refused_with_file_row_and_column(
    case: str, text: str, tmp_path: Path
) -> None:
    """Line 8 of the file is row 7; the value found and the one expected are named."""
    column, value, parts = BAD_CELLS[case]
    path = tmp_path / "bad.csv"
    path.write_text(with_cell(text, 7, column, value))
    message = refusal(path)
    for part in parts:
        assert part in message


def test_the_first_bad_row_is_named_and_the_others_counted(text: str, tmp_path: Path) -> None:
    """So that the size of the damage is known."""
    for row in (30, 11, 12):
        text = with_cell(text, row, "Amount", "-1")
    (tmp_path / "bad.csv").write_text(text)
    message = refusal(tmp_path / "bad.csv")
    assert "row 11 (line 12)" in message
    assert "(3 such rows)" in message


def test_a_bad_number_in_parquet_has_a_row_and_no_line(frame: pd.DataFrame, tmp_path: Path) -> None:
    """A Parquet file has no lines."""
    bad = frame.copy()
    bad.loc[6, "V2"] = np.nan
    bad.to_parquet(tmp_path / "bad.parquet")
    assert "row 7, column 'V2': nothing" in refusal(tmp_path / "bad.parquet")


def test_booleans_are_no_labels(frame: pd.DataFrame, tmp_path: Path, text: str) -> None:
    """True is not 1 in a data file, whatever its type."""
    frame.assign(Class=frame["Class"] == 1).to_parquet(tmp_path / "bad.parquet")
    assert "column 'Class'" in refusal(tmp_path / "bad.parquet")
    lines = [f"{line[:-1]}{line[-1] == '1'}" for line in text.splitlines()[1:]]
    (tmp_path / "bad.csv").write_text("\n".join([text.splitlines()[0], *lines]))
    assert "column 'Class'" in refusal(tmp_path / "bad.csv")


HEADERS = {
    "missing": ("V5,", "", ["column 'V5' is missing"]),
    "renamed": ("Amount", "amount", ["'Amount' is missing (is it 'amount'?)", "'amount' is unkn"]),
    "twice": ("V5,", "V4,", ["column 'V5' is missing", "column 'V4' is there 2 times"]),
    "no-header": ("Time", "0.0", ["column '0.0' is unknown"]),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_wrong_header_is_refused_with_every_column(case: str, text: str, tmp_path: Path) -> None:
    """All that is missing, unknown or repeated, at once."""
    old, new, parts = HEADERS[case]
    header, _, rows = text.partition("\n")
    if case == "missing":
        rows = "\n".join(line.split(",", 1)[1] for line in rows.splitlines())
    (tmp_path / "bad.csv").write_text(header.replace(old, new, 1) + "\n" + rows)
    message = refusal(tmp_path / "bad.csv")
    for part in parts:
        assert part in message


def test_an_extra_column_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    """It is not dropped silently."""
    frame.assign(Score=1.0).to_csv(tmp_path / "bad.csv", index=False)
    assert "column 'Score' is unknown" in refusal(tmp_path / "bad.csv")


def test_an_index_that_pandas_wrote_is_told_as_one(frame: pd.DataFrame, tmp_path: Path) -> None:
    """In a text, in a Parquet file, and read from a text once before."""
    frame.to_csv(tmp_path / "bad.csv")
    assert "to_csv(…, index=False)" in refusal(tmp_path / "bad.csv")
    again = pd.read_csv(tmp_path / "bad.csv")
    again.to_csv(tmp_path / "bad.csv", index=False)
    assert "to_csv(…, index=False)" in refusal(tmp_path / "bad.csv")


def test_a_name_from_a_file_steers_no_terminal(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Neither its control characters nor its length."""
    frame.rename(columns={"V3": "\x1b[31m\n" + "V" * 9999}).to_parquet(tmp_path / "bad.parquet")
    message = refusal(tmp_path / "bad.parquet")
    assert "column 'V3' is missing" in message
    assert message.isprintable()
    assert len(message) < 500


COLUMN_TYPES: dict[str, tuple[list[Any], str]] = {
    "bytes": ([b"\x01\xff"], r"column 'V3': b'\x01\xff'; expected a number"),
    "decimals": ([Decimal("1.5")], "column 'V3' holds Decimal, not numbers"),
    "dates": ([pd.Timestamp("2013-09-01")], "column 'V3': Timestamp('2013-09-01 00:00:00')"),
    "lists": ([[1.0, 2.0]], "column 'V3': array([1., 2.])"),
    "nullable-integers": ([1, None], "row 2, column 'V3': nothing"),
}


@pytest.mark.parametrize("case", COLUMN_TYPES)
def test_a_column_of_another_type_is_refused(
    case: str, frame: pd.DataFrame, tmp_path: Path
) -> None:
    """As Parquet can hold them; none is taken for a number."""
    values, part = COLUMN_TYPES[case]
    spoilt = frame.assign(V3=pd.Series(values * (len(frame) // len(values)), dtype=object))
    spoilt.to_parquet(tmp_path / "bad.parquet")
    assert part in refusal(tmp_path / "bad.parquet")


def longer_row(text: str) -> str:
    lines = text.splitlines()
    lines[9] += ",1"
    return "\n".join(lines)


def shorter_row(text: str) -> str:
    lines = text.splitlines()
    lines[9] = lines[9].rsplit(",", 2)[0]
    return "\n".join(lines)


def every_row_longer(text: str) -> str:
    header, *rows = text.splitlines()
    return "\n".join([header, *(f"{row},9" for row in rows)])


def blank_line(text: str) -> str:
    lines = text.splitlines()
    lines.insert(9, "")
    return "\n".join(lines)


def one_class(text: str) -> str:
    header, *rows = text.splitlines()
    return "\n".join([header, *(row for row in rows if row.endswith("0"))])


_WIDE = "1," * 3_000_000

FILES: dict[str, tuple[Callable[[str], str | bytes], list[str]]] = {
    "longer-row": (longer_row, ["line 10 has 32 fields", "expected 31"]),
    "shorter-row": (shorter_row, ["row 9 (line 10)", "column 'Amount': nothing"]),
    "every-row-longer-than-the-header": (every_row_longer, ["line 2 has more fields"]),
    "blank-line-in-the-middle": (blank_line, ["row 9 (line 10)", "column 'Time': nothing"]),
    "blank-lines-at-the-top": (lambda text: f"\n\n{text}", ["line 1 is blank"]),
    "semicolons": (lambda text: text.replace(",", ";"), ["semicolons", "sep=';'"]),
    "semicolons-and-decimal-commas": (
        lambda text: text.replace(",", ";").replace(".", ","),
        ["semicolons", "sep=';'"],
    ),
    "tabs": (lambda text: text.replace(",", "\t"), ["tabs", r"sep='\t'"]),
    "byte-order-mark-alone": (lambda text: b"\xef\xbb\xbf", ["the file is empty"]),
    "utf-16": (lambda text: text.encode("utf-16"), ["not UTF-8 text (UTF-16, perhaps)"]),
    "utf-16-unmarked": (lambda text: text.encode("utf-16-be"), ["not UTF-8 text (UTF-16"]),
    "other-columns": (
        lambda text: f"{','.join('abcdefghijklmnop')}\n",
        ["'V8' is missing", "; and 38 more;"],
    ),
    **{
        f"millions-of-fields-in-{where}": (wide, [message])
        for where, wide, message in (
            ("the-header", lambda text: _WIDE + text, "line 1 has 6,000,1"),
            ("the-first-row", lambda text: text.replace("\n", f"\n{_WIDE}", 1), "line 2 has 6,0"),
            ("a-row", lambda text: f"{text}{_WIDE}0\n", "line 42 has 3000001 fields"),
        )
    },
    "one-class": (one_class, ["column 'Class' is 0 in all 36 rows"]),
    "empty": (lambda text: "", ["the file is empty"]),
    "white-space": (lambda text: "\n \n", ["the file is empty"]),
    "header-only": (lambda text: text.splitlines()[0] + "\n", ["no rows"]),
    "not-text": (lambda text: text.encode().replace(b"V9", b"V\xff9"), ["line 1 is not UTF-8"]),
    "unclosed-quote": (lambda text: text.replace("\n", '\n"', 1), ["CSV", "bad.csv"]),
}


@pytest.mark.parametrize("case", FILES)
def test_a_malformed_file_is_refused_with_its_line(case: str, text: str, tmp_path: Path) -> None:
    """Ragged, blank, empty, one class alone, or not text at all."""
    spoil, parts = FILES[case]
    content = spoil(text.replace("Time", "Time", 1))
    (tmp_path / "bad.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    message = refusal(tmp_path / "bad.csv")
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (name, damage)
        for name in ("rows.csv.gz", "rows.zip", "rows.lzma.zip", "rows.parquet")
        for damage in ("cut-off", "bit-flipped", "another-kind-of-file", "empty")
        if (name, damage) != ("rows.parquet", "bit-flipped")  # the next test
    ],
)
def test_a_damaged_archive_is_refused(
    name: str, damage: str, frame: pd.DataFrame, text: str, tmp_path: Path
) -> None:
    """Cut short, altered, or not what its ending says: one line, no half a table."""
    path = tmp_path / name
    WRITERS[name](path, frame)
    content = bytearray(path.read_bytes())
    match damage:
        case "cut-off":
            content = content[: len(content) * 2 // 3]
        case "bit-flipped":
            content[len(content) // 2] ^= 0xFF
        case "another-kind-of-file":
            content = bytearray(text.encode())
        case "empty":
            content = bytearray()
    path.write_bytes(content)
    refusal(path)


def test_damaged_pages_of_a_parquet_file_are_refused_where_they_have_checksums(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    """Which Parquet leaves to the writer; the footer, and a file without, have nothing to tell."""
    path = tmp_path / "rows.parquet"
    frame.to_parquet(path, write_page_checksum=True)
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    refused = 0
    for at in range(4, footer, 241):
        content = bytearray(whole)
        content[at] ^= 1 << at % 8
        path.write_bytes(content)
        try:
            assert load(path).equals(frame)  # a statistic, or an encoding that is not used
        except DataError:
            refused += 1
    assert refused > footer // 241 // 2


def test_what_pandas_writes_beside_a_table_is_not_read(frame: pd.DataFrame, tmp_path: Path) -> None:
    """An index is no column, and damaged notes on the columns do no harm."""
    path = tmp_path / "rows.parquet"
    frame.set_index(frame.index * 2).to_parquet(path)
    assert load(path).equals(frame)
    content = path.read_bytes()
    assert content.count(b'"pandas_type"') > 1
    path.write_bytes(content.replace(b'"pandas_type"', b'"pandas_typo"'))
    assert load(path).equals(frame)


def test_a_zip_of_two_files_is_refused(tmp_path: Path) -> None:
    """Which one was meant is not guessed."""
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", "")
        archive.writestr("b.csv", "")
    assert "holds a.csv, b.csv; expected one CSV" in refusal(tmp_path / "two.zip")


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """Absent, or a folder."""
    assert "does not exist" in refusal(tmp_path / "absent.csv")
    assert "is a folder" in refusal(tmp_path)
