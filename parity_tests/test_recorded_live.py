"""The recordings are what the installed Keras still answers."""

from __future__ import annotations

import pytest

from parity_tests.keras_process import KerasProcess
from parity_tests.recorded import CASES
from parity_tests.recording_file import Recordings


@pytest.mark.parametrize("name", CASES)
def test_keras_still_answers_what_was_recorded(
    name: str, keras: KerasProcess, recordings: Recordings
) -> None:
    """By the kind of agreement that is due between Keras and PyTorch: bits exactly.

    The version may be another than the one recorded, and the processor may sum otherwise.
    """
    case, call = CASES[name], recordings.calls[name]
    for row in case.verdict(call, keras.call(case.function, **call.inputs)):
        assert row.agree, f"{row.stage}: {row.detail}"
