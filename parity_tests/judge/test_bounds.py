"""The forward error bounds hold for any order of summation, and are tight enough to bite."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest

from parity_tests.judge import bounds, sigmoid
from parity_tests.judge.agreement import within
from parity_tests.judge.sigmoid import SIGMOID_ULP, keras_error, largest_error, torch_error
from parity_tests.reference import keras_process
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.recording_file import Recordings

NAMES = ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")


def summed_in_order(x: np.ndarray, w: np.ndarray, b: np.ndarray, order: np.ndarray) -> np.ndarray:
    """x @ w + b in float32, one rounding per product and per sum, in the order given."""
    total = np.zeros((len(x), w.shape[1]), np.float32)
    for i in order:
        total = total + x[:, i : i + 1] * w[i]
    return total + b


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("inputs", [1, 2, 29, 257])
def test_affine_bound_holds_for_any_order_of_summation(inputs: int) -> None:
    """Forwards, backwards, shuffled and sorted by size: all inside the allowance."""
    x, w, b = drawn(1, 500, inputs), drawn(2, inputs, 7), drawn(3, 7)
    expected = bounds.affine(bounds.exactly(x), w, b)
    orders = [np.arange(inputs), np.arange(inputs)[::-1], np.argsort(np.abs(w[:, 0]))]
    orders += [np.random.default_rng(i).permutation(inputs) for i in range(5)]
    for order in orders:
        came = summed_in_order(x, w, b, order)
        assert within("z", "proven", came, x @ w + b, *expected).agree


def test_affine_bound_catches_bfloat16_and_tf32_products() -> None:
    """Factors rounded to 8 or 11 bits break the bound: it is not slack by powers of two."""
    x, w, b = drawn(1, 500, 29), drawn(2, 29, 16), drawn(3, 16)
    expected = bounds.affine(bounds.exactly(x), w, b)
    for dropped_bits in (13, 16):
        coarse = [
            (a.view(np.uint32) & np.uint32(2**32 - 2**dropped_bits)).view(np.float32)
            for a in (x, w)
        ]
        assert not within("z", "proven", coarse[0] @ coarse[1] + b, x @ w + b, *expected).agree


@pytest.mark.parametrize("library", ["torch", "keras"])
def test_sigmoid_errs_less_than_its_stated_ulp(library: str, keras: KerasProcess) -> None:
    """On 4 million floats spread over all of them; all 2**32 by the module's command."""
    stride = 1021
    normal, subnormal = (
        torch_error(stride) if library == "torch" else keras.submit(keras_error, stride).result()
    )
    assert 0.5 < normal <= SIGMOID_ULP
    assert subnormal <= 1


U, U64 = Fraction(1, 2**24), Fraction(1, 2**53)
TINY = Fraction(1, 2**126)
# Bounds are computed in float64, and widened by 2**-30 for it.
WIDENED = 1 + Fraction(1, 2**29)


def exact_gamma(n: int, u: Fraction) -> Fraction:
    return n * u / (1 - n * u)


def exactly_affine(
    x: np.ndarray, error: np.ndarray, w: np.ndarray, b: np.ndarray
) -> tuple[Fraction, Fraction]:
    """Value and allowance of one sum, as the theorem has them, in rational numbers."""
    x, error, w, (b,) = ([Fraction(float(n)) for n in a.ravel()] for a in (x, error, w, b))
    n = len(x)
    size = [abs(a) + e for a, e in zip(x, error, strict=True)]
    magnitude = sum(s * abs(c) for s, c in zip(size, w, strict=True)) + abs(b)
    inherited = sum(e * abs(c) for e, c in zip(error, w, strict=True))
    flushed = sum(size) + sum(map(abs, w)) + 2 * n + 1
    rounding = exact_gamma(n + 1, U) + exact_gamma(n + 1, U64)
    return (
        sum(a * c for a, c in zip(x, w, strict=True)) + b,
        inherited + rounding * magnitude + 2 * TINY * flushed,
    )


