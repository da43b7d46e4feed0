"""The table of faults fits the checkout, and the command tells caught from missed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from parity_tests import ROOT
from parity_tests.faults import __main__ as faults
from parity_tests.faults.__main__ import Outcome, StaleTableError, main, planted
from parity_tests.faults.fault_table import FAULTS, HARMLESS, Change, first_tests


@pytest.mark.slow
def test_every_text_of_the_fault_table_stands_in_its_file_once() -> None:
    """A change that fits nowhere, or twice, would prove nothing, nor one that is no Python."""
    for change in (*FAULTS, *HARMLESS):
        text = planted(change, (ROOT / change.file).read_text(encoding="utf-8"))
        if change.file.endswith(".py"):
            compile(text, change.name, "exec")


def test_fault_table_is_as_large_as_it_says() -> None:
    """Hundreds of faults, some harmless changes, no name twice; the likely tests exist."""
    assert len(FAULTS) >= 450
    assert len(HARMLESS) >= 6
    names = [change.name for change in (*FAULTS, *HARMLESS)]
    assert len(names) == len(set(names))
    for change in FAULTS:
        for test in first_tests(change):
            path, _, function = test.partition("::")
            assert f"def {function}" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["nothing of it", "old and old"], ids=["absent", "twice"])
def test_a_stale_fault_is_refused(text: str) -> None:
    """By name, with how often its text was found."""
    with pytest.raises(StaleTableError, match=r"'a fault'.*expected once"):
        planted(Change("a fault", "some/file.py", "old", "new"), text)


@pytest.mark.parametrize(
    ("fault", "harmless", "status"),
    [
        ("test_x.py::test_y[case - one]", None, 0),
        (None, None, 1),
        ("test_x.py::test_y", "test_x.py::test_y", 1),
    ],
    ids=["all-well", "a-fault-missed", "a-harmless-change-disturbed"],
)
def test_exit_status_says_whether_every_fault_is_caught(
    fault: str | None, harmless: str | None, status: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """And so does the JSON, by name."""

    def outcomes(changes: Sequence[Change], _: int) -> Iterator[Outcome]:
        for change in changes:
            yield Outcome(change, fault if change in FAULTS else harmless, 1.0)

    monkeypatch.setattr(faults, "try_all", outcomes)
    monkeypatch.setattr(faults, "FAULTS", FAULTS[:20])
    assert main(["--json", str(tmp_path / "f.json")]) == status
    found = json.loads((tmp_path / "f.json").read_text())
    assert len(found["missed"]) == (0 if fault else 20)
    assert len(found["disturbed"]) == (len(HARMLESS) if harmless else 0)


@pytest.mark.parametrize(
    ("said", "caught"),
    [
        ("F\nFAILED parity_tests/test_a.py::test_b[x y] - assert 1\n1 failed in 1s", "test_b[x y]"),
        ("ERROR parity_tests/test_a.py\n1 error in 1s", "test_a.py"),
        ("3 passed in 1s\n9 passed, 2 deselected in 2s\n", None),
    ],
    ids=["failed", "not-even-imported", "passed"],
)  # fmt: skip
def test_first_failure_is_read_off_what_pytest_said(said: str, caught: str | None) -> None:
    """A run that passed has passed in both its parts."""
    came = faults._first_failure(said)
    assert came is None if caught is None else caught in came
    with pytest.raises(RuntimeError, match="neither yes nor no"):
        faults._first_failure("3 passed in 1s\nSegmentation fault")


@pytest.mark.slow
def test_a_planted_fault_is_caught_by_a_test_that_names_it(tmp_path: Path) -> None:
    """The command itself, on one fault."""
    command = [sys.executable, "-m", "parity_tests.faults", "--only", "ddof 1"]
    answer = subprocess.run(
        [*command, "--json", tmp_path / "f.json"], cwd=ROOT, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (row,) = json.loads((tmp_path / "f.json").read_text())["changes"]
    assert row["caught_by"].startswith("forward/test_features.py::")
