"""A pytest plugin for mutants: slow imports before the fork, and the fastest tests first."""

from __future__ import annotations

import importlib
import json
from collections import defaultdict
from pathlib import Path

import pytest

# What the tests import late, or torch by itself: once here instead of once for each mutant.
for _name in ("torch._dynamo", "safetensors.torch", "h5py", "tqdm", "rich.table"):
    importlib.import_module(_name)

_STATS = Path("mutmut-stats.json")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the tests of the quickest file first, and in it the quickest test.

    A mutant is dead at the first failure; a file's tests stay together for its fixtures' sake.
    """
    if not _STATS.exists():
        return
    seconds = json.loads(_STATS.read_text(encoding="utf-8"))["duration_by_test"]
    of_file: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        of_file[item.path] += seconds.get(item.nodeid, 0.0)
    items.sort(key=lambda i: (of_file[i.path], str(i.path), seconds.get(i.nodeid, 0.0)))