@pytest.mark.parametrize("inputs", [1, 2, 3, 29])
@pytest.mark.parametrize("error", [0.0, 2.0**-20, 0.5], ids=["exact", "rounded", "unsure"])
@pytest.mark.parametrize(
    "scales",
    [(1.0, 1.0), (2.0**-75, 2.0**-75), (2.0**20, 2.0**-130), (2.0**-130, 2.0**20)],
    ids=["ordinary", "underflow", "weights-underflow", "rows-underflow"],
)
def test_affine_bound_is_the_theorems(
    inputs: int, error: float, scales: tuple[float, float]
) -> None:
    """In rational numbers: not below it, and not above it by more than its own rounding."""
    x, w = (np.float32(scale) * drawn(5 + i, *((20, inputs), (inputs, 4))[i])
            for i, scale in enumerate(scales))  # fmt: skip
    b = np.float32(scales[0] * scales[1]) * drawn(7, 4)
    errors = scales[0] * error * np.abs(drawn(8, 20, inputs)).astype(float)
    found = bounds.affine(bounds.Bounded(x.astype(float), errors), w, b)
    for row, column in ((0, 0), (7, 3), (19, 2)):
        value, allowance = exactly_affine(x[row], errors[row], w[:, column], b[column : column + 1])
        assert allowance <= Fraction(found.allowance[row, column]) <= allowance * WIDENED
        assert abs(value - Fraction(found.value[row, column])) <= allowance * Fraction(1, 2**20)


@pytest.mark.parametrize("inputs", [1, 2, 29, 257])
def test_affine_bound_is_attained(inputs: int) -> None:
    """A sum whose every product and addition is rounded by half an ULP, all one way, errs by it."""
    half = 2.0**-24
    x = np.float32([[1 + 2.0**-12] + [half] * (inputs - 1)])
    w = np.float32([[1 + 2.0**-12]] + [[1]] * (inputs - 1))
    b = np.float32([half])
    came = summed_in_order(x, w, b, np.arange(inputs))
    true = (1 + 2.0**-12) ** 2 + inputs * half
    allowance = bounds.affine(bounds.exactly(x), w, b).allowance[0, 0]
    assert 0.999 * allowance < true - float(came[0, 0]) <= allowance


INF, NAN = np.inf, np.nan
MAX32 = 2.0**128 - 2.0**104


@pytest.mark.parametrize(
    ("row", "weights", "claimed"),
    [
        ([1000, 1000], [1e30, 1e30], True),
        ([MAX32 * (1 - 3.1 * 2**-24), 0], [1, 0], True),
        ([MAX32 * (1 - 2.9 * 2**-24), 0], [1, 0], False),
        ([MAX32 / 2, -MAX32 / 2], [1, 1], False),
        ([INF, 1], [1, 1], True),
        ([INF, 1], [0, 1], True),
        ([INF, 1], [2.0**-126, 1], True),
        ([INF, 1], [2.0**-127, 1], False),
        ([-INF, 1], [-(2.0**-127), 1], False),
        ([INF, INF], [1, 2.0**-127], False),
        ([1, 1], [2.0**-127, 1], True),
        ([NAN, 1], [1, 1], True),
    ],
)
def test_affine_claims_nothing_where_order_or_flushing_decides_alone(
    row: list[float], weights: list[float], claimed: bool
) -> None:
    """Of that sum; a row beside it, a column beside it, keep their bounds."""
    x = np.array([[1.0, 2.0], row, [2.0, 1.0]])
    w = np.float32([[1, 1], [1, 1]])
    w[:, 1] = weights
    value, allowance = bounds.affine(bounds.exactly(x), w, np.zeros(2, np.float32))
    assert np.isfinite(allowance[1, 1]) == claimed
    if claimed:  # of the numbers that are finite
        numbers = np.nan_to_num(np.array(row), posinf=0, neginf=0)
        _, expected = exactly_affine(numbers, np.zeros(2), w[:, 1], np.zeros(1))
        assert expected <= Fraction(allowance[1, 1]) <= expected * WIDENED
    assert np.isfinite(allowance[[0, 2], 0]).all()
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(value[1, 1], np.float64(row) @ w[:, 1].astype(float))


