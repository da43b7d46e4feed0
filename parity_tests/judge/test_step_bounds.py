"""Bounds of a training step, of a loss and of features count their roundings, by hand."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from parity_tests.judge import bounds, sigmoid
from parity_tests.judge.agreement import within

NAMES = ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).normal(size=shape).astype(np.float32)).astype(float)


class Network(NamedTuple):
    """One unit of one feature, on rows that are all the same."""

    x: float
    weights: tuple[float, float, float, float]
    label: float = 0.0
    kept: float = 1.0
    sample_weight: tuple[float, ...] | None = None


def gradients_of(case: Network) -> dict[str, bounds.Bounded]:
    rows = len(case.sample_weight or (1,))
    w1, b1, w2, b2 = (np.float32([w]) for w in case.weights)
    return bounds.gradients(
        np.full((rows, 1), case.x, np.float32),
        np.full((rows, 1), case.label, np.float32),
        dict(zip(NAMES, (w1[None], b1, w2[None], b2), strict=True)),
        np.full((rows, 1), case.kept),
        None if case.sample_weight is None else np.float32(case.sample_weight)[:, None],
    )


SIGMOID_OF = {z: 1 / (1 + math.exp(-z)) for z in (-1.5, -1, -0.5, 0.25, 0.5, 1, 1.5)}


# Counted by hand, in roundings of u: a sum of one product is rounded twice, and so on. The logit
# is 0 in each, where a sigmoid's slope is a quarter; 24 are those of a logit's gradient.
@pytest.mark.parametrize(
    ("case", "values", "roundings"),
    [
        pytest.param(
            Network(1, (1, 0, 1, -1)), (0.5, 0.5, 0.5, 0.5), (29.5, 29.5, 29.5, 27.5), id="one-row"
        ),
        pytest.param(
            Network(1, (1, 0, 1, -1), 1, sample_weight=(2, 4)),
            (-1.5, -1.5, -1.5, -1.5), (90, 90, 90, 84), id="two-weighted-rows",
        ),
        pytest.param(
            Network(1, (1, 0, 1, 0), kept=0), (0, 0, 0, 0.5), (0, 0, 0, 25.5), id="dropped"
        ),
        pytest.param(
            Network(2, (0.5, 0, -0.5, 1), kept=2), (-1, -0.5, 1, 0.5), (59, 29.5, 59, 27.5),
            id="kept-of-two",
        ),
        pytest.param(
            Network(1, (1, -1, 1, 0)), (0, 0, 0, 0.5), (2.0**23, 2.0**23, 2, 26.5), id="on-the-edge"
        ),
        pytest.param(
            Network(1, (1, -1, 2, 0), kept=2), (0, 0, 0, 0.5),
            (2.0**25 + 118, 2.0**25 + 118, 4, 29.5), id="on-the-edge-and-kept",
        ),
        pytest.param(  # whose logit may be a quarter either way
            Network(1, (1, -1, 2.0**20, 0)), (0, 0, 0, 0.5),
            (SIGMOID_OF[0.25] * 2.0**44, SIGMOID_OF[0.25] * 2.0**44, 4 * SIGMOID_OF[0.25],
             (SIGMOID_OF[0.25] - 0.5) * 2.0**24 + 24 + 3 * SIGMOID_OF[0.25]),
            id="on-the-edge-of-a-large-weight",
        ),
        pytest.param(
            Network(1, (1, 4 * 2.0**-24 - 1, 1, 0)), (0.5, 0.5, 2.0**-23, 0.5),
            (27 + 1.5 + 2.0**23, 27 + 1.5 + 2.0**23, 2, 26.5), id="beside-the-edge",
        ),
        pytest.param(
            Network(1, (1, 5 * 2.0**-24 - 1, 1, 0)), (0.5, 0.5, 2.5 * 2.0**-24, 0.5),
            (28.5, 28.5, 2, 26.5), id="off-the-edge",
        ),
    ],
)  # fmt: skip
def test_bound_of_a_gradient_counts_its_roundings(
    case: Network, values: tuple[float, ...], roundings: tuple[float, ...]
) -> None:
    """And no more; where a unit may be on or off, the whole gradient that is at stake."""
    for (name, found), value, count in zip(
        gradients_of(case).items(), values, roundings, strict=True
    ):
        assert found.value.shape == found.allowance.shape == ((1, 1) if "kernel" in name else (1,))
        # The logit is 0 or some u, and so is what its gradient is off a half.
        assert abs(found.value.item() - value) <= 4 * bounds.U32
        # γₙ is n u and n² u² and so on, of at most 90 roundings; what underflows counts too.
        slack = count * 2.0**-16 + 8 * sigmoid.TINY * 2.0**24
        assert count - slack <= found.allowance.item() * 2.0**24 <= count + slack, name


@pytest.mark.parametrize("logit", [-1, 1])
def test_bound_of_a_gradient_carries_both_ends_of_its_logit(logit: int) -> None:
    """Of a logit that may be off by a half, the end where the sigmoid is steeper."""
    found = gradients_of(Network(2.0**20, (1, 0, 1, logit - 2.0**20)))["dense_1/bias"]
    p, steep = SIGMOID_OF[logit], SIGMOID_OF[logit / 2]
    assert abs(found.value.item() - p) <= 2 * bounds.U64
    assert abs(found.allowance.item() - abs(p - steep)) <= 2.0**-18


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_bound_of_a_gradient_that_is_nothing_is_of_underflow_alone(rows: int) -> None:
    """Each of n products and n sums may end below the smallest normal number."""
    found = gradients_of(Network(1, (1, 0, 1, 0), kept=0, sample_weight=(1,) * rows))
    for name in NAMES[:3]:
        expected = 2 * Fraction(sigmoid.TINY) * (2 * rows + 1)
        # Bounds are computed in float64, and widened by 2**-30 for it.
        most = expected * (1 + Fraction(1, 2**29))
        assert expected <= Fraction(found[name].allowance.item()) <= most


BETA1, BETA2 = float(np.float32(0.9)), float(np.float32(0.999))  # as float32 holds them
# lr √(1 - β₂) (1 - 0.9) / ((1 - β₁) √(1 - 0.999)): a step where ε is nothing
STEP = 1e-3 * math.sqrt(1 - BETA2) / (1 - BETA1) * 0.1 / math.sqrt(1 - 0.999)
ROOT = 1e-7 / math.sqrt(1 - 0.999)
"""The gradient whose √v is ε: it moves a weight by half a step."""


@pytest.mark.parametrize(
    ("g", "error", "step", "carried"),
    [
        (0.0, 0.0, 0.0, 0.0),
        (ROOT, 0.0, STEP / 2, 0.0),
        (-ROOT, 0.0, -STEP / 2, 0.0),
        (0.0, ROOT, 0.0, STEP / 2),
        (ROOT, ROOT, STEP / 2, STEP / 2),
        (ROOT, 2 * ROOT, STEP / 2, STEP),
        (-ROOT, 2 * ROOT, -STEP / 2, STEP),
        (3 * ROOT, 2 * ROOT, STEP * 3 / 4, STEP / 4),
    ],
)
@pytest.mark.parametrize("weight", [0.0, -0.5])
def test_bound_of_adams_first_step_is_its_value_at_both_ends(
    g: float, error: float, step: float, carried: float, weight: float
) -> None:
    """And the roundings of a step, a moment and a sum, counted; at lr 1e-3 or at another."""
    u, size = 2.0**-24, abs(g) + error
    moved = abs(step) + carried
    expected = {
        "momentum": (0.1 * g, 0.1 * (error + 4 * u * size)),
        "velocity": (
            0.001 * g * g,
            0.001 * ((2 * abs(g) + error) * error + 5 * u * size**2) + 2.0**-126,
        ),
        "weight": (weight - step, carried + 12 * u * moved + u * (abs(weight) + moved)),
    }
    scale = {"momentum": size, "velocity": 0.001 * size**2, "weight": moved}
    gradient = bounds.Bounded(np.array([g]), np.array([error]))
    found = bounds.first_adam_step(np.array([weight]), gradient)
    faster = bounds.first_adam_step(np.array([weight]), gradient, lr=4e-3)["weight"]
    assert list(found) == list(expected)
    for name, (value, allowance) in expected.items():
        assert abs(found[name].value[0] - value) <= 2.0**-44 * abs(value)
        slack = 2.0**-16 * u * scale[name] + 2.0**-44 * (allowance + moved * (name == "weight"))
        assert abs(found[name].allowance[0] - allowance) <= slack, name
    assert abs(faster.value[0] - (weight - 4 * step)) <= 2.0**-44 * abs(weight - 4 * step)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_bound_of_a_clipped_loss_counts_its_roundings(label: float) -> None:
    """Ten of the loss, of which eight are a logarithm's 4 ULP, and one of 1 - p."""
    p = np.float32([0.0, 2.0**-20, 0.25, 0.5, 0.75, 1 - 2.0**-20, 1.0])
    edge = float(np.float32(1e-7))
    inside = np.clip(p.astype(float), edge, float(np.float32(1) - np.float32(1e-7)))
    expected = -np.log(inside) if label else -np.log1p(-inside)
    value, allowance = bounds.clipped_crossentropy(p, np.full_like(p, label))
    assert (np.abs(value - expected) <= 4 * bounds.U64 * np.abs(expected)).all()
    counted = (10 * expected + 1) * 2.0**-24
    assert ((allowance >= counted) & (allowance <= counted * (1 + 2.0**-18))).all()


