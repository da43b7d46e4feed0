"""`ReduceLROnPlateau` and `LearningRateScheduler`, epoch for epoch, beside Keras and without."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import RANDOM_STREAM
from parity_tests.training.rates.watched_runs import assert_same_run, fitted, resumed
from torch_impl import Callback, EarlyStopping, KerasAdam
from torch_impl.keras.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau

PLATEAU_OF_TODAY = pytest.mark.reference(
    "ReduceLROnPlateau compared in float64, and a NaN was never the best",
    keras=">=3.11", backend="tensorflow",
)  # fmt: skip

Made = tuple[str, dict[str, Any]]
Told = dict[str, list[Any]]
SCHEDULES: dict[str, Callable[[int, float], float]] = {
    "thirds": lambda epoch, rate: rate / 3 if epoch % 2 else rate,
    "of the epoch": lambda epoch, rate: 0.1 / (epoch + 3),
}


def callback_of(kind: str, options: dict[str, Any], optimizer: torch.optim.Optimizer) -> Callback:
    if kind == "EarlyStopping":
        return EarlyStopping(**options)
    if kind == "LearningRateScheduler":
        return LearningRateScheduler(SCHEDULES[options["schedule"]], optimizer)
    return ReduceLROnPlateau(optimizer, **options)


def told(
    values: list[float | None],
    callbacks: list[Made],
    learning_rate: float = 1e-3,
    dtype: str = "float32",
    monitor: str = "val_loss",
) -> Told:
    """What our callbacks make of a course, as `keras_ref.callbacks.courses` tells it."""
    model = nn.Linear(1, 1, dtype=getattr(torch, dtype))
    optimizer = KerasAdam(model.parameters(), lr=learning_rate)
    (group,) = optimizer.param_groups
    found: Told = {"rates": [], "logged": [], "counts": []}
    watching = [callback_of(*made, optimizer) for made in callbacks]
    for callback in watching:
        callback.on_train_begin(model)
    as_held = getattr(np, dtype)
    for epoch, value in enumerate(values):
        for callback in watching:
            callback.on_epoch_begin(epoch, model)
        rate = group["lr"]
        logs = {"loss": 1.0} | ({} if value is None else {monitor: value})
        for callback in watching:
            callback.on_epoch_end(epoch, logs, model)
        found["rates"].append(tuple(float(as_held(r)) for r in (rate, group["lr"])))
        found["logged"].append(logs.get("learning_rate"))
        found["counts"].append([
            (c.wait, c.cooldown_counter) for c in watching if isinstance(c, ReduceLROnPlateau)
        ])  # fmt: skip
        if any(callback.stop_training for callback in watching):
            break
    return found


def plateau(values: list[Any], dtype: str = "float32", rate: float = 1e-3, **options: Any) -> Any:
    return values, [("ReduceLROnPlateau", options)], rate, dtype


def drawn(count: int) -> dict[str, Any]:
    """Walks in steps of `min_delta` and halves of it, of which many are ties, both ways."""
    rng = np.random.default_rng(7)
    found = {}
    for place in range(count):
        least = float(rng.choice([1e-4, 1e-3, 0.01, 0.0]))
        sign = -1 if place % 2 else 1
        walk = np.cumsum(rng.choice([-2, -1, -0.5, 0, 0.5, 1], 50)) * (least or 1e-4)
        options = {
            "mode": "max" if sign < 0 else "min", "min_delta": float(least * rng.choice([-1, 1])),
            "factor": float(rng.choice([0.1, 0.3, 0.5])), "patience": int(rng.integers(0, 4)),
            "cooldown": int(rng.integers(0, 4)), "min_lr": float(rng.choice([0.0, 3e-4, 1e-5])),
        }  # fmt: skip
        values = [float(0.5 + sign * step) for step in walk]
        dtype = ("float32", "float64")[place // 2 % 2]
        found[f"walk {place}"] = plateau(values, dtype, **options)
    return found


FALLING = [0.5 - 1e-4 * epoch for epoch in range(12)]
FLAT: list[Any] = [1.0] * 8
COURSES: dict[str, Any] = {
    **drawn(16),
    **{
        f"falls of just min_delta, {dtype}": plateau(FALLING, dtype, patience=2)
        for dtype in ("float32", "float64")
    },
    "falls of what float32 does not hold": plateau(
        [0.5 - 2.0**-35 * epoch for epoch in range(8)], "float64", patience=3, min_delta=0.0
    ),
    "falls of an ULP": plateau(
        [0.5 - 2.0**-25 * epoch for epoch in range(8)], "float64", patience=3, min_delta=0.0
    ),
    "NaN first": plateau([math.nan, 1.0, 0.5, 0.25, 0.1, 0.0], patience=2),
    "NaN on the way": plateau([1.0, math.nan, math.nan, 0.5, math.nan, 0.4], patience=2),
    "infinity": plateau([math.inf, math.inf, 1.0, -math.inf, 0.0, 0.0], patience=1),
    "a cooldown": plateau(FLAT + [0.5] * 8, patience=2, cooldown=3),
    "no patience": plateau(FLAT, patience=0, cooldown=1),
    "defaults": plateau([1.0] * 25),
    "a floor": plateau(FLAT, patience=1, min_lr=2e-4, factor=0.5),
    "a floor in float64": plateau(FLAT, "float64", patience=1, min_lr=2e-4, factor=0.5, cooldown=1),
    "a floor above the rate": plateau(FLAT, patience=1, min_lr=0.5),
    "a floor that float32 does not tell from the rate": plateau(
        FLAT, "float64", 1e-3 * (1 + 1e-9), patience=1, min_lr=1e-3, cooldown=2
    ),
    "a factor below 0": plateau(FLAT, patience=1, factor=-1.0),
    "direction of a loss": (FALLING, [("ReduceLROnPlateau", {"monitor": "loss", "patience": 1})]),
    "nothing to monitor at times": plateau([1.0, None, 1.0, None, 1.0, 1.0], patience=2),
    "with early stopping": (
        FLAT,
        [
            ("EarlyStopping", {"monitor": "val_loss", "mode": "min", "patience": 5}),
            ("ReduceLROnPlateau", {"mode": "min", "patience": 2}),
            ("ReduceLROnPlateau", {"mode": "min", "patience": 3, "factor": 0.5}),
        ],
    ),
    **{
        f"{schedule}, {dtype}": (
            [1.0] * 6, [("LearningRateScheduler", {"schedule": schedule})], 1e-3, dtype,
        )
        for schedule in SCHEDULES
        for dtype in ("float32", "float64")
    },
    "both": (
        FLAT,
        [
            ("LearningRateScheduler", {"schedule": "thirds"}),
            ("ReduceLROnPlateau", {"mode": "min", "patience": 1, "cooldown": 1}),
        ],
    ),
}  # fmt: skip


@PLATEAU_OF_TODAY
@pytest.mark.filterwarnings("ignore:reducing the learning rate on")
def test_every_course_has_keras_rates_and_stop(keras: KerasProcess) -> None:
    """Rates to the bit in each epoch and after it, what is logged, waiting and cooldown."""
    theirs = keras.call("callbacks.courses", COURSES)
    for name, course in COURSES.items():
        assert told(*course) == theirs[name], name


# Rates of eight epochs from 1, halved; of quarters, which float32 holds.
WRITTEN_DOWN: dict[str, tuple[list[float], dict[str, Any], list[float]]] = {
    "patience-2": ([1, 1, 1, 1, 1, 1], {"patience": 2}, [1, 1, 0.5, 0.5, 0.25, 0.25]),
    "no-patience": ([1, 1, 1], {"patience": 0}, [1, 0.5, 0.25]),
    "an-improvement-between": ([3, 3, 2, 2, 2], {"patience": 2}, [1, 1, 1, 1, 0.5]),
    "too-small-an-improvement": (
        [3, 2.75, 2.5, 2.25], {"patience": 2, "min_delta": 0.5}, [1, 1, 0.5, 0.5],
    ),
    "upwards": ([1, 2, 1, 1], {"patience": 2, "mode": "max"}, [1, 1, 1, 0.5]),
    "a-cooldown": (
        [1, 1, 1, 1, 1, 1], {"patience": 1, "cooldown": 2}, [1, 0.5, 0.5, 0.25, 0.25, 0.125],
    ),
    "a-floor": ([1, 1, 1, 1], {"patience": 1, "min_lr": 0.375}, [1, 0.5, 0.375, 0.375]),
    "not-a-number-first": ([math.nan, 1, 0, -1], {"patience": 1}, [1, 0.5, 0.25, 0.125]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRITTEN_DOWN)
def test_a_rate_falls_in_the_epochs_written_down(case: str) -> None:
    """That of each group from where it stands."""
    values, options, expected = WRITTEN_DOWN[case]
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = KerasAdam([{"params": [weights[0]]}, {"params": [weights[1]], "lr": 2.0}], lr=1.0)
    options = {"factor": 0.5, "mode": "min", "min_delta": 0.0} | options
    reducing = ReduceLROnPlateau(optimizer, **options)
    model = nn.Linear(1, 1)
    reducing.on_train_begin(model)
    rates = []
    for epoch, value in enumerate(values):
        logs = {"val_loss": float(value)}
        before = [group["lr"] for group in optimizer.param_groups]
        reducing.on_epoch_end(epoch, logs, model)
        rates.append([group["lr"] for group in optimizer.param_groups])
        assert [logs["learning_rate_0"], logs["learning_rate_1"]] == before
    floor = options.get("min_lr", 0.0)
    assert [rate for rate, _ in rates] == expected
    if not floor:
        assert [rate for _, rate in rates] == [2 * rate for rate in expected]


def test_a_group_at_its_floor_stays_while_another_falls() -> None:
    """And the cooldown begins where any of them fell."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.25, 1.0)]
    optimizer = KerasAdam(groups)
    reducing = ReduceLROnPlateau(optimizer, "loss", factor=0.5, patience=1, cooldown=1, min_lr=0.25)
    rates = []
    for epoch in range(5):
        reducing.on_epoch_end(epoch, {"loss": 1.0}, nn.Linear(1, 1))
        rates.append([group["lr"] for group in optimizer.param_groups])
    assert rates == [[0.25, 1.0], [0.25, 0.5], [0.25, 0.25], [0.25, 0.25], [0.25, 0.25]]
    assert (reducing.wait, reducing.cooldown_counter) == (2, 0)