def test_what_may_be_anything_stays_so_in_its_row_alone() -> None:
    """Through every stage: an infinite allowance of one feature."""
    x = bounds.Bounded(np.ones((3, 2)), np.array([[0, 0], [0, INF], [0, 0]]))
    weights = {
        "dense/kernel": np.float32([[1, -1], [1, 2]]), "dense/bias": np.zeros(2, np.float32),
        "dense_1/kernel": np.float32([[1], [1]]), "dense_1/bias": np.zeros(1, np.float32),
    }  # fmt: skip
    plain = bounds.forward(bounds.exactly(x.value), weights)
    for stage, (value, allowance) in bounds.forward(x, weights).items():
        np.testing.assert_array_equal(value, plain[stage].value)
        assert np.isposinf(allowance[1]).all()
        np.testing.assert_array_equal(allowance[[0, 2]], plain[stage].allowance[[0, 2]])


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (-1.0, 0.5, (0, 0)), (-1.0, 1.0, (0, 0)), (-0.25, 0.5, (0, 0.25)), (0.0, 0.5, (0, 0.5)),
        (0.25, 0.5, (0.25, 0.5)), (1.0, 0.5, (1, 0.5)), (1.0, 0.0, (1, 0)), (1.0, 4.0, (1, 4)),
        (-1.0, INF, (0, INF)), (1.0, INF, (1, INF)), (NAN, 0.5, (NAN, 0.5)),
        (INF, 0.5, (INF, 0.5)), (-INF, 0.5, (0, 0.5)), (INF, INF, (INF, INF)),
        (-INF, INF, (0, INF)),
    ],
)  # fmt: skip
def test_relu_hands_on_what_lies_above_zero(
    value: float, error: float, expected: tuple[float, float]
) -> None:
    """Of both ends of an interval; of what is no number, what it came with."""
    found = bounds.relu(bounds.Bounded(np.array([value]), np.array([error])))
    np.testing.assert_array_equal(found.value, expected[:1])
    assert expected[1] <= found.allowance[0] <= expected[1] * (1 + 2.0**-29)


@pytest.mark.parametrize(
    ("low", "middle", "high"),
    [(0.5, 0.5, 0.5), (9 / 16, 3 / 4, 7 / 8), (1 / 8, 1 / 4, 7 / 16), (1 / 16, 1 / 16, 1 / 16)],
)
def test_sigmoid_carries_both_ends_and_adds_its_own_error(
    low: float, middle: float, high: float
) -> None:
    """At rational probabilities: the farther end, and the measured ULP of the upper one."""
    z = np.log(middle / (1 - middle))
    error = np.log(high / (1 - high)) - z
    apart = abs(z - error - np.log(low / (1 - low)))
    assert apart <= bounds.gamma(8, bounds.U64) * (abs(z) + abs(error)), "the ends are symmetric"
    value, allowance = bounds.sigmoid(bounds.Bounded(np.array([z]), np.array([error])))
    ulp = 2.0 ** (np.frexp(high)[1] - 24)
    expected = max(high - middle, middle - low) + SIGMOID_ULP * ulp + 2.0**-126
    assert abs(value[0] - middle) <= 2 * U64
    assert expected - 4 * U64 <= allowance[0] <= expected * (1 + 2.0**-29) + 4 * U64


def test_sigmoid_of_extremes() -> None:
    """0 and 1 to a hair, NaN as such; of what may be anything, nothing is claimed."""
    z = np.array([-INF, -200.0, 200.0, INF, NAN, 0.0, INF, -INF])
    error = np.array([0, 0, 0, 0, 0, INF, INF, INF])
    value, allowance = bounds.sigmoid(bounds.Bounded(z, error))
    np.testing.assert_array_equal(value[[0, 2, 3, 4]], [0, 1, 1, NAN])
    assert (allowance[:2] <= 2.0**-126 * (1 + 2.0**-20)).all()
    assert (allowance[:2] >= 2.0**-126).all()
    one = SIGMOID_ULP * 2.0**-23
    assert ((allowance[2:4] >= one) & (allowance[2:4] <= one * (1 + 2.0**-29))).all()
    assert np.isposinf(allowance[5:]).all()


