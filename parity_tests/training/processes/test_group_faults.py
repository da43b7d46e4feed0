"""A group that loses a member, or whose members were given different things, ends and says so."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from parity_tests.record.recorded_case import compare_exactly
from parity_tests.training.processes import work
from parity_tests.training.processes.group import Group, in_group
from parity_tests.training.small_runs import rows_and_labels
from torch_impl import CheckpointError
from torch_impl.base.processes import ProcessLostError

KILLS, EPOCHS = 5, 40
BOUND = 20
"""Seconds within which all have ended; torch's own patience with the living is longer."""


def epochs_in(checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    with safe_open(checkpoint, "np") as file:
        return len(json.loads(file.metadata()["facts"])["epoch"])


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_another_number_goes_on(tmp_path: Path) -> None:
    """SIGKILL of one of two to four, at any moment, five times; each time a whole file stays.

    Every other process says that one is gone and what it goes on from. In the end the bits are
    those of the run of one process that nobody killed.
    """
    draw, checkpoint = random.Random(0), tmp_path / "run.safetensors"
    options = {"epochs": EPOCHS, "validation_data": rows_and_labels(130)}
    reached, mid_way = [], 0
    for kill in range(KILLS):
        count = draw.choice((2, 3, 4))
        before = epochs_in(checkpoint)
        with Group(count, partial(work.slow_fit, **options, checkpoint=checkpoint)) as group:
            group.meet()
            wanted = min(before + draw.randrange(4), EPOCHS - KILLS + kill)
            until = time.monotonic() + BOUND
            while epochs_in(checkpoint) < wanted and time.monotonic() < until:
                time.sleep(0.001)
            time.sleep(draw.random() * 0.03)
            victim = draw.randrange(count)
            killed_at = time.monotonic()
            group.members[victim].kill()
            answers = group.answers()
        assert time.monotonic() - killed_at < BOUND
        for rank, answer in enumerate(answers):
            if rank == victim:
                assert answer is None
                continue
            assert isinstance(answer, ProcessLostError), answer
            assert "\n" not in str(answer)
            # Not while they compare what they were given.
            mid_way += str(answer).endswith(f"; the same call goes on from {checkpoint}")
        reached.append(epochs_in(checkpoint))
    assert reached == sorted(reached)
    assert len(set(reached)) > KILLS / 2
    assert mid_way > KILLS
    (straight,) = in_group(1, partial(work.slow_fit, **options))
    for answer in in_group(2, partial(work.slow_fit, **options, checkpoint=checkpoint)):
        for row in compare_exactly({}, answer, straight):
            assert row.agree, f"{row.stage}: {row.detail}"


@pytest.mark.slow
def test_two_runs_on_one_checkpoint_refuse_each_other(tmp_path: Path) -> None:
    """All of the second group's members say so; the first run ends as if there had been none."""
    checkpoint = tmp_path / "run.safetensors"
    fit = partial(work.slow_fit, epochs=100, checkpoint=checkpoint)
    with Group(2, fit) as first:
        until = time.monotonic() + BOUND
        while not epochs_in(checkpoint) and time.monotonic() < until:
            time.sleep(0.01)
        with Group(2, fit) as second:
            for answer in second.answers():
                assert isinstance(answer, CheckpointError)
                assert "another run is writing it" in str(answer)
        for answer in first.answers():
            assert not isinstance(answer, Exception), answer


X, Y = rows_and_labels(300)
OTHER_X = X.copy()
OTHER_X[-1, -1] = np.nextafter(OTHER_X[-1, -1], np.float32(9))
DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "x": ({"data": (OTHER_X, Y)}, "x: float32"),
    "labels": ({"data": (X, 1 - Y)}, "y: float32"),
    "rows": ({"rows": 299}, "x: float32[299, 5]"),
    "weights": ({"weights_seed": 4}, "weights: {'hidden.weight': "),
    "batch-size": ({"batch_size": 100}, "batch_size: 100, there 200"),
    "seed": ({"seed": 4}, "seed: 4, there 3"),
    "epochs": ({"epochs": 3}, "epochs: 3, there 2"),
    "weights-of-rows": ({"class_weight": {0: 1.0, 1: 2.0}}, "weight of rows: float32"),
    "validation": ({"validation_data": (X, Y)}, "validation_data: ["),
    "loss": ({"loss": "mean_squared_error"}, "loss: "),
    "path": ({"compiled": False}, "compiled: False, there True"),
}


def test_a_process_that_was_given_other_things_is_named() -> None:
    """By all of them, before anything is trained."""
    alike = [{}] * len(DIFFERENT)
    others = [options for options, _ in DIFFERENT.values()]
    with Group(3, work.faults, [(alike,), (others,), (alike,)], patience=20) as group:
        for answer in group.answers():
            assert isinstance(answer, list), answer
            for (name, (_, told)), line in zip(DIFFERENT.items(), answer, strict=True):
                start = "fit: process 1 was given other things than process 0: "
                assert (line[: len(start)], told in line) == (start, True), (name, line)


def test_a_process_of_other_code_is_named() -> None:
    """By what its sources hold."""
    with Group(2, work.fit_of_other_code, [(False,), (True,)]) as group:
        for answer in group.answers():
            assert "process 1 was given other things than process 0: code of torch_impl: " in str(
                answer
            )


@pytest.mark.parametrize(
    ("count", "options", "told"),
    [
        (2, {"model": "batch-norm"}, "fit: 1 is a BatchNorm1d, which would take one"),
        pytest.param(
            1, {"model": "parallel", "compiled": False, "same_bits": True},
            "fit: the module is a DistributedDataParallel", marks=pytest.mark.slow,
        ),
    ],
    ids=["batch-norm", "parallel"],
)  # fmt: skip
def test_a_module_that_cannot_be_shared_out_is_refused(
    count: int, options: dict[str, Any], told: str
) -> None:
    """In one line that says what to give."""
    for (line,) in in_group(count, work.faults, [options]):
        assert line.startswith(told)


def test_what_the_first_process_finds_or_fails_at_reaches_all() -> None:
    """The others do not look themselves."""
    answers = in_group(3, work.from_first, "")
    assert {found for found, _ in answers} == {answers[0][1]}
    with Group(3, work.from_first, ("no such thing",)) as group:
        for answer in group.answers():
            assert isinstance(answer, OSError)
            assert str(answer) == "no such thing"


def test_a_run_without_a_seed_is_one_run() -> None:
    """The order that the first process draws is everybody's."""
    first, second = in_group(2, partial(work.small_fit, seed=None))
    for row in compare_exactly({}, second, first):
        assert row.agree, f"{row.stage}: {row.detail}"


@pytest.mark.slow
def test_a_stopped_process_is_waited_for_no_longer_than_the_group_waits() -> None:
    """It lives, and its connection with it: the group's own patience ends the wait."""
    with Group(2, partial(work.slow_fit, epochs=2000), patience=1.5) as group:
        group.meet()
        time.sleep(0.5)
        os.kill(group.members[1].pid, signal.SIGSTOP)
        stopped_at = time.monotonic()
        group.members[0].join(BOUND)
        assert time.monotonic() - stopped_at < BOUND
        assert isinstance(group.answer(0), ProcessLostError)