def test_a_rate_that_is_a_tensor_stays_that_tensor() -> None:
    """A captured step reads it."""
    rate = torch.tensor(1.0)
    optimizer = KerasAdam(nn.Linear(1, 1).parameters())
    optimizer.param_groups[0]["lr"] = rate
    LearningRateScheduler(lambda epoch, lr: lr / 4, optimizer).on_epoch_begin(0, nn.Linear(1, 1))
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.25


PLATEAU = {"factor": 0.5, "patience": 1, "min_delta": 0.01, "cooldown": 1, "min_lr": 1e-3}


@RANDOM_STREAM
@PLATEAU_OF_TODAY
def test_a_run_with_a_plateau_is_keras_run(keras: KerasProcess) -> None:
    """60 steps of Adam in double, with the rates in the history of both."""
    theirs = fitted.theirs(keras, rate=0.1, callbacks=[("ReduceLROnPlateau", PLATEAU)])
    model, history = fitted.ours(
        lambda optimizer: {"callbacks": [ReduceLROnPlateau(optimizer, **PLATEAU)]}, rate=0.1
    )
    assert_same_run((model, history), theirs)
    assert len(set(history.history["learning_rate"])) >= 4, "the rate falls now and then"


def all_of_them(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Several callbacks, each with a state of its own."""
    return {
        "callbacks": [
            LearningRateScheduler(SCHEDULES["thirds"], optimizer),
            ReduceLROnPlateau(optimizer, "loss", patience=2, min_delta=9.0, cooldown=1),
            ReduceLROnPlateau(optimizer, factor=0.5, patience=3, min_delta=9.0),
            EarlyStopping("loss", min_delta=9.0, patience=5, restore_best_weights=True),
        ]
    }  # fmt: skip


def test_a_resumed_run_goes_on_with_the_same_rates_and_stops_where_it_would(tmp_path: Path) -> None:
    """Six epochs, and three and three: weights, rates, history and each callback's state."""
    straight, interrupted = resumed(tmp_path, all_of_them)
    assert straight == interrupted
    rates = straight["history"].history["learning_rate"]
    assert rates[0] == float(np.float32(1e-3))
    assert all(b < a for a, b in zip(rates[1::2], rates[3::2], strict=False))
    assert straight["history"].epoch == [*range(6)]


@pytest.mark.parametrize("given", [None, 1, torch.tensor(0.5)])
def test_a_schedule_must_give_a_float(given: Any) -> None:
    """Keras refuses all else too."""
    scheduler = LearningRateScheduler(
        lambda epoch, rate: given, KerasAdam(nn.Linear(1, 1).parameters())
    )
    message = f"LearningRateScheduler: the schedule gave {given!r} in epoch 4; expected a float"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        scheduler.on_epoch_begin(4, nn.Linear(1, 1))