def test_bounds_of_many_rows_are_those_of_each() -> None:
    """More rows than are computed at a time, the last part short."""
    weights = dict(
        zip(NAMES, (drawn(1, 3, 2), drawn(2, 2), drawn(3, 2, 1), drawn(4, 1)), strict=True)
    )
    x = bounds.Bounded(drawn(5, 4099, 3).astype(float), np.abs(drawn(6, 4099, 3)).astype(float))
    pre = bounds.affine(x, weights["dense/kernel"], weights["dense/bias"])
    hidden = bounds.relu(pre)
    logits = bounds.affine(hidden, weights["dense_1/kernel"], weights["dense_1/bias"])
    by_stage = {
        "hidden pre-activations": pre, "hidden activations": hidden, "logits": logits,
        "probabilities": bounds.sigmoid(logits),
    }  # fmt: skip
    found = bounds.forward(x, weights)
    assert list(found) == list(by_stage)
    largest = max(np.abs(part).max() for stage in by_stage.values() for part in stage)
    for stage, expected in by_stage.items():
        for came, whole in zip(found[stage], expected, strict=True):
            assert came.shape == whole.shape
            # Another number of rows may sum in another order: two layers of at most four terms,
            # of numbers and of what is allowed to each.
            assert np.abs(came - whole).max() <= bounds.gamma(16, bounds.U64) * largest
    assert bounds.forward(bounds.exactly(np.zeros((0, 3))), weights)["logits"].value.shape == (0, 1)


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
    assert abs(found.value.item() - p) <= 2 * U64
    assert abs(found.allowance.item() - abs(p - steep)) <= 2.0**-18


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_bound_of_a_gradient_that_is_nothing_is_of_underflow_alone(rows: int) -> None:
    """Each of n products and n sums may end below the smallest normal number."""
    found = gradients_of(Network(1, (1, 0, 1, 0), kept=0, sample_weight=(1,) * rows))
    for name in NAMES[:3]:
        expected = 2 * TINY * (2 * rows + 1)
        assert expected <= Fraction(found[name].allowance.item()) <= expected * WIDENED


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
    assert (np.abs(value - expected) <= 4 * U64 * np.abs(expected)).all()
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
    assert abs(found.value[0, 1] - value) <= 64 * U64
    carried = roundings * 2.0**-53
    expected = carried + (u * (abs(value) + carried) if roundings else 0)
    assert expected * (1 - 2.0**-36) <= found.allowance[0, 1] <= expected * (1 + 2.0**-29)


def test_features_are_expected_with_the_training_rows_statistics_and_clip() -> None:
    """Column by column, the logarithm where it is asked for, and ±5 where nothing else is."""
    train = np.abs(drawn(1, 50, 3)).astype(float)
    rows = 10 * np.abs(drawn(2, 40, 3)).astype(float)
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


def test_sigmoid_errs_where_keras_was_recorded_by_its_stated_ulp(recordings: Recordings) -> None:
    """And by no less: the worst of all 2**32, rounded up to two digits, is what is stated."""
    call = recordings.calls["sigmoid where it errs most"]
    true = [1 / (1 + math.exp(-z)) for z in call.inputs["logits"].ravel().tolist()]
    ulp = [2.0 ** (math.frexp(p)[1] - 24) for p in true]
    worst = max(
        abs(came - p) / one
        for came, p, one in zip(call.answer.ravel().tolist(), true, ulp, strict=True)
    )
    assert math.ceil(100 * worst) / 100 == SIGMOID_ULP


