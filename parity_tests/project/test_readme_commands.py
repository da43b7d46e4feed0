"""Every command of the pages is run: here, on few rows, by what is named here, or by hand."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import data
from parity_tests import ROOT
from parity_tests.project.readme import PAGES, commands, symbols
from parity_tests.reference import keras_process
from parity_tests.reference.markers import NEIGHBOURS, WHOLE_REPORT
from parity_tests.reference.selection import needed_packages
from parity_tests.report.own_stages import OwnComparison
from parity_tests.report.stages import Comparison
from torch_impl.keras_files.reading import read_keras


class Run(NamedTuple):
    """How a command is run here, and what must come of it."""

    shows: str
    """On standard output."""
    options: str = ""
    """That make it small, where it takes such."""
    leaves: tuple[str, ...] = ()
    """Files."""
    after: str = ""
    """A command that must have been run before it."""
    steps: int | None = None
    """Of a report, the first so many; `test_report.py` and `test_own_model.py` run all of them."""


_AGREE = "The frameworks agree in all "

_TRAINED = "python -m torch_impl train tutorial.csv model.safetensors --epochs 2"

HERE = {
    "python -m parity_tests": Run("synthetic (seed 0): 3,000 rows, 150 positives", steps=2),
    "python -m parity_tests --download --epochs 10": Run(
        "/creditcard.csv: 3,000 rows, 150 positives", steps=2
    ),
    "python -m parity_tests --model my.keras --csv my.csv --label fraud": Run(_AGREE, steps=2),
    "python -m parity_tests.record --model my.keras answers.safetensors": Run(
        "rows in answers.safetensors", leaves=("answers.safetensors",)
    ),
    "python -m parity_tests.fuzz --cases 20000": Run("200 mutations, seed 1", "--cases 200"),
    "python -m parity_tests.judge.sigmoid": Run("Keras: ", "--every 4099"),
    "python -m torch_impl convert old_model.h5 model.keras": Run("", leaves=("model.keras",)),
    "python -m torch_impl train tutorial.csv model.safetensors --balance oversample "
    "--page training.html": Run(
        "600 test rows", "--epochs 2", leaves=("model.safetensors", "training.html")
    ),
    "python -m torch_impl threshold model.safetensors held_out.csv --miss 120 "
    "--false-alarm 2.5": Run("has the new threshold", after=_TRAINED),
    "python -m torch_impl evaluate model.safetensors held_out.csv --page evaluation.html": Run(
        "3,000 rows, 150 frauds", leaves=("evaluation.html",), after=_TRAINED
    ),
    "python -m torch_impl score model.safetensors held_out.csv scores.parquet": Run(
        "3,000", leaves=("scores.parquet",), after=_TRAINED
    ),
    "python -m torch_impl export model.safetensors model.onnx": Run(
        "rows (N, 29), float64", leaves=("model.onnx",), after=_TRAINED
    ),
}

ELSEWHERE = {
    "python -m parity_tests --csv creditcard.csv --json report.json --html report.html":
        "report/command/test_report.py::test_report_on_a_csv_agrees_in_table_json_and_page",
    "python -m parity_tests.bench":
        "bench/test_bench.py::test_what_is_measured_is_printed_and_written",
    "python -m parity_tests.traps":
        "traps/test_traps.py::test_every_figure_of_the_reference_comes_out",
    "pip install .":
        "project/test_wheel.py::test_wheel_installs_and_imports_in_an_empty_environment",
    "pre-commit install": "project/test_ci.py::test_each_hook_before_a_commit_mends_what_it_finds",
    "python3 -m venv .venv": ".ci/run",
    'pip install -q -c constraints.txt -e ".[test]"': ".ci/run",
    "python -m pytest -n 2 --dist worksteal": ".ci/run",
    'pip install -q -c constraints.txt -e ".[keras]"': ".github/workflows/ci.yml",
    "python -m parity_tests.traps --markdown":
        "traps/test_traps.py::test_every_figure_of_the_reference_comes_out",
    "python -m parity_tests.faults":
        "faults/test_faults.py::test_exit_status_says_whether_every_fault_is_caught",
    "pytest -m keras": "noxfile.py",
}  # fmt: skip

# Minutes to hours of work each, which end in what the page shows.
BY_HAND = {
    "README.md": {
        "python -m parity_tests --epochs 100",
        'pip install ".[train,files]"',
        'pip install ".[commands]"',
    },
    "parity_tests/faults/README.md": {
        'pip install -q -c constraints.txt -e ".[mutation]"',
        "python -m parity_tests.faults.mutants",
        "python -m parity_tests.faults.mutants 'torch_impl.model.*'",
    },
    "parity_tests/versions/README.md": {"pip install nox uv", "nox"},
    "parity_tests/files/written_by_keras/README.md": {
        "python -m venv v",
        "v/bin/pip install WHAT_THE_TABLE_SAYS",
        "v/bin/python parity_tests/files/written_by_keras/make.py "
        "parity_tests/files/written_by_keras OPTIONS_OF_THE_TABLE",
        "python make_saved_model.py saved_model_keras_2_15",
        "python -m parity_tests.files.written_by_keras.make_export",
    },
}


def test_no_command_of_the_readme_is_left_out() -> None:
    """And none is run that it does not show."""
    by_hand = set().union(*BY_HAND.values())
    assert set(commands()) == {*HERE, *ELSEWHERE, *by_hand}
    for page, own in BY_HAND.items():
        assert own <= set(commands(PAGES[page]))


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_what_runs_a_command_elsewhere_is_there(place: str) -> None:
    """A test of that name, or a file; `test_ci.py` tests what these files run."""
    path, _, test = place.partition("::")
    assert (ROOT / path).exists() if not test else test in symbols(ROOT / "parity_tests" / path)


def installed_by(extra: str) -> set[str]:
    """The packages of an extra of pyproject.toml and of those that it names, as imported."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = {"torch", "numpy"}
    listed = re.search(rf"^{extra} = (\[.*?\])$", text, re.M | re.S)
    assert listed is not None
    for requirement in ast.literal_eval(listed[1]):
        name, _, others = requirement.rstrip("]").partition("[")
        if others:
            found = found.union(*map(installed_by, others.split(",")))
        else:
            found.add(re.split("[><=]", name)[0])
    return {{"scikit-learn": "sklearn"}.get(name, name.replace("-", "_")) for name in found}


