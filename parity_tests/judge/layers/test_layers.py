"""Bounds of layers hold for any right way to compute them, and for no wrong one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from parity_tests.judge.agreement import within
from parity_tests.judge.bounds import Bounded, exactly
from parity_tests.judge.layers.chain import forward_layers
from parity_tests.judge.layers.right_ways import (
    ALPHA,
    BETA,
    BIAS,
    CASES,
    F32,
    GAMMA,
    KERNEL,
    MEAN,
    VARIANCE,
    WEIGHTS,
    Answer,
    N,
    drawn,
    layer,
)

INF, NAN = np.inf, np.nan
EVEN = np.repeat(drawn(3, 40)[:, :1], N, 1)
INPUTS = {
    "ordinary": drawn(1),
    "sorted": -np.sort(-np.abs(drawn(2)), -1),  # the largest first: against small errors
    "far-off": drawn(3) + F32(300),
    "even": EVEN,
    "even-and-large": EVEN * F32(100),
    "one-stands-out": drawn(4) * np.where(np.arange(N) == 2, F32(1e4), F32(1)),
    "cancelling": np.concatenate([drawn(5)[:, :3], -drawn(5)[:, :3], drawn(6)[:, :1]], 1),
    "underflow": drawn(7) * F32(1e-37),
    "squares-underflow": drawn(7) * F32(1e-20),
    "squares-nothing": drawn(7) * F32(1e-23),
    "steep": drawn(10, size=25.0),
    "overflow": drawn(8) * F32(2e37),
    "squares-overflow": drawn(8) * F32(1e20),
    "no-numbers": np.where(np.eye(6, N) > 0, F32([NAN, INF, -INF] * 2)[:, None], drawn(9, 6)),
    "zeros": np.zeros((3, N), F32),
}


@pytest.mark.parametrize("case", CASES)
def test_any_right_way_stays_within_the_bound(case: str) -> None:
    """In any order of summation, one rounding per operation, and PyTorch's own."""
    broken = {}
    for inputs, x in INPUTS.items():
        expected = CASES[case].bound(exactly(x))
        for way, answer in CASES[case].ways.items():
            with np.errstate(all="ignore"):
                came = answer(x)
            result = within(way, "proven", came, came, *expected)
            if came.dtype != F32 or not result.agree:
                broken[inputs, way] = result.detail
    assert broken == {}


@pytest.mark.parametrize("case", CASES)
def test_something_is_claimed_of_ordinary_numbers(case: str) -> None:
    """Six digits of half of them, and three of all, of rows of equal numbers too."""
    for inputs in ("ordinary", "sorted", "cancelling", "even"):
        value, allowance = CASES[case].bound(exactly(INPUTS[inputs]))
        share = allowance / (1 + np.abs(value))
        assert share.max() < 1e-3
        assert np.median(share) < 3e-6 or inputs == "even"


CORNERS = np.stack(np.meshgrid(*[[-1.0, 1.0]] * N), -1).reshape(-1, 1, N)
"""Every choice of the ends of a row's intervals."""
WIDER = {"layer-normalization": 2, "layer-normalization-alone": 2, "unit-normalization": 2}
"""What a row is divided by is bounded for itself, as if it did not move with its numbers: by how
much that widens half of them, at most."""


@pytest.mark.parametrize("size", [1e-4, 0.05], ids=["small", "large"])
@pytest.mark.parametrize("case", CASES)
def test_what_comes_in_is_handed_on(case: str, size: float) -> None:
    """As much as the farthest corner of what comes in makes of it, and not much more."""
    x = drawn(11, 30).astype(np.float64)
    allowance = size * np.random.default_rng(12).uniform(0, 1, x.shape) ** 2
    found = CASES[case].bound(Bounded(x, allowance))
    reached = CASES[case].bound(exactly((x + CORNERS * allowance).reshape(-1, N)))
    farthest = np.abs(reached.value.reshape(len(CORNERS), len(x), -1) - found.value).max(0)
    own = CASES[case].bound(exactly(x)).allowance
    assert (farthest <= found.allowance + 2.0**-50).all()
    near = found.allowance <= WIDER.get(case, 1.001) * farthest + 2 * own + 2.0**-50
    assert near.mean() > 0.5 if case in WIDER else near.all()


def wide(function: Callable[[np.ndarray], np.ndarray]) -> Answer:
    """Computed in float64, so that nothing is wrong with it but what it computes."""
    return lambda x: function(x.astype(np.float64)).astype(F32)


