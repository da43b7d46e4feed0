"""Weights kept on the way of a run, which must not change the run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from parity_tests.record.recorded_case import compare_exactly
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.sides.step_trace import spread_steps
from parity_tests.sides.training_pair import torch_fit

ROWS = np.random.default_rng(0).normal(size=(250, 7)).astype(np.float32)
LABELS = (ROWS[:, :1] > 0.5).astype(np.float32)
RUN: dict[str, Any] = {"seed": 5, "epochs": 2, "batch_size": 100, "validation_data": (ROWS, LABELS)}
STEPS = (1, 3, 4, 6)  # of 3 in each epoch, the last of 50 rows


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "class-weighted"])
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_a_watched_run_ends_on_the_same_bits(compiled: bool, weighted: bool) -> None:
    """Weights, moments and history are those of the run that nobody watched."""
    options = {**RUN, "class_weight": {0: 0.6, 1: 3.0} if weighted else None, "compiled": compiled}
    plain = torch_fit(ROWS, LABELS, **options)
    watched = torch_fit(ROWS, LABELS, **options, trace=STEPS)
    assert len(watched.pop("trace")) == len(STEPS)
    assert plain.pop("trace") == []
    for row in compare_exactly({}, watched, plain):
        assert row.agree, f"{row.stage}: {row.detail}"


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_weights_are_those_after_the_step(compiled: bool) -> None:
    """The third step ends the first epoch, the sixth the second; a kept array stays as it was."""
    run = torch_fit(ROWS, LABELS, **RUN, compiled=compiled, trace=STEPS)
    one_epoch = torch_fit(ROWS, LABELS, **{**RUN, "epochs": 1}, compiled=compiled)
    for name, last in run["final"].items():
        np.testing.assert_array_equal(run["trace"][1][name], one_epoch["final"][name])
        np.testing.assert_array_equal(run["trace"][3][name], last)
        assert not np.array_equal(run["trace"][0][name], run["trace"][1][name])


def test_keras_is_not_disturbed_either(keras: KerasProcess) -> None:
    """A callback between steps, and Adam's variables made before the first, change no bit."""
    options = {**RUN, "metrics": False}  # which change no weight, and take twice as long
    plain = keras.call("training.fit", ROWS, LABELS, **options, built=False)
    watched = keras.call("training.fit", ROWS, LABELS, **options, trace=STEPS)
    trace = watched.pop("trace")
    assert plain.pop("trace") == []
    for row in compare_exactly({}, watched, plain):
        assert row.agree, f"{row.stage}: {row.detail}"
    for name, last in plain["final"].items():
        np.testing.assert_array_equal(trace[1][name], plain["weights"][0][name])
        np.testing.assert_array_equal(trace[3][name], last)


def test_long_runs_are_watched_densely_at_the_start_and_at_the_end() -> None:
    """So that a hundred epochs cost no more than two."""
    assert spread_steps(5) == (1, 2, 3, 4, 5)
    steps = spread_steps(9000)
    assert len(steps) <= 200
    assert steps[:3] == (1, 2, 3)
    assert steps[-1] == 9000
    assert list(steps) == sorted(set(steps))