# Recorded triton says what is not there; JAX is another backend's; what is read in tests alone.
_NEVER = {"triton", "jax", "pytest"}


@pytest.mark.parametrize(
    "command", [*HERE, "python -m parity_tests.bench", "python -m parity_tests.traps"]
)
def test_a_command_needs_what_the_command_before_it_installed(command: str) -> None:
    """The README's first one makes the environment; the tests' comes with theirs."""
    name = command.split()[2]
    path = ROOT / name.replace(".", "/")
    path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    needed = needed_packages(path, within=True) - _NEVER
    assert needed <= installed_by("keras"), name
    assert "mypy" in installed_by("test") - installed_by("keras")


few = partial(data.synthetic, rows=3000, positives=150)


@pytest.fixture(scope="module")
def table() -> str:
    """A small creditcard.csv."""
    return few().to_csv(index=False)


@pytest.fixture
def folder(table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README speaks of, and a cache that has the download."""
    for name in ("creditcard.csv", "tutorial.csv", "held_out.csv"):
        (tmp_path / name).write_text(table, "utf-8")
    examples = ROOT / "parity_tests" / "files" / "written_by_keras"
    shutil.copy(examples / "keras_2.15.0" / "classic.h5", tmp_path / "old_model.h5")
    own = shutil.copy(examples / "keras_3.15.1" / "functional.keras", tmp_path / "my.keras")
    width = read_keras(own).network.in_features  # type: ignore[union-attr]
    rows = np.random.default_rng(0).normal(size=(40, width))
    my = pd.DataFrame(rows, columns=[f"x{i}" for i in range(width)])
    my.assign(fraud=(rows[:, 0] > 0).astype(int)).to_csv(tmp_path / "my.csv", index=False)
    cache = tmp_path / "cache" / "keras-torch-fraud-parity"
    cache.mkdir(parents=True)
    cached = Path(shutil.copy(tmp_path / "creditcard.csv", cache))
    known = {"bytes": cached.stat().st_size, "modified_ns": cached.stat().st_mtime_ns}
    (cache / "creditcard.csv.verified").write_text(json.dumps(known))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "synthetic", few)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            command,
            marks=NEIGHBOURS
            if "--model" in command
            else WHOLE_REPORT
            if command.split()[2] == "parity_tests"
            else (),
        )
        for command in HERE
    ],
)
def test_command_of_the_readme_runs(
    command: str, folder: Path, lent: Callable[[], Any], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    """As it stands, but for options that make it small; exit status 0, and its files are there."""
    run = HERE[command]
    monkeypatch.setattr(keras_process, "KerasProcess", lent)
    for report in (Comparison, OwnComparison):
        whole = report.steps
        monkeypatch.setattr(
            report, "steps", lambda self, whole=whole: islice(whole(self), run.steps)
        )
    for line in filter(None, (run.after, f"{command} {run.options}")):
        python, dash_m, name, *arguments = shlex.split(line)
        assert (python, dash_m) == ("python", "-m")
        module = importlib.import_module(name)
        if hasattr(module, "__path__"):
            module = importlib.import_module(f"{name}.__main__")
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        for taken, small in (("KerasProcess", lent), ("synthetic", data.synthetic)):
            if hasattr(module, taken):
                monkeypatch.setattr(module, taken, small)
        assert not module.main()
    assert run.shows in " ".join(capsys.readouterr().out.split())
    for file in run.leaves:
        assert (folder / file).stat().st_size > 0