def amount(logarithm: float) -> float:
    return math.exp(logarithm) - 0.001


@pytest.mark.parametrize(
    ("train", "row", "log_column", "value", "roundings"),
    [
        ([-1, 1], 3, None, 3, 68),
        ([-1, 1], -3, None, -3, 68),
        ([0, 2], 4, None, 3, 68),
        ([-2, 2, -2, 2], 2, None, 1, 40),
        ([amount(1), amount(-1)], amount(1), -1, 1, 172),
        ([amount(2), amount(-2)], amount(2), -1, 1, 164),
        # a mean so large that its rounding is 2**-11 of the deviation, and squared counts too
        ([2.0**40 - 1, 2.0**40 + 1], 2.0**40 + 1, None, 1, 2.0**43 + 2.0**33 + 20),
        ([-1, 1], 5, None, 5, 112),  # 108, in steps of 8: an ULP of 5
        ([-1, 1], -5, None, -5, 112),
        ([-1, 1], 6, None, 5, 0),
        ([-1, 1], -5.5, None, -5, 0),
    ],
    ids=[
        "three", "minus-three", "of-another-mean", "four-rows", "logarithm", "larger-logarithm",
        "large-mean", "at-the-clip", "at-the-lower-clip", "clipped", "clipped-below",
    ],
)  # fmt: skip
@pytest.mark.parametrize("u", [2.0**-24, 2.0**-53], ids=["float32", "float64"])
def test_bound_of_a_feature_counts_its_roundings(
    train: list[float], row: float, log_column: int | None, value: float, roundings: float, u: float
) -> None:
    """In float64 until the last, which is to float32; of its own column, on the training rows."""
    # Beside a column of other numbers, which have other bounds.
    raw, fitted = np.array([[7.0, row]]), np.stack([np.linspace(1, 99, len(train)), train], axis=1)
    logged = 0 if log_column is None else log_column
    found = bounds.standardised(raw, fitted, log_column=logged, u=u)
    assert abs(found.value[0, 1] - value) <= 64 * bounds.U64
    carried = roundings * 2.0**-53
    expected = carried + (u * (abs(value) + carried) if roundings else 0)
    assert expected * (1 - 2.0**-36) <= found.allowance[0, 1] <= expected * (1 + 2.0**-29)


