"""The commands as a person meets them: help, examples, what may not be written, a full disk."""

# ruff: noqa: E501 (a row is a row)

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from parity_tests import ROOT
from parity_tests.decisions.commands.trained_models import Spoken, Table, Trained
from torch_impl import FraudPipeline, load_pipeline

COMMANDS = ("train", "score", "evaluate", "threshold", "export", "convert")
RUN = COMMANDS[:-2]  # export's are in the README, convert's in parity_tests/files


def examples(text: str) -> list[list[str]]:
    """The lines of a help's examples, continued ones joined, as a shell splits them."""
    _, _, below = text.partition("examples:\n")
    lines = below.replace("\\\n", " ").splitlines()
    start = ["python", "-m", "torch_impl"]
    words = [shlex.split(line) for line in lines]
    assert all(line[:3] == start for line in words)
    return [line[3:] for line in words]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns(command: str, spoken: Spoken) -> None:
    """And has examples, each of this very command."""
    status, out, error = spoken(*command.split(), "--help")
    assert (status, error) == (0, [])
    assert max(map(len, out.splitlines())) <= 80
    if command:
        assert len(examples(out)) >= 2
        assert {line[0] for line in examples(out)} == {command}
    else:
        assert [name for name in COMMANDS if re.search(rf"^    {name}\b", out, re.M)] == [*COMMANDS]


