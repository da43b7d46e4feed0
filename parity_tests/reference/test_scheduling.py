"""What the workers of pytest-xdist are given, and in which order."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parity_tests import ROOT
from parity_tests.reference.scheduling import _COMPILING, GroupsAndFiles, long_files_first


@pytest.mark.parametrize(
    ("test", "scope"),
    [
        ("parity_tests/judge/test_ulp.py::test_x[a]", "parity_tests/judge/test_ulp.py"),
        ("parity_tests/judge/test_ulp.py::test_x[a]@whole reports", "whole reports"),
        ("parity_tests/judge/test_ulp.py::test_x[a@b::c]", "parity_tests/judge/test_ulp.py"),
        ("parity_tests/forward/test_model.py::test_x", "torch's compiler"),
        ("parity_tests/forward/test_devices.py::test_y[1]", "torch's compiler"),
        ("parity_tests/training/test_checkpoint.py::test_z@killed runs", "killed runs"),
    ],
)
def test_a_test_goes_with_its_group_or_else_its_file(test: str, scope: str) -> None:
    """Those that load torch's compiler go together, but for the ones that name a group."""
    assert GroupsAndFiles._split_scope(object.__new__(GroupsAndFiles), test) == scope


def test_files_that_load_the_compiler_are_there() -> None:
    """A file that is called otherwise now would silently go alone."""
    assert [name for name in sorted(_COMPILING) if not (ROOT / name).is_file()] == []


def test_files_with_a_long_test_come_first_and_keep_their_order() -> None:
    """A long test is a slow one, or one that asks Keras."""

    def item(name: str, kind: str = "") -> Any:
        file = Path(name[0])
        return SimpleNamespace(name=name, path=file, get_closest_marker=lambda k: k == kind or None)

    items = [item("a1"), item("b1"), item("b2", "slow"), item("c1"), item("d1", "keras")]
    long_files_first(items)
    assert [one.name for one in items] == ["b1", "b2", "d1", "a1", "c1"]
