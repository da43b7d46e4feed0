"""Parts: what many processes write is what one writes, each row once; nothing foreign is taken."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

from parity_tests.decisions.commands.sharing.small import PART, make_small, together
from parity_tests.decisions.commands.trained_models import Spoken, Table, Trained
from parity_tests.sides.compiler import each_way
from torch_impl import save_pipeline, scoring
from torch_impl.commands import outputs, tables
from torch_impl.commands.sharing import parts
from torch_impl.commands.sharing.kept import KeptParts
from torch_impl.commands.tables import Block

FEWER = 467
"""Rows, which no number of processes divides."""
PARTS = 4
"""Of them: 7 blocks of 64 by twos, of which the last has what is left, too."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the rows are some parts."""
    make_small(monkeypatch.setattr)


@pytest.fixture(scope="module")
def numbered(table: Table) -> pd.DataFrame:
    """The rows, each with its number."""
    return table.frame[:FEWER].assign(row=np.arange(FEWER))


@pytest.fixture(scope="module")
def source(numbered: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their CSV."""
    return _csv(numbered, tmp_path_factory.mktemp("source") / "rows")


@pytest.fixture(scope="module")
def alone(
    source: Path, trained: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    """What one process writes of them."""
    out = tmp_path_factory.mktemp("alone") / "one.csv"
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch.setattr)
        assert together(1, *score(trained, source, out)) == [0]
    np.testing.assert_array_equal(pd.read_csv(out)["row"], np.arange(FEWER))
    return out.read_bytes()


def _csv(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


def _gzip(frame: pd.DataFrame, path: Path) -> Path:
    path.write_bytes(gzip.compress(frame.to_csv(index=False).encode(), 1))
    return path


def _uneven(frame: pd.DataFrame, path: Path) -> Path:
    whole = pyarrow.Table.from_pandas(frame)
    with parquet.ParquetWriter(path, whole.schema) as out:
        start = 0
        for rows in (1, 300, 3, 129, len(frame)):
            out.write_table(whole.slice(start, rows), row_group_size=rows)
            start += rows
    return path


def _one_group(frame: pd.DataFrame, path: Path) -> Path:
    parquet.write_table(pyarrow.Table.from_pandas(frame), path)
    return path


FORMS: dict[str, Callable[[pd.DataFrame, Path], Path]] = {
    "csv": _csv,
    "line breaks in quotes": lambda f, path: _csv(f.assign(note='a\n"b",\r\n\n'), path),
    "lone quotes": lambda f, path: _csv_of_lone_quotes(f, path),
    "gzip": _gzip,
    "uneven row groups": _uneven,
}


def _csv_of_lone_quotes(frame: pd.DataFrame, path: Path) -> Path:
    lines = frame.to_csv(index=False).splitlines()
    path.write_text("\n".join([f"note,{lines[0]}", *(f'5" x,{line}' for line in lines[1:])]))
    return path


def content(path: Path) -> Any:
    """The bytes of CSV, in gzip those within; the numbers of Parquet and their types."""
    if path.suffix == ".parquet":
        return parquet.read_table(path)
    text = path.read_bytes()
    return gzip.decompress(text) if path.suffix == ".gz" else text


def score(trained: dict[str, Trained], source: Path, out: Path, *more: str) -> list[str]:
    """The command's words."""
    model = trained["class-weights"].model
    return ["score", *map(str, (model, source, out)), "--keep", "row", *more]


@pytest.mark.slow
@each_way
def test_any_number_writes_what_one_writes(
    way: Callable[[], Any], source: Path, trained: dict[str, Trained], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Byte for byte, each row once and in order; by compiled scoring as well."""
    monkeypatch.setattr(scoring, "_MANY", 0)
    with way():
        for count in (1, 2, 4):
            out = tmp_path / f"{count}.csv"
            assert together(count, *score(trained, source, out)) == [0] * count
            assert out.read_bytes() == (tmp_path / "1.csv").read_bytes(), count
    np.testing.assert_array_equal(pd.read_csv(out)["row"], np.arange(FEWER))


@pytest.mark.parametrize("form", FORMS)
def test_many_write_what_one_writes(
    form: str, numbered: pd.DataFrame, alone: bytes, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """Of any form the same bytes; nothing else is left but the lock."""
    source, out = FORMS[form](numbered, tmp_path / "rows"), tmp_path / "many.csv"
    assert together(3, *score(trained, source, out)) == [0] * 3
    assert out.read_bytes() == alone
    assert {path.name for path in tmp_path.iterdir()} == {"rows", "many.csv", ".many.csv.lock"}


@pytest.mark.parametrize("out", [".csv.gz", ".parquet"])
def test_other_forms_are_joined_too(
    out: str, source: Path, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """The same text, or the same numbers of the same types."""
    one, many = tmp_path / f"one{out}", tmp_path / f"many{out}"
    assert together(1, *score(trained, source, one)) == [0]
    assert together(3, *score(trained, source, many)) == [0] * 3
    assert content(many) == content(one)


def test_processes_may_be_more_than_parts(
    numbered: pd.DataFrame, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """Those that are too many have nothing to do; a last part has at least a block."""
    one, many = tmp_path / "one.csv", tmp_path / "many.csv"
    for rows in (1, 127, 191, 192, 256):
        source = (_one_group if rows % 2 else _csv)(numbered[:rows], tmp_path / "rows")
        assert together(1, *score(trained, source, one)) == [0], rows
        assert together(4, *score(trained, source, many)) == [0] * 4, rows
        assert many.read_bytes() == one.read_bytes(), rows


def test_one_of_many_tells(
    source: Path, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The same counts as one process tells, and how they were come by."""
    _, alone, _ = spoken(*score(trained, source, tmp_path / "out.csv", "--json"))
    together(3, *score(trained, source, tmp_path / "out.csv", "--json"))
    told, error = capsys.readouterr()
    more = {"processes": 3, "parts": PARTS, "resumed": 0}
    assert (json.loads(told), error) == (json.loads(alone) | more, "")
    assert json.loads(told)["rows"] == FEWER


@pytest.mark.parametrize(("count", "out"), [(3, ".csv"), (1, ".parquet")])
def test_parts_may_stay_a_folder(
    count: int, out: str, source: Path, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """Of tables with a header each, whose names sort in order, and of nothing else."""
    folder = tmp_path / f"out{out}"
    kept = _stopped(trained, source, folder, "--parts")
    kept.file(3).with_name(f".00000003{out}.x.part").write_text("half", "utf-8")  # of one killed
    assert together(count, *score(trained, source, folder, "--parts")) == [0] * count
    files = sorted(folder.glob("*"))
    assert [path.name for path in files[:2]] == [f"00000000{out}", f"00000001{out}"]
    read = pd.read_parquet if out == ".parquet" else pd.read_csv
    frames = [read(path) for path in files]
    assert len(frames) == PARTS
    assert [len(frame) for frame in frames[:-1]] == [PART] * (PARTS - 1)
    rows = pd.concat(frames)
    assert list(rows) == ["row", "probability", "decision"]
    np.testing.assert_array_equal(rows["row"], np.arange(FEWER))
    assert len(list(folder.iterdir())) == PARTS
    assert not kept.folder.exists()


def stopped_after(done: int, patch: pytest.MonkeyPatch) -> None:
    """Lets a person press Ctrl-C when so many parts are there."""
    note = KeptParts.note

    def noted(self: KeptParts, part: Any) -> None:
        if len(list(self.folder.glob("0*.json"))) >= done:
            raise KeyboardInterrupt
        note(self, part)

    patch.setattr(KeptParts, "note", noted)


@pytest.mark.parametrize(
    ("before", "after", "form"),
    [(2, 3, "csv"), (1, 2, "gzip"), (3, 1, "uneven row groups")],
)
def test_another_number_of_processes_goes_on(
    before: int, after: int, form: str, numbered: pd.DataFrame, alone: bytes,
    trained: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """With the parts that are not there; what stood in OUT stands until all are."""
    source, out = FORMS[form](numbered, tmp_path / "rows"), tmp_path / "out.csv"
    out.write_text("kept", "utf-8")
    command = score(trained, source, out)
    kept = KeptParts(out)
    if before == 1:
        kept.folder.mkdir()  # as if more had begun
    with pytest.MonkeyPatch.context() as patch:
        stopped_after(2, patch)
        assert together(before, *command) == [2] * before
    error = capsys.readouterr().err.splitlines()
    assert error[0].endswith("; the same command goes on from there")
    assert error[0].startswith(("error: stopped", "error: another process"))
    assert out.read_text("utf-8") == "kept"
    there = {int(path.stem) for path in kept.folder.glob("0*.json")}
    assert 2 <= len(there) < 2 + before  # the others may have been at the end of one
    made: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        note = KeptParts.note
        patch.setattr(
            KeptParts, "note", lambda self, part: (made.append(part.number), note(self, part))[1]
        )
        assert together(after, *command) == [0] * after
    assert sorted(made) == sorted({*range(PARTS)} - there)
    of = f"{len(there)}" if form == "gzip" else f"{len(there)} of {PARTS}"
    assert capsys.readouterr().err.splitlines() == [f"{kept.folder}: goes on, {of} parts are there"]
    assert out.read_bytes() == alone
    assert not kept.folder.exists()


def _stopped(trained: dict[str, Trained], source: Path, out: Path, *more: str) -> KeptParts:
    with pytest.MonkeyPatch.context() as patch:
        stopped_after(2, patch)
        together(2, *score(trained, source, out, *more))
    return KeptParts(out)


OTHERS: dict[str, tuple[str, ...]] = {
    "model": ("model was ",),
    "threshold": ("threshold was 0.5, now 0.25",),
    "base rate": ("log_odds_shift was ",),
    "columns": ("columns was row, probability, decision, now Time, probability, decision",),
    "a folder": ("parts that stay was False, now True",),
    "table": ("bytes was ", "; changed was "),
}


def test_parts_of_another_run_are_not_taken(
    numbered: pd.DataFrame, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken
) -> None:
    """It is told what differs, and they stay as they are."""
    source, out = _csv(numbered, tmp_path / "rows"), tmp_path / "out.csv"
    kept = _stopped(trained, source, out)
    before = {p: p.read_bytes() for p in kept.folder.rglob("*") if p.is_file()}
    for other, texts in OTHERS.items():
        words, model = score(trained, source, out), tmp_path / "model"
        if other == "model":
            words[1] = str(trained["none"].model)
        elif other == "threshold":
            shutil.copy(trained["class-weights"].model, model)
            pipeline = trained["class-weights"].pipeline()
            pipeline.threshold = 0.25
            save_pipeline(pipeline, model)
            words[1] = str(model)
        elif other == "base rate":
            words += ["--base-rate", "0.3"]
        elif other == "columns":
            words[words.index("row")] = "Time"
        elif other == "a folder":
            words += ["--parts"]
        else:
            _csv(numbered[:-1], source)
        status, _, (*_, line) = spoken(*words)
        told = f"error: {kept.folder}: is of another run (delete it to start anew): "
        assert (status, line[: len(told)]) == (2, told), other
        assert all(text in line for text in texts), (other, line)
        assert {p: p.read_bytes() for p in kept.folder.rglob("*") if p.is_file()} == before, other
        assert not out.exists(), other


@pytest.mark.parametrize("damage", ["cut short", "gone", "no note of the run"])
def test_a_part_that_is_not_whole_is_made_anew(
    damage: str, source: Path, alone: bytes, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """And without the note of the run all of them."""
    out = tmp_path / "out.csv"
    kept = _stopped(trained, source, out)
    (*_, last) = sorted(kept.folder.glob("0*.json"))
    file = kept.file(int(last.stem))
    if damage == "cut short":
        file.write_bytes(file.read_bytes()[:-20])
    elif damage == "gone":
        file.unlink()
    else:
        (kept.folder / "run.json").unlink()
        file.write_bytes(b"7" * file.stat().st_size)
    assert together(2, *score(trained, source, out)) == [0, 0]
    assert out.read_bytes() == alone


def test_two_runs_refuse_each_other(
    source: Path, trained: dict[str, Trained], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The second one at once, in one line, by any of OUT's names."""
    out = tmp_path / "out.csv"
    with KeptParts(out).locked():
        assert together(2, *score(trained, source, tmp_path / "." / "out.csv")) == [2, 2]
    line = f"error: {out}: another run is writing it; expected one at a time"
    assert capsys.readouterr().err.splitlines() == [line]


@pytest.mark.parametrize(
    ("count", "form"), [(1, "gzip"), (3, "line breaks in quotes"), (3, "uneven row groups")]
)
def test_a_bad_value_in_the_last_part_is_told_where_it_is(
    count: int, form: str, numbered: pd.DataFrame, trained: dict[str, Trained], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Its row and line in the whole file, once; the parts before it are kept, and OUT is."""
    bad = numbered.assign(Amount=numbered["Amount"].where(numbered["row"] != FEWER - 7, -7.0))
    source, out = FORMS[form](bad, tmp_path / "rows"), tmp_path / "out.csv"
    out.write_text("kept", "utf-8")
    KeptParts(out).folder.mkdir()
    assert together(count, *score(trained, source, out)) == [2] * count
    place = f"row {FEWER - 6}" + ("" if "groups" in form else f" (line {FEWER - 5})")
    told = f"error: {source}: {place}, column 'Amount': -7; expected more than -0.001"
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{told}, as its logarithm is taken"
    assert out.read_text("utf-8") == "kept"
    assert list(KeptParts(out).folder.glob("0*.json"))


def test_a_word_in_the_last_part_is_told_where_it_is(
    source: Path, trained: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is sought in the text that was read, not in the whole file."""
    lines, bad = source.read_text("utf-8").splitlines(), tmp_path / "bad"
    lines[FEWER - 6] = lines[FEWER - 6].replace(",", ",x", 1)
    bad.write_text("\n".join(lines), "utf-8")
    assert together(3, *score(trained, bad, tmp_path / "out.csv")) == [2] * 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {bad}: row {FEWER - 6} (line {FEWER - 5}), column 'V1': 'x")


def _less(block: Block, first: int) -> Block:
    """Without its first row, if that is the table's."""
    if first:
        return block
    return Block(block.rows[1:], {name: c[1:] for name, c in block.others.items()}, 0)


LOST = {
    "a row is not read": "has 82 rows, of 82 that were read; expected 83",
    "a row is not written": "has 127 rows, of 128 that were read; expected 128",
    "a part is not joined": f"has {FEWER - 83} rows; expected the parts' {FEWER}",
    "a part is not there": f"{FEWER - PART} rows in {PARTS - 1} parts; expected the {FEWER} rows",
}


@pytest.mark.parametrize("way", LOST)
def test_a_row_that_is_lost_is_told(
    way: str, source: Path, trained: dict[str, Trained], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Rows are counted where they are read, in what is written, and in what is joined."""
    out = tmp_path / "out.csv"
    if way == "a row is not read":
        read = tables._block
        monkeypatch.setattr(tables, "_block", lambda *given: _less(read(*given), given[-1]))
    elif way == "a row is not written":
        count = outputs.rows_in
        monkeypatch.setattr(parts, "rows_in", lambda *given: count(*given) - 1)
    elif way == "a part is not joined":
        monkeypatch.setattr(parts, "join", lambda files, *given: outputs.join(files[:-1], *given))
    else:
        spans = parts._Cut.spans
        monkeypatch.setattr(parts._Cut, "spans", lambda cut, there, us: spans(cut, {*there, 1}, us))
    assert together(1, *score(trained, source, out)) == [0]
    out.unlink()
    KeptParts(out).folder.mkdir()
    assert together(1, *score(trained, source, out)) == [2]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.partition(": ")[2].partition(": ")[2] == LOST[way]
    assert KeptParts(out).folder.exists()


def test_what_differs_from_process_to_process_is_refused(
    source: Path, trained: dict[str, Trained], tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As where each machine has a table of its own."""
    own, facts = iter("ab"), parts._run
    monkeypatch.setattr(parts, "_run", lambda work: facts(work) | {"model": next(own)})
    assert together(2, *score(trained, source, tmp_path / "out.csv")) == [2, 2]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {source}: differs from machine to machine, or the model does"


def test_a_folder_is_made_and_replaces_nothing(
    source: Path, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken
) -> None:
    """A folder is no place for a table, nor a table for a folder."""
    out = tmp_path / "out.csv"
    out.write_text("kept", "utf-8")
    told = f"error: {out}: is there; expected a new folder's name"
    assert spoken(*score(trained, source, out), "--parts") == (2, "", [told])
    assert out.read_text("utf-8") == "kept"
