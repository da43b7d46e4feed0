"""The forward error bounds hold for any order of summation, and are tight enough to bite."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from parity_tests.judge import bounds
from parity_tests.judge.agreement import within
from parity_tests.judge.sigmoid import SIGMOID_ULP

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


@pytest.mark.parametrize("error", [0.0, 2.0**-20, 0.5], ids=["exact", "rounded", "unsure"])
@pytest.mark.parametrize(
    "scales",
    [(1.0, 1.0), (2.0**-75, 2.0**-75), (2.0**20, 2.0**-130), (2.0**-130, 2.0**20)],
    ids=["ordinary", "underflow", "weights-underflow", "rows-underflow"],
)
def test_affine_bound_is_the_theorems(error: float, scales: tuple[float, float]) -> None:
    """In rational numbers: not below it, and not above it by more than its own rounding."""
    for inputs in (1, 2, 3, 29):
        x, w = (np.float32(scale) * drawn(5 + i, *((20, inputs), (inputs, 4))[i])
                for i, scale in enumerate(scales))  # fmt: skip
        b = np.float32(scales[0] * scales[1]) * drawn(7, 4)
        errors = scales[0] * error * np.abs(drawn(8, 20, inputs)).astype(float)
        found = bounds.affine(bounds.Bounded(x.astype(float), errors), w, b)
        for row, column in ((0, 0), (7, 3), (19, 2)):
            value, allowance = exactly_affine(x[row], errors[row], w[:, column], b[[column]])
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