def layer_norm(x: np.ndarray, epsilon: float = 1e-3, dof: int = 0, axis: int = 1) -> np.ndarray:
    mean, variance = (f(x, axis=axis, keepdims=True) for f in (np.mean, np.var))
    variance = variance * N / (N - dof)
    return (x - mean) / np.sqrt(variance + epsilon) * GAMMA + BETA


def batch_norm(x: np.ndarray, mean: Any = MEAN, variance: Any = VARIANCE, epsilon: float = 1e-3,
               gamma: Any = GAMMA, beta: Any = BETA) -> np.ndarray:  # fmt: skip
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def of_fewer_bits(x: np.ndarray) -> np.ndarray:
    """As TF32 holds it."""
    return (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(F32)


@pytest.mark.parametrize(
    ("rows", "weights", "x", "unclaimed"),
    [
        # ∞ times what may be flushed; 1/√0; a deviation or a length of what may be.
        pytest.param(
            layer("Rescaling", scale=1e-40), {}, [INF, 1, -INF], [1, 0, 1], id="flushed-scale"
        ),
        pytest.param(layer("Rescaling", scale=0.0), {}, [INF, 1, 1], [0, 0, 0], id="zero-scale"),
        pytest.param(
            layer("BatchNormalization", epsilon=0.0, scale=False, center=False),
            {"moving_mean": [0, 0, INF], "moving_variance": [1e-39, 1, 1]}, [1, 1, 1], [1, 0, 1],
            id="no-variance",
        ),
        pytest.param(
            layer("BatchNormalization", center=False),
            {"gamma": [1e-40, INF, NAN], "moving_mean": [0, 0, 0], "moving_variance": [1, 1, 1]},
            [INF, 1, 1], [1, 1, 0], id="gamma",
        ),
        pytest.param(
            layer("Normalization"), {"mean": [0, INF, 0], "variance": [1, 1, -1]}, [1, 1, 1],
            [0, 1, 1], id="statistics",
        ),
        pytest.param(
            layer("Normalization", invert=True), {"mean": [0, INF, 0], "variance": [1, 1, -1]},
            [1, 1, 1], [0, 1, 1], id="statistics-of-the-inverse",
        ),
        pytest.param(
            layer("PReLU"), {"alpha": [INF, 1e-40, 0]}, [0, -INF, -INF], [1, 1, 0], id="alpha"
        ),
        pytest.param(layer("UnitNormalization"), {}, [1e-23, 0, 0], [1, 1, 1], id="no-length"),
        pytest.param(layer("UnitNormalization"), {}, [0, 0, 0], [0, 0, 0], id="zeros"),
        pytest.param(
            layer("LayerNormalization", epsilon=0.0, scale=False, center=False), {}, [2, 2, 2],
            [1, 1, 1], id="no-deviation",
        ),
        # E[x²] - E[x]² of it is its rounding.
        pytest.param(
            layer("LayerNormalization", scale=False, center=False), {}, [100, 100, 100], [1, 1, 1],
            id="deviation-of-rounding",
        ),
        pytest.param(
            layer("LayerNormalization", scale=False, center=False), {}, [NAN, 1, 1], [0, 0, 0],
            id="no-number",
        ),
    ],
)  # fmt: skip
def test_nothing_is_claimed_where_right_ways_part(
    rows: list[dict[str, Any]], weights: dict[str, list[float]], x: list[float],
    unclaimed: list[bool],
) -> None:  # fmt: skip
    """Of that number alone, or of its row."""
    held = {f"l/{name}": F32(weight) for name, weight in weights.items()}
    found = forward_layers(rows, held, exactly(F32([x])))["l"]
    np.testing.assert_array_equal(np.isinf(found.allowance[0]), np.array(unclaimed, bool))


def test_a_row_that_may_be_anything_stays_so_alone() -> None:
    """An infinite allowance of one number is one of its row where a layer mixes it."""
    x = drawn(13, 3).astype(float)
    allowance = np.zeros_like(x)
    allowance[1, 2] = INF
    for case, one in CASES.items():
        value, found = one.bound(Bounded(x, allowance))
        plain = one.bound(exactly(x))
        np.testing.assert_array_equal(value, plain.value)
        np.testing.assert_array_equal(found[[0, 2]], plain.allowance[[0, 2]])
        mixes = one.kind in ("Dense", "LayerNormalization", "UnitNormalization", "Softmax")
        if mixes or case == "log-softmax":
            assert np.isposinf(found[1]).all(), case
        else:
            assert np.isposinf(found[1, 2]), case
            np.testing.assert_array_equal(found[1, [0, 1, 3]], plain.allowance[1, [0, 1, 3]])


def test_softmax_is_a_share_whatever_comes_in() -> None:
    """No share is off by more than 1; where a number is by more than 50, nothing is claimed."""
    x = np.tile(np.arange(3.0), (3, 1))
    allowance = np.array([[20.0, 0, 0], [50, 50, 50], [51, 0, 0]])
    shares = forward_layers(layer("Softmax"), {}, Bounded(x, allowance))["l"].allowance
    assert ((shares[:2] > 0.08) & (shares[:2] <= 1.001)).all()
    assert np.isposinf(shares[2]).all()


def test_softmax_of_what_is_far_below_is_nothing() -> None:
    """Its logarithm is as far below, to the roundings of a difference."""
    x = exactly(F32([[0, 1, -1e8, -3e38, -INF]]))
    value, allowance = forward_layers(layer("Softmax"), {}, x)["l"]
    assert (value[0, 2:] == 0).all()
    assert (allowance[0, 2:] < 1e-35).all()
    assert (allowance < 2e-6).all()
    value, allowance = forward_layers(layer("Activation", activation="log_softmax"), {}, x)["l"]
    assert value[0, 4] == -INF
    assert (allowance[0, :4] <= 2e-6 + 6 * 2.0**-24 * np.abs(value[0, :4])).all()


def test_a_deviation_is_no_less_than_epsilons_root() -> None:
    """Of a row of equal numbers that may be off by more than that, something is claimed."""
    case = CASES["layer-normalization"]
    x, allowance = EVEN.astype(float), np.full(EVEN.shape, 0.05)
    found = case.bound(Bounded(x, allowance))
    reached = case.bound(exactly((x + CORNERS * allowance).reshape(-1, N)))
    farthest = np.abs(reached.value.reshape(len(CORNERS), len(x), -1) - found.value).max(0)
    assert (farthest <= found.allowance).all()
    assert (found.allowance < 10 * np.abs(GAMMA)).all()


def test_bound_of_an_even_row_counts_its_roundings() -> None:
    """Of 8 equal numbers c: their mean errs by 9 u c, and E[x²] - E[x]² by (14 + 18) u c²."""
    u, c, epsilon = 2.0**-24, 8.0, 1e-3
    rows = layer("LayerNormalization", scale=False, center=False, epsilon=epsilon)
    value, allowance = forward_layers(rows, {}, exactly(np.full((1, 8), c, F32)))["l"]
    inverse = 1 / np.sqrt(epsilon - 32 * u * c * c)
    # The number, its mean and what that is off by, 11 roundings each.
    expected = (9 * u * c + 11 * u * (2 * c)) * inverse
    assert (value == 0).all()
    # Left out are terms of second order, some u of the first.
    np.testing.assert_allclose(allowance, expected, rtol=64 * u)


MISTAKES: dict[str, dict[str, Answer]] = {
    "dense": {
        "without-bias": lambda x: x @ KERNEL,
        "bias-twice": lambda x: x @ KERNEL + 2 * BIAS,
        "rows-swapped": lambda x: x @ KERNEL[[1, 0, *range(2, N)]] + BIAS,
        "tf32": lambda x: of_fewer_bits(x) @ of_fewer_bits(KERNEL) + BIAS,
        "activated": lambda x: np.maximum(x @ KERNEL + BIAS, 0),
    },
    "dense-without-bias": {"with-bias": lambda x: x @ KERNEL + BIAS},
    "batch-normalization": {
        "pytorchs-epsilon": wide(lambda x: batch_norm(x, epsilon=1e-5)),
        "epsilon-outside": wide(lambda x: batch_norm(x, variance=(VARIANCE**0.5 + 1e-3) ** 2)),
        "deviation-for-variance": wide(lambda x: batch_norm(x, variance=VARIANCE**2)),
        "the-batchs-statistics": wide(lambda x: batch_norm(x, x.mean(0), x.var(0))),
        "without-gamma": wide(lambda x: batch_norm(x, gamma=1)),
        "without-beta": wide(lambda x: batch_norm(x, beta=0)),
        "swapped": wide(lambda x: batch_norm(x, gamma=BETA, beta=GAMMA)),
        "unbiased-over-1000-rows": wide(lambda x: batch_norm(x, variance=VARIANCE * 1000 / 999)),
    },
    "layer-normalization": {
        "pytorchs-epsilon": wide(lambda x: layer_norm(x, 1e-5)),
        "n-1": wide(lambda x: layer_norm(x, dof=1)),
        "over-the-batch": wide(lambda x: layer_norm(x, axis=0)),
        "without-beta": wide(lambda x: layer_norm(x) - BETA),
        "mean-kept": wide(lambda x: x / np.sqrt(x.var(1, keepdims=True) + 1e-3) * GAMMA + BETA),
    },
    "unit-normalization": {
        "sum-of-sizes": wide(lambda x: x / np.abs(x).sum(1, keepdims=True)),
        "over-the-batch": wide(lambda x: x / np.sqrt((x * x).sum(0))),
        "with-epsilon": wide(lambda x: x / np.sqrt((x * x).sum(1, keepdims=True) + 0.1)),
    },
    "normalization": {
        "deviation-for-variance": wide(lambda x: (x - WEIGHTS["mean"]) / WEIGHTS["variance"]),
        "with-epsilon": wide(lambda x: (x - WEIGHTS["mean"]) / np.sqrt(WEIGHTS["variance"] + 1e-3)),
    },
    "normalization-by-numbers": {
        "deviation-for-variance": wide(lambda x: (x - 0.3) / 0.01),
        "without-mean": wide(lambda x: x / 0.1),
    },
    "normalization-inverse": {
        "variance-for-deviation": wide(lambda x: WEIGHTS["mean"] + x * WEIGHTS["variance"]),
        "not-inverse": wide(lambda x: (x - WEIGHTS["mean"]) / np.sqrt(WEIGHTS["variance"])),
        "without-mean": wide(lambda x: x * np.sqrt(WEIGHTS["variance"])),
    },
    "rescaling": {
        "of-256": wide(lambda x: x / 256 - 0.3),
        "offset-first": wide(lambda x: (x - 0.3) / 255),
        "without-offset": wide(lambda x: x / 255),
    },
    "softmax": {
        "over-the-batch": wide(lambda x: softmax(x, 0)),
        "sigmoid": wide(lambda x: 1 / (1 + np.exp(-x))),
        "clipped": wide(lambda x: np.clip(softmax(x), 1e-3, 1)),
        "temperature": wide(lambda x: softmax(x * 1.001)),
    },
    "log-softmax": {
        "softmax": wide(softmax),
        "of-clipped": wide(lambda x: np.log(np.clip(softmax(x), 1e-4, 1))),
    },
    "prelu": {
        "one-alpha": wide(lambda x: np.where(x > 0, x, ALPHA[0] * x)),
        "upwards": wide(lambda x: np.where(x > 0, x, np.abs(ALPHA) * x)),
    },
    "leaky-relu": {
        "the-activations-slope": wide(lambda x: np.where(x > 0, x, 0.2 * x)),
        "pytorchs-slope": wide(lambda x: np.where(x > 0, x, 0.01 * x)),
    },
    "leaky-relu-of-keras-2": {"the-default": wide(lambda x: np.where(x > 0, x, 0.3 * x))},
    "elu": {"alpha-of-1": wide(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))))},
    "relu": {"kept": lambda x: x},
    "relu-of-numbers": {
        "plain": wide(lambda x: np.maximum(x, 0)),
        "without-max": wide(lambda x: np.where(x > 0.7, x, 0.1 * (x - 0.7))),
        "slope-from-zero": wide(lambda x: np.where(x > 0.7, np.minimum(x, 2.5), 0.1 * x)),
        "shifted": wide(lambda x: np.clip(x - 0.7, 0, 2.5) + 0.1 * np.minimum(x - 0.7, 0)),
    },
    "tanh": {"hard": wide(lambda x: np.clip(x, -1, 1))},
    "dropout": {"as-in-training": lambda x: np.where(x > 0, 2 * x, 0)},
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "mistake"),
    [(case, mistake) for case, all_of in MISTAKES.items() for mistake in all_of],
)
def test_a_wrong_way_breaks_the_bound(case: str, mistake: str) -> None:
    """On most rows that it changes at all: the bound is no wider than it must be."""
    x = INPUTS["ordinary"]
    value, allowance = CASES[case].bound(exactly(x))
    came = MISTAKES[case][mistake](x)
    changed = np.abs(came - value) > 1e-4 * (1 + np.abs(value))
    assert changed.any()
    assert not within(mistake, "proven", came, came, value, allowance).agree
    assert (np.abs(came - value) > allowance)[changed].all()


def test_a_square_kernel_that_is_transposed_breaks_the_bound() -> None:
    """Which its shape does not tell."""
    row = {"class_name": "Dense", "config": {"name": "layer", "units": N, "use_bias": False}}
    square, x = WEIGHTS["square"], INPUTS["ordinary"]
    expected = forward_layers([row], {"layer/kernel": square}, exactly(x))["layer"]
    for kernel, right in ((square, True), (square.T, False)):
        came = x @ kernel
        assert within("square", "proven", came, came, *expected).agree == right
