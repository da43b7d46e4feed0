"""`python -m torch_impl convert` from and to every format, as a person meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from parity_tests.test_keras_files import FOLDER
from parity_tests.test_saved_model import KERAS_2, bits
from parity_tests.walls import ROOT
from torch_impl.__main__ import main
from torch_impl.keras_files.reading import read_keras

INPUTS = {
    ".keras": FOLDER / "keras_3.15.1" / "functional.keras",
    ".weights.h5": FOLDER / "keras_3.15.1" / "classic.weights.h5",
    "legacy .h5": FOLDER / "keras_2.15.0" / "classic.h5",
    "legacy weights .h5": FOLDER / "keras_2.15.0" / "classic_weights.h5",
    "SavedModel": KERAS_2 / "functional",
    "checkpoint": KERAS_2 / "trained",
}
OUTPUTS = [".keras", ".weights.h5", ".h5", ".safetensors"]


@pytest.mark.parametrize("ending", OUTPUTS)
@pytest.mark.parametrize("kind", INPUTS)
def test_every_format_is_converted_to_every_other(
    kind: str, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And on to safetensors: the weights keep every bit and their names."""
    once, twice = tmp_path / f"once{ending}", tmp_path / "twice.safetensors"
    assert main(["convert", str(INPUTS[kind]), str(once)]) == 0
    shown = capsys.readouterr().out
    assert main(["convert", str(once), str(twice)]) == 0
    start, end = read_keras(INPUTS[kind]), read_keras(twice)
    assert list(start.weights) == list(end.weights)
    for name, tensor in start.weights.items():
        assert bits(tensor) == bits(end.weights[name])
        assert name.rpartition("/")[0] in shown
        assert str(tuple(tensor.shape)) in shown


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "torch_impl", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | environment,
    )  # fmt: skip


def test_help_has_examples_and_fits_80_columns() -> None:
    """Each example names a format."""
    answer = run("convert", "--help", COLUMNS="80")
    assert answer.returncode == 0
    assert answer.stdout.count("python -m torch_impl convert ") >= 4
    assert max(map(len, answer.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("nothing.keras", "x.keras", "nothing.keras: No such file"),
        ("README.md", "x.keras", "README.md: no Keras file"),
        (INPUTS[".keras"], "x.pt", "unknown ending"),
        (INPUTS[".keras"], "no/such/folder/x.keras", "No such file or directory"),
    ],
    ids=["nothing-there", "no-keras-file", "unknown-ending", "no-such-folder"],
)
def test_bad_input_exits_with_2_and_one_line(source: str | Path, target: str, message: str) -> None:
    """On standard error; nothing on standard output."""
    answer = run("convert", source, target)
    assert (answer.returncode, answer.stdout) == (2, "")
    (line,) = answer.stderr.splitlines()
    assert message in line


def test_a_failed_conversion_leaves_the_old_file(tmp_path: Path) -> None:
    """Nothing is lost, and nothing is left lying about."""
    target = tmp_path / "kept.keras"
    target.write_bytes(b"kept")
    broken = tmp_path / "broken.keras"
    broken.write_bytes(INPUTS[".keras"].read_bytes()[:-100])
    assert main(["convert", str(broken), str(target)]) == 2
    assert target.read_bytes() == b"kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.keras", "kept.keras"]
