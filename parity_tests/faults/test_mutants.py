"""The list of mutants that nothing kills is true, and a new one is noticed."""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from parity_tests import ROOT
from parity_tests.faults import __main__ as faults
from parity_tests.faults.mutants import (
    Mutant,
    Result,
    explained,
    stands_in_source,
    status_of,
    table,
    unexplained,
)

KNOWN = explained()
SOURCE = """
def first(x):
    return x + 1


class Kept:
    def value(self):
        text = "old"
        return text  # at the end
"""


def test_a_mutant_has_beside_it_what_a_planted_fault_has() -> None:
    """Without a file that the tests read none of them would run."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^also_copy = (\[.*?\])$", text, re.M | re.S)
    own = {"torch_impl", "pyproject.toml"}  # mutmut copies these itself
    assert own | set(ast.literal_eval(listed)) == {*faults._ROOMS, *faults._FILES}


def test_every_listed_survivor_still_stands_in_the_source() -> None:
    """Where the code has changed, the explanation is of nothing."""
    assert [mutant for mutant in KNOWN if not stands_in_source(mutant)] == []


def test_every_listed_survivor_is_explained() -> None:
    """In a sentence, and changes something."""
    for mutant, why in KNOWN.items():
        assert len(why.split()) >= 5, mutant
        assert mutant.old != mutant.new


@pytest.mark.parametrize(
    ("mutant", "stands"),
    [
        (Mutant("room/file.py", "first", "return x + 1", "return x - 1"), True),
        (Mutant("room/file.py", "Kept.value", 'text = "old"\nreturn text', "pass"), True),
        (Mutant("room/file.py", "Kept.value", "return text  # at the end", "pass"), True),
        (Mutant("room/file.py", "value", 'text = "old"', "pass"), False),
        (Mutant("room/file.py", "first", 'text = "old"', "pass"), False),
        (Mutant("room/file.py", "first", "return x + 2", "return x - 2"), False),
        (Mutant("room/gone.py", "first", "return x + 1", "return x - 1"), False),
    ],
    ids=["there", "two-lines", "comment", "another-function", "elsewhere", "changed", "no-file"],
)
def test_a_survivor_stands_where_its_function_has_its_text(
    mutant: Mutant, stands: bool, tmp_path: Path
) -> None:
    """In that function of that file, whatever the indentation."""
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "file.py").write_text(SOURCE)
    assert stands_in_source(mutant, tmp_path) is stands


def test_a_survivor_that_is_not_listed_is_told() -> None:
    """The listed one is not."""
    listed, new = (Mutant("a.py", "f", "x", text) for text in ("y", "z"))
    assert unexplained([listed, new], {listed: "because"}) == [new]


def test_a_mutant_whose_process_failed_is_not_told_as_caught() -> None:
    """mutmut calls it a timeout, as one that never ended."""
    told = {1: "killed", -24: "timeout", 255: "timeout"}
    assert [status_of(code, told) for code in told] == ["killed", "timeout", "not run"]


def test_the_score_counts_what_anything_noticed() -> None:
    """Tests, types, a crash and a time limit; neither survivors nor what no test reaches."""
    statuses = ["killed", "caught by type check", "segfault", "timeout", "survived", "no tests"]
    console = Console(width=140, file=io.StringIO())
    console.print(table([Result("m", "a.py", s) for s in statuses]))
    assert console.file.getvalue().splitlines()[1].split() == [
        *("a.py", "6", "1", "1", "1", "1", "1", "1", "0", "66.7", "%")
    ]