@pytest.fixture
def folder(
    table: Table, trained: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Where the files are that the examples name."""
    monkeypatch.chdir(tmp_path)
    rows = table.frame[:800]
    for name in ("creditcard.csv", "held_out.csv", "new.csv", "last_week.csv"):
        rows.to_csv(name, index=False)
    rows.to_parquet("rows.parquet")
    shutil.copy(trained["class-weights"].model, "model.safetensors")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_the_examples_of_the_help_run(command: str, folder: Path, spoken: Spoken) -> None:
    """Every one, and each writes what it names."""
    _, out, _ = spoken(command, "--help")
    for words in examples(out):
        assert spoken(*words)[0] == 0, words
        named = [word for word in words if re.search(r"\.(csv|json|onnx|pt2|safetensors)$", word)]
        for name in named:
            assert Path(name).exists(), name


REFUSED: dict[str, tuple[str, str]] = {
    "train: epochs": ("train rows.csv m --epochs 0", "--epochs=0; expected a whole number from 1 to 2**63 - 1"),
    "train: seed": ("train rows.csv m --seed -1", "--seed=-1; expected a whole number from 0 to 2**32 - 1"),
    "train: batch size": ("train rows.csv m --batch-size 0", "--batch-size=0; expected a whole number from 1 to 2**63 - 1"),
    "train: patience": ("train rows.csv m --patience -1", "--patience=-1; expected a whole number from 0 to 2**63 - 1"),
    "train: no number": ("train rows.csv m --epochs x", "argument --epochs: invalid int value: 'x' (python -m torch_impl train --help)"),
    "train: no such folder": ("train rows.csv no/m", "no: is not a folder"),
    "train: a folder": ("train rows.csv folder", "folder: is no file that could be replaced"),
    "train: a pipe": ("train rows.csv pipe", "pipe: is no file that could be replaced"),
    "train: over its own rows": ("train rows.csv folder/../rows.csv", "folder/../rows.csv: is named twice; expected a file of its own to write"),
    "train: history over the model": ("train rows.csv m --history m", "m: is named twice; expected a file of its own to write"),
    "train: history over the checkpoint": ("train rows.csv m --history m.checkpoint", "m.checkpoint: is named twice; expected a file of its own to write"),
    "train: one class": ("train legal.csv m", "legal.csv: column 'Class' is the same in all rows; expected both 0 and 1"),
    "train: two rows": ("train two.csv m", "two.csv: 2 rows cannot be split in three; expected 3 at least"),
    "train: frauds in one split": ("train single.csv m", "single.csv: the 46 rows that early stopping judges by are of one class; expected both"),
    "train: huge numbers": ("train huge.csv m", "huge.csv: column 'V7' has numbers up to 1e+200; expected at most 1e+150, for their variance to be finite"),
    "train: no such file": ("train no.csv m", "no.csv: No such file or directory"),
    "train: a name that steers the terminal": ("train '\x1b[31mno\n.csv' m", "?[31mno .csv: No such file or directory"),
    "score: another ending": ("score model new.csv out.txt", "out.txt: ends in '.txt'; expected .csv, .csv.gz or .parquet"),
    "score: over its own rows": ("score model rows.csv rows.csv", "rows.csv: is named twice; expected a file of its own to write"),
    "score: model and table exchanged": ("score rows.csv model out.csv", "rows.csv: is no whole pipeline (a header of 3184421160207870292 bytes; at most 65536 are read); it was left as it is"),
    "score: a column to keep that is missing": ("score model rows.csv out.csv --keep Tme", "rows.csv: column 'Tme' is missing (is it 'Time'?); expected V1 … V28, Amount, Tme"),
    "score: a column to keep twice": ("score model rows.csv out.csv --keep Time,Time", "--keep Time,Time: a name stands twice, or is one that OUT has"),
    "score: a negative amount": ("score model negative.csv out.csv", "negative.csv: row 7 (line 8), column 'Amount': -5; expected more than -0.001, as its logarithm is taken"),
    "score: no share": ("score model rows.csv out.csv --base-rate 1", "--base-rate '1': expected a share between 0 and 1, or as-trained"),
    "evaluate: no labels": ("evaluate model unlabelled.csv", "unlabelled.csv: column 'Class' is missing; expected V1 … V28, Amount, Class"),
    "threshold: nothing asked for": ("threshold model rows.csv", "expected one of: --miss with --false-alarm, --precision, --recall, --alerts-per-day"),
    "threshold: one cost": ("threshold model rows.csv --miss 3", "expected one of: --miss with --false-alarm, --precision, --recall, --alerts-per-day"),
    "threshold: two wishes": ("threshold model rows.csv --recall 1 --precision 1", "expected one of: --miss with --false-alarm, --precision, --recall, --alerts-per-day"),
    "threshold: days without alerts": ("threshold model rows.csv --recall 1 --days 2", "--days: expected with --alerts-per-day alone"),
    "threshold: fewer alerts than none": ("threshold model rows.csv --alerts-per-day -1", "--alerts-per-day -1: expected 0 or more"),
    "threshold: no time": ("threshold model rows.csv --alerts-per-day 1 --days 0", "the rows came in 0 days; expected more than 0 (--days says so)"),
    "threshold: no share": ("threshold model rows.csv --recall 1.5", "recall=1.5; expected a share above 0, at most 1"),
    "threshold: no fraud": ("threshold model legal.csv --recall 1", "recall=1.0: there is no fraud among the rows; expected one"),
    "export: another ending": ("export model out.pb", "out.pb: ends in '.pb'; expected .pt2 or .onnx"),
    "export: no such folder": ("export model no/out.onnx", "no: is not a folder"),
}  # fmt: skip


@pytest.fixture(scope="module")
def bad_folder(
    table: Table, trained: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model, good rows, and bad ones."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    shutil.copy(trained["none"].model, folder / "model")
    rows = table.frame.sample(300, random_state=0).reset_index(drop=True)
    legal, frauds = rows[rows["Class"] == 0], table.frame[table.frame["Class"] == 1]
    tables: dict[str, pd.DataFrame] = {
        "rows": rows,
        "legal": legal,
        "two": pd.concat([legal[:1], frauds[:1]]),
        "unlabelled": rows.drop(columns="Class"),
        "negative": rows.assign(Amount=rows["Amount"].where(rows.index != 6, -5)),
        "huge": rows.assign(V7=np.where(rows["Class"] == 1, 1e200, rows["V7"])),
        "single": pd.concat([frauds[:1], legal])[:303],
    }
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_told_in_one_line(
    case: str, bad_folder: Path, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error, with status 2; nothing is written, and what is there stays."""
    monkeypatch.chdir(bad_folder)
    before = {path: path.stat().st_mtime_ns for path in bad_folder.rglob("*")}
    words, told = REFUSED[case]
    assert spoken(*shlex.split(words)) == (2, "", [f"error: {told}"])
    assert {path: path.stat().st_mtime_ns for path in bad_folder.rglob("*")} == before


def test_export_takes_the_base_rate_that_is_asked_for(
    bad_folder: Path, spoken: Spoken, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And says what it wrote."""
    exported: list[FraudPipeline] = []

    def write(pipeline: FraudPipeline, path: Path) -> None:
        exported.append(pipeline)
        path.write_bytes(b"12345")

    monkeypatch.setattr("torch_impl.commands.export.export", write)
    words = ("export", bad_folder / "model", tmp_path / "m.onnx", "--base-rate", "0.25")
    status, out, _ = spoken(*words)
    assert status == 0
    assert " ".join(out.split()).count("rows (N, 29), float64 probability, decision 5 ") == 1
    (pipeline,), other = exported, load_pipeline(bad_folder / "model")
    assert pipeline.log_odds_shift == other.set_base_rate(0.25).log_odds_shift != 0


@pytest.mark.slow
def test_a_process_exits_with_2_and_one_line() -> None:
    """On standard error; nothing on standard output, and no warning on the way there."""
    words = ["score", "README.md", "no.csv", "out.csv"]
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-m", "torch_impl", *words],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert (answer.returncode, answer.stdout) == (2, "")
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: README.md: ")


def test_a_disk_that_is_full_is_told_with_the_files_name(
    trained: dict[str, Trained], table: Table, tmp_path: Path, spoken: Spoken,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """pyarrow's error names no file; the old file stays."""
    out = tmp_path / "out.csv"
    out.write_text("kept", "utf-8")

    class Full:
        def __enter__(self) -> Callable[..., None]:
            raise OSError(28, "No space left on device")

        def __exit__(self, *_: object) -> None: ...

    import pyarrow.csv

    monkeypatch.setattr(pyarrow.csv, "CSVWriter", lambda *_, **__: Full())
    status, said, (line,) = spoken("score", trained["none"].model, table.path, out)
    assert (status, said, line) == (2, "", f"error: {out}: No space left on device")
    assert out.read_text("utf-8") == "kept"
    assert os.listdir(tmp_path) == ["out.csv"]