def test_features_are_expected_with_the_training_rows_statistics_and_clip() -> None:
    """Column by column, the logarithm where it is asked for, and ±5 where nothing else is."""
    train = drawn(1, 50, 3)
    rows = 10 * drawn(2, 40, 3)
    for column in (-1, 0, None):
        fitted, expected = train.copy(), rows.copy()
        if column is not None:
            for table in (fitted, expected):
                table[:, column] = np.log(table[:, column] + 0.001)
        z = (expected - fitted.mean(0)) / fitted.std(0)
        for clip in (5.0, 2.0):
            options = {} if (clip, column) == (5, -1) else {"clip": clip, "log_column": column}
            found = bounds.standardised(rows, train, **options)
            assert (np.abs(found.value - np.clip(z, -clip, clip)) <= found.allowance).all()
            off = np.abs(z) < clip
            assert 0 < off.mean() < 1
            assert (found.allowance[~off] == 0).all()
            single = np.abs(found.value[off]) * 2.0**-24
            assert (found.allowance[off] >= single).all()
            assert (found.allowance[off] <= single + 2.0**-40).all()


def test_a_column_is_constant_where_scikit_learn_says_so() -> None:
    """It is as wide as it is, then; by rounding alone, as 50 numbers may be off by 50 ULP."""
    signs = np.resize([1.0, -1.0], 50)
    ulps = {"none": 0, "half": 25, "nearly": 40, "just not": 63, "not": 100, "narrow": 2**20}
    columns = [mean * (1 + 2.0**-52 * n * signs) for n in ulps.values() for mean in (1.0, -1024.0)]
    train = np.stack([*columns, 0 * signs, 1 + 1e-4 * signs, 1e6 * signs], 1)
    rows = train + 0.25
    scaler = StandardScaler().fit(train)
    theirs = scaler.transform(rows).clip(-5, 5).astype(np.float32)
    value, allowance = bounds.standardised(rows, train, log_column=None)
    assert within("features", "proven", theirs, theirs, value, allowance).agree
    constant = [True] * 6 + [False] * 6 + [True, False, False]
    assert list(scaler.scale_ == 1) == constant
    # What is carried in float64 is less than the rounding to float32 at the end.
    assert (allowance[:, constant] <= 2 * bounds.U32 * np.abs(value[:, constant])).all()
