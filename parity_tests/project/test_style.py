"""Lint, format and types hold in every room."""

from __future__ import annotations

import subprocess
import sys

import pytest

from parity_tests import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.pinned("ruff and mypy judge otherwise in each version"),
]


@pytest.mark.parametrize(
    "tool",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=["lint", "format", "types"],
)
def test_checkout_is_clean(tool: list[str]) -> None:
    """As configured in pyproject.toml."""
    answer = subprocess.run(
        [sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
