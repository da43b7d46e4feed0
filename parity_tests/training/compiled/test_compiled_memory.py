"""The compiled epoch touches no byte beyond its arrays."""

from __future__ import annotations

import subprocess
import sys

import pytest

from parity_tests import ROOT
from parity_tests.sides.compiler import needs_compiler
from parity_tests.training.compiled.all_widths import SIZES, library

pytestmark = [
    needs_compiler,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are guarded by Linux"),
]


@pytest.mark.slow
def test_not_one_byte_beside_the_arrays_is_touched_whatever_the_width() -> None:
    """Rows, labels, weights, parameters, moments, streams and sums between guarded pages.

    In a process of its own, which a touch of them ends; what is only read cannot be written.
    """
    names = ["_".join(map(str, size)) for size in SIZES]
    command = [
        sys.executable,
        "-m",
        "parity_tests.training.compiled.guard_pages",
        library()._name,
        *names,
    ]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert child.returncode == 0, f"ended by {child.returncode} in {child.stdout.split()[-1:]}"
    assert child.stdout.split() == [*names, "done"]
