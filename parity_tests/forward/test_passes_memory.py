"""The compiled passes over rows touch no byte beyond their arrays."""

from __future__ import annotations

import subprocess
import sys

import pytest

from parity_tests import ROOT
from parity_tests.forward.guarded_passes import FEATURES, HIDDEN, ROWS
from parity_tests.sides.compiler import needs_compiler
from torch_impl import FraudClassifier, scoring
from torch_impl.base import scaling
from torch_impl.base.compiled import library
from torch_impl.keras import order
from torch_impl.training.plain import sizes

pytestmark = [
    needs_compiler,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are guarded by Linux"),
]


def test_not_one_byte_beside_the_rows_is_touched_however_many_there_are() -> None:
    """Orders, rows, logarithms, statistics and weights between guarded pages.

    In a process of its own, which a touch of them ends; what is only read cannot be written.
    """
    of_network = sizes(FraudClassifier(FEATURES, HIDDEN))
    built = [
        library(order._SOURCE, "slow"),
        library(scaling._SOURCE, "slow"),
        library(scoring._SOURCE, "slow", **of_network),
    ]
    paths = [one._name for one in built if one is not None]
    command = [sys.executable, "-m", "parity_tests.forward.guarded_passes", *paths]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert child.returncode == 0, f"ended by {child.returncode} at {child.stdout.split()[-1:]}"
    assert child.stdout.split() == [*map(str, ROWS), "done"]
