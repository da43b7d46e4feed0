"""Keras's learning-rate schedules: the rate at each step, to the bit."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from parity_tests.judge.agreement import exact, ulp_distance
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import RANDOM_STREAM
from torch_impl import KerasAdam
from torch_impl.keras.callbacks import decays, schedules

Made = tuple[str, dict[str, Any]]


def optimizer_of(groups: int = 1) -> KerasAdam:
    """Of so many groups, each of one parameter."""
    return KerasAdam([{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(groups)])


def schedule_of(made: Made, optimizer: torch.optim.Optimizer) -> schedules.LearningRateSchedule:
    kind, options = made
    return getattr(schedules, kind)(optimizer, **options)


def drawn(kind: str, count: int) -> dict[str, Made]:
    """Schedules of one kind with numbers drawn at random, also where steps and restarts fall."""
    rng = np.random.default_rng(sum(map(ord, kind)))
    found = {}
    for place in range(count):
        rate = float(rng.choice([1e-3, 0.01, 0.1, rng.uniform(0, 1)]))
        steps = int(rng.choice([1, 7, 32, 41, 47, rng.integers(1, 150)]))
        share, flag = float(rng.choice([0.0, 0.1, rng.uniform(0, 1)])), bool(rng.integers(2))
        decay_rate = float(rng.choice([0.96, 0.5, rng.uniform(0.5, 1.2)]))
        options: dict[str, Any] = {"initial_learning_rate": rate, "decay_steps": steps}
        if kind in ("ExponentialDecay", "InverseTimeDecay"):
            options |= {"decay_rate": decay_rate, "staircase": flag}
        elif kind == "PolynomialDecay":
            power = (0.0, 0.5, 1.0, 1.7, 2.0, 3.0, 4.0)[place % 7]
            options |= {"end_learning_rate": rate * share, "power": power, "cycle": flag}
        elif kind == "CosineDecay":
            options |= {"alpha": share}
            if flag:
                warmup = int(rng.integers(0, 40))
                options |= {"warmup_target": 2 * rate, "warmup_steps": warmup}
        elif kind == "CosineDecayRestarts":
            options |= {"t_mul": (1.0, 1.5, 2.0, 3.0)[place % 4], "alpha": share}
            options |= {"m_mul": decay_rate, "first_decay_steps": options.pop("decay_steps")}
        else:
            bounds = [0, 3, 20.5, 20.5 + steps]
            options = {"boundaries": bounds, "values": [rate / (1 + i) for i in range(5)]}
        found[f"{kind} {place}"] = (kind, options)
    return found


DEFAULTS: dict[str, Made] = {
    "polynomial": ("PolynomialDecay", {"initial_learning_rate": 0.01, "decay_steps": 100}),
    "cosine": ("CosineDecay", {"initial_learning_rate": 0.01, "decay_steps": 100}),
    "restarts": (
        "CosineDecayRestarts", {"initial_learning_rate": 0.01, "first_decay_steps": 100},
    ),
    "exponential": (
        "ExponentialDecay",
        {"initial_learning_rate": 0.01, "decay_steps": 100, "decay_rate": 0.9},
    ),
    "inverse": (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.01, "decay_steps": 100, "decay_rate": 0.9},
    ),
}  # fmt: skip
KINDS = (
    "ExponentialDecay", "InverseTimeDecay", "PolynomialDecay", "PiecewiseConstantDecay",
    "CosineDecay", "CosineDecayRestarts",
)  # fmt: skip
STEPS = 100


@RANDOM_STREAM
def test_every_rate_is_the_bits_that_keras_trains_with(keras: KerasProcess) -> None:
    """At steps 0 to 99, as a graph computes them."""
    asked = DEFAULTS | {k: v for kind in KINDS for k, v in drawn(kind, 9).items()}
    theirs = keras.call("callbacks.schedules", asked, STEPS)
    for name, made in asked.items():
        schedule = schedule_of(made, optimizer_of())
        ours = np.array([schedule.rate(step) for step in range(STEPS)])
        result = exact(name, ours, np.array(theirs[name]))
        assert result.agree, (name, made[1], result.detail)


LATE = {"initial_learning_rate": 0.1, "decay_steps": 41, "decay_rate": 0.5, "staircase": True}


@RANDOM_STREAM
def test_keras_shows_another_rate_than_it_trains_with(keras: KerasProcess) -> None:
    """Op by op it divides: a staircase of 41 steps goes down with step 41, in a graph with 42."""
    asked = {"late": ("ExponentialDecay", LATE), **DEFAULTS}
    steps = [40, 41, 42]
    shown = keras.call("callbacks.schedules_op_by_op", asked, steps)
    trained_with = keras.call("callbacks.schedules", asked, 43)
    rates = [float(np.float32(rate)) for rate in (0.1, 0.05)]
    assert shown["late"] == [rates[0], rates[1], rates[1]]
    assert trained_with["late"][40:] == [rates[0], rates[0], rates[1]]
    off = {
        name: int(ulp_distance(np.float32(shown[name]), np.float32(trained_with[name][40:])).max())
        for name in DEFAULTS
    }
    assert 0 < max(off.values()) <= 16, off


# Of numbers whose every product and sum float32 holds.
WRITTEN_DOWN: dict[str, tuple[Made, dict[int, float]]] = {
    "exponential": (
        ("ExponentialDecay",
         {"initial_learning_rate": 0.5, "decay_steps": 4, "decay_rate": 0.25}),
        {0: 0.5, 2: 0.25, 4: 0.125, 8: 0.03125},
    ),
    "exponential-staircase": (
        ("ExponentialDecay",
         {"initial_learning_rate": 0.5, "decay_steps": 4, "decay_rate": 0.25, "staircase": True}),
        {0: 0.5, 3: 0.5, 4: 0.125, 7: 0.125, 8: 0.03125},
    ),
    "staircase-of-41": (
        ("ExponentialDecay", {**LATE, "initial_learning_rate": 0.5}), {40: 0.5, 41: 0.5, 42: 0.25},
    ),
    "inverse-time": (
        ("InverseTimeDecay",
         {"initial_learning_rate": 1.0, "decay_steps": 2, "decay_rate": 2.0}),
        {0: 1.0, 1: 0.5, 3: 0.25, 7: 0.125},
    ),
    "inverse-time-staircase": (
        ("InverseTimeDecay",
         {"initial_learning_rate": 1.0, "decay_steps": 2, "decay_rate": 1.0, "staircase": True}),
        {0: 1.0, 1: 1.0, 2: 0.5, 3: 0.5, 6: 0.25},
    ),
    "polynomial": (
        ("PolynomialDecay",
         {"initial_learning_rate": 1.0, "decay_steps": 4, "end_learning_rate": 0.5}),
        {0: 1.0, 1: 0.875, 3: 0.625, 4: 0.5, 9: 0.5},
    ),
    "polynomial-square-cycle": (
        ("PolynomialDecay",
         {"initial_learning_rate": 1.0, "decay_steps": 4, "end_learning_rate": 0.0,
          "power": 2.0, "cycle": True}),
        {0: 1.0, 2: 0.25, 4: 0.0, 6: 0.0625, 8: 0.0},
    ),
    "polynomial-root": (
        ("PolynomialDecay",
         {"initial_learning_rate": 1.0, "decay_steps": 4, "end_learning_rate": 0.0, "power": 0.5}),
        {0: 1.0, 3: 0.5, 4: 0.0},
    ),
    "piecewise": (
        ("PiecewiseConstantDecay", {"boundaries": [2, 4.75], "values": [1.0, 0.5, 0.25]}),
        {0: 1.0, 2: 1.0, 3: 0.5, 4: 0.5, 5: 0.25, 99: 0.25},
    ),
    "cosine": (
        ("CosineDecay", {"initial_learning_rate": 1.0, "decay_steps": 8, "alpha": 0.25}),
        {0: 1.0, 8: 0.25, 99: 0.25},
    ),
    "cosine-behind-a-warm-up": (
        ("CosineDecay",
         {"initial_learning_rate": 0.5, "decay_steps": 8, "alpha": 0.25, "warmup_target": 1.0,
          "warmup_steps": 4}),
        {0: 0.5, 1: 0.625, 2: 0.75, 4: 1.0, 12: 0.25, 99: 0.25},
    ),
    "restarts": (
        ("CosineDecayRestarts",
         {"initial_learning_rate": 1.0, "first_decay_steps": 4, "t_mul": 2.0, "m_mul": 0.5}),
        {0: 1.0, 4: 0.5, 12: 0.25},
    ),
    "restarts-of-one-length": (
        ("CosineDecayRestarts",
         {"initial_learning_rate": 1.0, "first_decay_steps": 4, "t_mul": 1.0, "m_mul": 0.5,
          "alpha": 0.5}),
        {0: 1.0, 4: 0.75, 8: 0.625},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRITTEN_DOWN)
def test_rates_are_those_written_down(case: str) -> None:
    """In every group, from the moment the schedule is made."""
    made, expected = WRITTEN_DOWN[case]
    optimizer = optimizer_of(groups=2)
    schedule = schedule_of(made, optimizer)
    for step in range(max(expected) + 1):
        if step in expected:
            rates = [group["lr"] for group in optimizer.param_groups]
            assert rates == schedule.get_last_lr() == [expected[step]] * 2, step
        optimizer.step()
        schedule.step()


def test_a_schedule_goes_on_where_the_optimizer_stands() -> None:
    """As one that has seen its steps."""
    options = WRITTEN_DOWN["exponential"][0][1]
    optimizer = optimizer_of()
    schedule = schedules.ExponentialDecay(optimizer, **options, last_epoch=3)
    assert optimizer.param_groups[0]["lr"] == 0.125
    assert schedule.get_last_lr() == [schedule.rate(4)]


OUT_OF_RANGE: dict[str, tuple[str, dict[str, Any], str]] = {
    "an-int": (
        "ExponentialDecay", {"initial_learning_rate": 1, "decay_steps": 1, "decay_rate": 1.0},
        "exponential_decay: initial_learning_rate=1; expected a Python float (Keras would",
    ),
    "a-float-of-numpy": (
        "PiecewiseConstantDecay", {"boundaries": [1], "values": [0.5, np.float64(0.25)]},
        "piecewise_constant_decay: values=np.float64(0.25); expected a Python float",
    ),
    "no-steps": (
        "InverseTimeDecay", {"initial_learning_rate": 1.0, "decay_steps": 0, "decay_rate": 1.0},
        "inverse_time_decay: decay_steps=0; expected it to be above 0",
    ),
    "no-steps-of-cosine": (
        "CosineDecay", {"initial_learning_rate": 1.0, "decay_steps": -3},
        "cosine_decay: decay_steps=-3; expected it to be above 0",
    ),
    "power": (
        "PolynomialDecay", {"initial_learning_rate": 1.0, "decay_steps": 2, "power": -1.0},
        "polynomial_decay: power=-1.0; expected it to be 0 or more",
    ),
    "warm-up": (
        "CosineDecay",
        {"initial_learning_rate": 1.0, "decay_steps": 1, "warmup_target": 1.0, "warmup_steps": -1},
        "cosine_decay: warmup_steps=-1; expected a whole number from 0",
    ),
    "shorter-restarts": (
        "CosineDecayRestarts", {"initial_learning_rate": 1.0, "first_decay_steps": 1, "t_mul": 0.5},
        "cosine_decay_restarts: t_mul=0.5; expected it to be 1 or more",
    ),
    **{
        f"boundaries-{name}": (
            "PiecewiseConstantDecay", {"boundaries": bounds, "values": [1.0] * values},
            f"piecewise_constant_decay: boundaries={bounds} with {values} values; expected rising",
        )
        for name, bounds, values in (
            ("none", [], 1), ("too-many", [2], 1), ("equal", [2, 2], 3), ("falling", [2, 1], 3),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("case", OUT_OF_RANGE)
def test_numbers_out_of_range_are_refused_when_the_schedule_is_made(case: str) -> None:
    """With what came and what was expected."""
    kind, options, message = OUT_OF_RANGE[case]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        schedule_of((kind, options), optimizer_of())


def test_without_the_c_library_rates_are_rounded_from_double(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An ULP away at most, for each of the three functions."""

    def refuse(_: object) -> None:
        raise OSError

    numbers = np.linspace(0.01, 3.0, 500, dtype="f4")
    asked = [("powf", (x, np.float32(1.7))) for x in numbers]
    asked += [(name, (x,)) for name in ("cosf", "logf") for x in numbers]
    libm = np.array([decays._c(name, *x) for name, x in asked])
    decays._c_function.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    try:
        rounded = np.array([decays._c(name, *x) for name, x in asked])
    finally:
        decays._c_function.cache_clear()
    assert ulp_distance(libm, rounded).max() <= 1
    assert not np.array_equal(libm, rounded), "the C library's are not correctly rounded"
