"""What is left out of a run, and why, is decided in one place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from parity_tests import ROOT
from parity_tests.reference import selection
from parity_tests.reference.selection import (
    LeftOut,
    absent,
    keras_line,
    needed_packages,
    needs_keras,
    unasked,
)

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    ("file", "needed", "not_needed"),
    [
        (
            "record/test_recorded.py",
            {"torch", "numpy", "safetensors", "pytest"},
            {"pandas", "hypothesis"},
        ),
        ("rows/test_data_load.py", {"pandas", "hypothesis", "sklearn"}, {"torch", "rich"}),
        ("report/command/test_report.py", {"rich", "pandas"}, {"tensorflow", "keras"}),
        ("tutorial/test_walkthrough.py", {"nbclient"}, {"tensorflow"}),
        ("tutorial/walkthrough.py", {"nbformat"}, {"nbclient"}),
    ],
)
def test_needed_packages_follow_imports_through_the_checkout(
    file: str, needed: set[str], not_needed: set[str]
) -> None:
    """`from data import load` needs pandas; one within a function only in a test file."""
    found = needed_packages(ROOT / "parity_tests" / file)
    assert needed <= found
    assert not found & not_needed


def test_recorded_tests_need_four_packages() -> None:
    """What proves the torch side runs in a lean install; packaging comes with pytest."""
    found = needed_packages(ROOT / "parity_tests" / "record/test_recorded.py")
    assert found == {"torch", "numpy", "safetensors", "pytest", "packaging"}


def test_no_test_file_imports_tensorflow_or_keras() -> None:
    """So that all that need them use the fixture or the marker."""
    for path in sorted((ROOT / "parity_tests").rglob("test_*.py")):
        assert not needed_packages(path) & {"tensorflow", "keras"}, path.name


def test_keras_is_needed_by_fixture_or_marker() -> None:
    """Also where a fixture of the test's own asks it."""
    assert needs_keras(["prepared", "keras"], set())
    assert needs_keras([], {"keras"})
    assert not needs_keras(["prepared"], {"slow"})


def test_absent_packages_are_named_without_importing_any() -> None:
    """Of those there and those not."""
    assert absent({"numpy", "no_such_package", "no_such.module"}) == {
        "no_such_package",
        "no_such.module",
    }


def test_header_says_recorded_and_by_what() -> None:
    """Also where a live Keras is installed but not to be asked."""
    line = keras_line(recorded=True)
    assert line.startswith("Keras: recorded by keras 3.")
    assert " / tensorflow 2." in line


def test_what_is_left_out_is_counted_by_reason() -> None:
    """One line for each reason, in words."""
    left = LeftOut()
    left.tests["slow (--fast)"] += 2
    left.files["without pandas"] += 1
    assert left.lines() == [
        "2 tests not run: slow (--fast)",
        "1 file not collected: without pandas",
    ]


@pytest.mark.parametrize(
    ("there", "asked", "whole", "reason", "fault"),
    [
        (True, 1, True, "slow (--fast)", None),
        (True, 0, False, "slow (--fast)", None),
        (True, 0, True, "slow (--fast)", "no test asked it"),
        (True, 9, True, "no live Keras (tensorflow not installed)", "3 tests that ask it"),
        (True, 9, False, "no live Keras (tensorflow not installed)", "3 tests that ask it"),
        (False, 0, True, "no live Keras (tensorflow not installed)", None),
    ],
    ids=["asked", "a-part", "not-asked", "left-out", "left-out-of-a-part", "not-there"],
)
def test_live_keras_that_is_there_has_to_be_asked(
    there: bool, asked: int, whole: bool, reason: str, fault: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """By a whole run; and none of its tests may be lost with nobody told."""
    monkeypatch.delenv("PARITY_KERAS_PYTHON", raising=False)
    monkeypatch.setattr(selection, "absent", lambda names: set() if there else names)
    came = unasked(asked, whole, {reason: 3})
    assert came is None if fault is None else fault in str(came)


@pytest.mark.keras
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("from parity_tests.reference import markers\n"
         "markers.reference = lambda: markers.Reference(None, 'tensorflow', None)",
         "tests that ask it were left out"),
        ("from parity_tests.reference import selection\n"
         "selection.needs_keras = lambda *_: False",
         "no test asked it"),
    ],
    ids=["not-found", "not-recognised"],
)  # fmt: skip
def test_a_run_that_loses_its_live_tests_fails(fault: str, said: str, tmp_path: Path) -> None:
    """The twin: whatever passed, the exit status is 1 and the last lines say why.

    In a folder of two tests, one of which has a fixture of Keras's name.
    """
    rules = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(rules.replace('["parity_tests"]', '["tests"]'))
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_two.py").write_text(
        "import pytest\n"
        "def test_alone(): pass\n"
        "@pytest.fixture\ndef keras(): pass\n"
        "def test_asking(keras): pass\n"
    )
    (tmp_path / "losing.py").write_text(fault)
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "losing", "-p", "parity_tests.conftest"],
        cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert said in answer.stdout
    assert "failed" not in answer.stdout


@pytest.mark.parametrize(
    ("others", "outcome", "header"),
    [
        ([], "1 failed, 1 passed", "packages: as in constraints.txt"),
        (["torch 2.5.0 (pinned: 2.13.0)"], "1 passed, 1 deselected, 1 warning",
         "packages: torch 2.5.0 (pinned: 2.13.0)"),
    ],
    ids=["pinned", "other"],
)  # fmt: skip
def test_with_other_versions_a_deprecation_is_shown_and_what_is_pinned_is_left_out(
    others: list[str], outcome: str, header: str, pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With the versions of constraints.txt it is a failure; what was left out is told."""
    monkeypatch.setattr("parity_tests.versions.pinned.others", lambda: others)
    pytester.makepyfile(
        "import warnings, pytest\n"
        "def test_deprecated(): warnings.warn('old', FutureWarning)\n"
        "@pytest.mark.pinned('digits of one torch')\ndef test_digits(): pass\n"
    )
    rules = ("-p", "parity_tests.conftest", "-c", str(ROOT / "pyproject.toml"))
    answer = pytester.runpytest_inprocess(*rules, str(pytester.path))
    said = answer.outlines
    assert header in said
    assert any(outcome in line for line in said)
    left = "1 test not run: digits of one torch (needs the versions of constraints.txt)"
    assert (left in said) == bool(others)
