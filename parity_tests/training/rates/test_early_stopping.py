"""`EarlyStopping` alone, on courses written down: when it stops, and what it carries over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from parity_tests.record.recorded_training import stopped_run
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import BEST_WEIGHTS
from torch_impl import EarlyStopping, FeatureTransform


def stopped_at(course: Sequence[float], monitor: str = "val_loss", **options: Any) -> int | None:
    """The epoch after which a run on this course would end."""
    stopping, model = EarlyStopping(monitor, **options), nn.Linear(1, 1)
    stopping.on_train_begin(model)
    for epoch, value in enumerate(course):
        stopping.on_epoch_end(epoch, {monitor: value}, model)
        if stopping.stop_training:
            assert stopping.stopped_epoch == epoch
            return epoch
    return None


def test_by_default_the_first_rise_of_the_validation_loss_stops() -> None:
    """Keras's defaults: `val_loss`, no patience, downwards, no least difference."""
    default = EarlyStopping()
    assert (default.monitor, default.restore_best_weights) == ("val_loss", False)
    assert stopped_at([3.0, 2.0, 2.5, 1.0]) == 2
    assert stopped_at([3.0, 3.5]) == 1


def test_standing_still_is_no_improvement() -> None:
    """The same number again counts as waiting."""
    assert stopped_at([2.0, 2.0, 2.0, 2.0], patience=2) == 2


@pytest.mark.parametrize(("mode", "sign"), [("min", -1), ("max", 1)])
def test_an_improvement_is_more_than_the_least_difference(mode: str, sign: int) -> None:
    """Steps of 0.25 where 0.5 are asked for stop the run; steps of 0.75 do not."""
    for length, stopped in ((0.25, 1), (0.5, 1), (0.75, None)):
        course = [sign * length * epoch for epoch in range(4)]
        assert stopped_at(course, mode=mode, min_delta=0.5) == stopped, length


@pytest.mark.parametrize(
    ("monitor", "mode", "rising_is_good"),
    [
        ("val_loss", "auto", False),
        ("Brier score", "auto", False),
        ("val_cross entropy", "auto", False),
        ("val_auc", "auto", True),
        ("prc", "auto", True),
        ("val_loss", "max", True),
        ("val_auc", "min", False),
    ],
)
def test_the_direction_is_the_monitors_own_or_the_one_given(
    monitor: str, mode: str, rising_is_good: bool
) -> None:
    """What is given wins."""
    assert stopped_at([1.0, 2.0, 3.0], monitor, mode=mode) == (None if rising_is_good else 1)
    assert stopped_at([3.0, 2.0, 1.0], monitor, mode=mode) == (1 if rising_is_good else None)


def test_waiting_starts_anew_only_below_the_baseline() -> None:
    """A best that is not good enough goes on being waited for."""
    course = [5.0, 6.0, 6.0, 6.0]
    assert stopped_at(course, patience=3, baseline=1.0) == 2
    assert stopped_at(course, patience=3, baseline=5.5) == 3
    assert stopped_at(course, patience=3) == 3


def test_the_epochs_at_the_start_are_not_looked_at() -> None:
    """Neither for the best nor for waiting."""
    assert stopped_at([1.0, 2.0, 3.0, 4.0], start_from_epoch=2) == 3


