"""Hundreds of mutated Keras files do nothing but raise one kind of error."""

from __future__ import annotations

from unittest import mock

import pytest

from parity_tests.files.hostile import MEBIBYTES, SECONDS
from parity_tests.fuzz import __main__ as fuzz


def test_mutated_files_are_read_or_refused_in_time() -> None:
    """300 of them, the same on every run; both outcomes occur."""
    outcome = fuzz.run(300, seed=0, traced=False)
    assert outcome.read + outcome.refused == 300
    assert min(outcome.read, outcome.refused) > 50
    assert outcome.slowest_seconds < SECONDS


@pytest.mark.slow
def test_mutated_files_take_little_memory() -> None:
    """150 others, since measuring it is what takes long."""
    outcome = fuzz.run(150, seed=1)
    assert min(outcome.read, outcome.refused) > 30
    assert 0 < outcome.peak_bytes < MEBIBYTES << 20


def test_a_reader_that_fails_otherwise_is_found() -> None:
    """The error names the case, so that it can be run again."""
    with (
        mock.patch.object(fuzz, "read_keras", side_effect=IndexError("x")),
        pytest.raises(AssertionError, match="seed 3, case 0: IndexError"),
    ):
        fuzz.run(5, seed=3)