def off_by(ulp: float, at: int = 0x3F000000, below: float = 0.0) -> Any:
    """A sigmoid in float32 that is right but for one bit pattern, and below 2**-126."""

    def sigmoid(logits: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            z = logits.astype(np.float64)
            p = np.where(z < 0, np.exp(z) / (1 + np.exp(z)), 1 / (1 + np.exp(-z)))
            p = np.where(p < 2.0**-126, below, p).astype(np.float32)
        if ulp:
            p[logits.view(np.uint32) == at] += np.float32(ulp) * np.spacing(
                p[logits.view(np.uint32) == at]
            )
        return p

    return sigmoid


def test_error_of_a_sigmoid_is_measured_at_every_nth_float(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In ULP of the result; where that is below 2**-126, in units of it; NaN has to be NaN."""
    every = 1 << 20
    for stride in (every, every // 4):
        normal, subnormal = largest_error(off_by(0, below=2.0**-126), stride)
        assert 0.25 < normal <= 0.5 + 2.0**-20
        assert 0.5 < subnormal <= 1
    assert largest_error(off_by(0), every)[1] < 1
    for ulp in (-3, 7):
        assert abs(largest_error(off_by(ulp), every)[0] - abs(ulp)) <= 0.5
        assert largest_error(off_by(ulp, 0x3F000001), every)[0] <= 0.5 + 2.0**-20
    monkeypatch.setattr(sigmoid, "_CHUNK", 1 << 10)  # in four parts, the worst in any of them
    seen: list[np.ndarray] = []

    def watched(logits: np.ndarray) -> np.ndarray:
        seen.append(logits.view(np.uint32))
        return off_by(7, 0xBF000000)(logits)

    assert abs(largest_error(watched, every)[0] - 7) <= 0.5
    assert [part.size for part in seen] == [1 << 10] * 4
    np.testing.assert_array_equal(np.concatenate(seen), np.arange(0, 1 << 32, every))
    with pytest.raises(ValueError, match="NaN does not match as such near bit pattern 0x40000000"):
        largest_error(lambda z: np.nan_to_num(off_by(0)(z)), every)
    with pytest.raises(ValueError, match="near bit pattern 0x00000000"):
        largest_error(lambda z: np.where(z == 0, np.nan, off_by(0)(z)), every)


def test_the_command_measures_both_libraries_and_prints_what_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Keras in its own process, PyTorch here, at as many floats as it is asked for."""
    asked = []

    class Process:
        def __enter__(self) -> Process:
            return self

        def __exit__(self, *error: object) -> None:
            asked.append("closed")

        def submit(self, function: Any, *args: Any) -> str:
            asked.append((function.__name__, args))
            return "a future"

        def wait(self, future: str) -> tuple[float, float]:
            asked.append(future)
            return 6.57915, 0.99999

    monkeypatch.setattr(keras_process, "KerasProcess", Process)
    monkeypatch.setattr("sys.argv", ["sigmoid", "--every", str(1 << 20)])
    sigmoid.main()
    assert asked == [("keras_error", (1 << 20,)), "a future", "closed"]
    ours, theirs = capsys.readouterr().out.splitlines()
    assert theirs == "Keras: 6.5792 ULP; where the result is below 2**-126: 1.0000 of it"
    told = re.fullmatch(
        r"PyTorch: (\S+) ULP; where the result is below 2\*\*-126: (\S+) of it", ours
    )
    assert told
    assert [float(n) for n in told.groups()] == [round(e, 4) for e in torch_error(1 << 20)]
    monkeypatch.setattr("sys.argv", ["sigmoid"])
    monkeypatch.setattr(sigmoid, "largest_error", lambda _, stride: (stride, stride))
    sigmoid.main()
    assert asked[3] == ("keras_error", (1,))
    assert capsys.readouterr().out.startswith("PyTorch: 1.0000 ULP")
    assert torch_error() == (1, 1)
    for arguments, status, said in (
        (
            ["--every", "0"],
            2,
            "python -m parity_tests.judge.sigmoid: error: expected --every of at least 1",
        ),
        (["--help"], 0, "every N-th (default 1)"),
        (["--help"], 0, "How far a library's float32 sigmoid lies from the true one"),
    ):
        monkeypatch.setattr("sys.argv", ["sigmoid", *arguments])
        with pytest.raises(SystemExit) as stopped:
            sigmoid.main()
        assert stopped.value.code == status
        assert said in "".join(capsys.readouterr())