DOWN = [4.0, 3.0, 2.5, 2.25, 2.0, 3.0, 3.0]
UP = [-value for value in DOWN]
# Epochs run, the epoch told as stopped, the best one, and the one whose weights it ends on.
COURSES: dict[str, tuple[list[float], dict[str, Any], tuple[int, int, int, int]]] = {
    "patience 1": ([2.0, 1.0, 1.5, 0.0], {"patience": 1}, (3, 2, 1, 1)),
    "patience 2": ([2.0, 1.0, 1.5, 1.5, 0.0], {"patience": 2}, (4, 3, 1, 1)),
    "a pause in the waiting": (
        [3.0, 4.0, 2.0, 4.0, 4.0, 4.0], {"patience": 2}, (5, 4, 2, 2),
    ),
    "a least difference": (DOWN, {"patience": 2, "min_delta": 0.5}, (6, 5, 3, 3)),
    "a least difference, upwards": (
        UP, {"patience": 2, "min_delta": 0.5, "mode": "max"}, (6, 5, 3, 3),
    ),
    "a least difference below 0": (DOWN, {"patience": 2, "min_delta": -0.5}, (6, 5, 3, 3)),
    "a least difference below 0, upwards": (
        UP, {"patience": 2, "min_delta": -0.5, "mode": "max"}, (6, 5, 3, 3),
    ),
    "a baseline, never reached": (DOWN, {"patience": 2, "baseline": 1.0}, (6, 5, 4, 4)),
    "a baseline, reached late": (
        [4.0, 3.0, 2.0, 3.0, 3.0, 3.0], {"patience": 3, "baseline": 2.5}, (6, 5, 2, 2),
    ),
    "a baseline, by less than the least difference": (
        [4.0, 2.0, 3.0, 3.0, 3.0], {"patience": 3, "baseline": 2.25, "min_delta": 0.5},
        (3, 2, 1, 1),
    ),
    "a baseline, by less than the least difference, upwards": (
        [-4.0, -2.0, -3.0, -3.0, -3.0],
        {"patience": 3, "baseline": -2.25, "min_delta": 0.5, "mode": "max"}, (3, 2, 1, 1),
    ),
    "a start from epoch 2": (
        [1.0, 1.0, 3.0, 2.0, 3.0, 3.0], {"patience": 2, "start_from_epoch": 2}, (6, 5, 3, 3),
    ),
    "no stop, best in the middle": ([3.0, 1.0, 2.0], {"patience": 9}, (3, 0, 1, 1)),
    "no stop, the last weights": (
        [3.0, 1.0, 2.0], {"patience": 9, "restore_best_weights": False}, (3, 0, 1, 2),
    ),
    "a stop, the last weights": (
        [3.0, 1.0, 2.0], {"restore_best_weights": False}, (3, 2, 1, 2),
    ),
}  # fmt: skip
TOLD = ("epochs", "stopped_epoch", "best_epoch", "weights_of")


def asked(course: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Arguments of both frameworks' early stopping, and what is expected of them."""
    values, options, expected = COURSES[course]
    fixed = {"values": values, "monitor": "val_loss", "mode": "min", "restore_best_weights": True}
    return fixed | options, dict(zip(TOLD, expected, strict=True))


@pytest.mark.parametrize("course", COURSES)
def test_a_course_ends_in_the_epoch_and_on_the_weights_written_down(course: str) -> None:
    """Of sums and comparisons of quarters, which float32 holds exactly."""
    arguments, expected = asked(course)
    assert stopped_run(device="cpu", **arguments) == expected


@BEST_WEIGHTS
def test_keras_ends_every_course_as_written_down(keras: KerasProcess) -> None:
    """The same table, asked of Keras."""
    for course in COURSES:
        arguments, expected = asked(course)
        assert keras.call("training.early_stopping", **arguments) == expected, course


@pytest.mark.parametrize("before", [[], [FeatureTransform([0.0], [1.0])]], ids=["", "transform"])
def test_the_best_weights_come_back_and_not_the_last(before: list[nn.Module]) -> None:
    """A copy: training on does not change it. What is no weight, as a transform's clip, stays."""
    linear = nn.Linear(1, 1)
    stopping = EarlyStopping(restore_best_weights=True, patience=9)
    model = nn.Sequential(*before, linear)
    for epoch, value in enumerate([2.0, 1.0, 3.0]):
        with torch.no_grad():
            linear.weight.fill_(value)
        stopping.on_epoch_end(epoch, {"val_loss": value}, model)
    stopping.on_train_end(model)
    assert linear.weight.item() == 1.0
