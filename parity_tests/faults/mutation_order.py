"""A pytest plugin for mutants: what is slow is done before the fork, and fast tests come first."""

from __future__ import annotations

import functools
import importlib
import json
from collections import defaultdict
from pathlib import Path

import pytest

from parity_tests.reference.selection import needed_packages

# Once here instead of once for each mutant: which packages each test file of the folder needs, and
# what the tests import late, or torch by itself.
for _path in Path(__file__).parents[1].rglob("test_*.py"):
    needed_packages(_path)
for _name in ("torch._dynamo", "safetensors.torch", "h5py", "tqdm", "rich.table"):
    importlib.import_module(_name)

_STATS = Path("mutmut-stats.json")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the tests of the quickest file first, and in it the quickest test.

    A mutant is dead at the first failure; a file's tests stay together for its fixtures' sake.
    """
    seconds = _seconds()
    if not seconds:
        return
    of_file: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        of_file[item.path] += seconds.get(item.nodeid, 0.0)
    items.sort(key=lambda i: (of_file[i.path], str(i.path), seconds.get(i.nodeid, 0.0)))


@functools.cache
def _seconds() -> dict[str, float]:
    """Of each test, as it was when the tests were collected for the first time."""
    if not _STATS.exists():
        return {}
    durations: dict[str, float] = json.loads(_STATS.read_text(encoding="utf-8"))["duration_by_test"]
    return durations
