"""Bounds of layers hold for any right way to compute them, and for no wrong one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional

from parity_tests import ROOT
from parity_tests.judge import bounds
from parity_tests.judge.agreement import within
from parity_tests.judge.bounds import Bounded, exactly
from parity_tests.judge.layers.chain import KINDS, forward_layers
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import OF_TODAY

F32 = np.float32
INF, NAN = np.inf, np.nan
N = 7
"""The width of what comes in, unlike that of what goes out."""
WEIGHTS = {
    name: np.random.default_rng(i).normal(size=shape).astype(F32)
    for i, (name, shape) in enumerate({
        "kernel": (N, 4), "bias": (4,), "gamma": (N,), "beta": (N,), "moving_mean": (N,),
        "mean": (N,), "alpha": (N,), "square": (N, N),
    }.items())
} | {
    name: np.random.default_rng(9).uniform(0.5, 2, N).astype(F32)
    for name in ("moving_variance", "variance")
}  # fmt: skip
KERNEL, BIAS, GAMMA, BETA, MEAN, VARIANCE, ALPHA = (
    WEIGHTS[name]
    for name in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "alpha")
)
EPSILON = F32(1e-3)

Answer = Callable[[np.ndarray], np.ndarray]
Order = np.ndarray


def drawn(seed: int, rows: int = 400, size: float = 3.0) -> np.ndarray:
    return (size * np.random.default_rng(seed).normal(size=(rows, N))).astype(F32)


def in_orders(way: Callable[[Order], Answer]) -> dict[str, Answer]:
    """The same way with its sums forwards, backwards and at random."""
    random = [np.random.default_rng(seed).permutation(N) for seed in range(3)]
    each = [np.arange(N), np.arange(N)[::-1], *random]
    return {f"{way.__name__}, order {i}": way(order) for i, order in enumerate(each)}


def summed(terms: np.ndarray, order: Order) -> np.ndarray:
    """Σ over the last axis, one rounding per sum; (…, 1)."""
    total = np.zeros((*terms.shape[:-1], 1), F32)
    for i in order:
        total = total + terms[..., i : i + 1]
    return total


def by_torch(function: Callable[..., torch.Tensor], *arguments: Any, **more: Any) -> Answer:
    held = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    return lambda x: function(torch.from_numpy(x), *held, **more).numpy()


def flushed(x: np.ndarray) -> np.ndarray:
    """As TensorFlow's threads do it."""
    return np.where(np.abs(x) < np.finfo(F32).tiny, F32(0), x)


def dense(order: Order) -> Answer:
    return lambda x: summed(x[:, None, :] * KERNEL.T, order)[..., 0] + BIAS


def normalized(x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return (x - mean) * (1 / np.sqrt(variance + EPSILON)) * GAMMA + BETA


def folded(x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    scale = 1 / np.sqrt(variance + EPSILON) * GAMMA
    return x * scale + (BETA - mean * scale)


def two_passes(order: Order) -> Answer:
    def answer(x: np.ndarray) -> np.ndarray:
        mean = summed(x, order) / F32(N)
        return folded(x, mean, summed((x - mean) ** 2, order) / F32(N))

    return answer


def one_pass(order: Order) -> Answer:
    def answer(x: np.ndarray) -> np.ndarray:
        mean = summed(x, order) / F32(N)
        return normalized(x, mean, summed(x * x, order) / F32(N) - mean * mean)

    return answer


def by_updates(order: Order) -> Answer:
    """Welford's."""

    def answer(x: np.ndarray) -> np.ndarray:
        mean = total = np.zeros((len(x), 1), F32)
        for count, i in enumerate(order, 1):
            apart = x[:, i : i + 1] - mean
            mean = mean + apart / F32(count)
            total = total + apart * (x[:, i : i + 1] - mean)
        return folded(x, mean, total / F32(N))

    return answer


def divided(order: Order) -> Answer:
    def answer(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / summed(e, order)

    return answer


def log_shares(order: Order) -> Answer:
    def answer(x: np.ndarray) -> np.ndarray:
        shifted = x - x.max(-1, keepdims=True)
        return shifted - np.log(summed(np.exp(shifted), order))

    return answer


def by_length(order: Order) -> Answer:
    return lambda x: x * np.minimum(1 / np.sqrt(summed(x * x, order)), F32(1e12))


class Case(NamedTuple):
    """One layer, and right ways to compute it."""

    kind: str
    config: dict[str, Any]
    ways: dict[str, Answer]

    def bound(self, x: Bounded) -> Bounded:
        row = {"class_name": self.kind, "config": {"name": "layer", **self.config}}
        weights = {f"layer/{name}": weight for name, weight in WEIGHTS.items()}
        return forward_layers([row], weights, x)["layer"]


def statistics(way: Callable[..., np.ndarray]) -> Answer:
    return lambda x: way(x, MEAN, VARIANCE)


def layer(kind: str, **config: Any) -> list[dict[str, Any]]:
    return [{"class_name": kind, "config": {"name": "l", **config}}]


CASES = {
    "dense": Case(
        "Dense", {"units": 4},
        in_orders(dense) | {"torch": by_torch(functional.linear, KERNEL.T, BIAS)},
    ),
    "dense-without-bias": Case(
        "Dense", {"units": 4, "use_bias": False}, {"torch": by_torch(functional.linear, KERNEL.T)}
    ),
    "batch-normalization": Case(
        "BatchNormalization", {"axis": -1, "epsilon": 1e-3}, {
            "normalized": statistics(normalized), "folded": statistics(folded),
            "torch": by_torch(functional.batch_norm, MEAN, VARIANCE, GAMMA, BETA, eps=1e-3),
        },
    ),
    "batch-normalization-alone": Case(
        "BatchNormalization", {"axis": [1], "epsilon": 0.5, "center": False, "scale": False},
        {"torch": by_torch(functional.batch_norm, MEAN, VARIANCE, eps=0.5)},
    ),
    "layer-normalization": Case(
        "LayerNormalization", {"axis": [-1], "epsilon": 1e-3},
        in_orders(two_passes) | in_orders(one_pass) | in_orders(by_updates)
        | {"torch": by_torch(functional.layer_norm, (N,), GAMMA, BETA, 1e-3)},
    ),
    "layer-normalization-alone": Case(
        "LayerNormalization", {"epsilon": 0.1, "center": False, "scale": False},
        {"torch": by_torch(functional.layer_norm, (N,), eps=0.1)},
    ),
    "unit-normalization": Case(
        "UnitNormalization", {"axis": -1},
        in_orders(by_length) | {"torch": by_torch(functional.normalize, dim=-1, eps=1e-12)},
    ),
    "normalization": Case(
        "Normalization", {"axis": [-1]},
        {"divided": lambda x: (x - WEIGHTS["mean"]) / np.sqrt(WEIGHTS["variance"])},
    ),
    "normalization-by-numbers": Case(
        "Normalization", {"axis": [-1], "mean": 0.3, "variance": 0.01},
        {"product": lambda x: (x - F32(0.3)) * (1 / np.sqrt(F32(0.01)))},
    ),
    "rescaling": Case(
        "Rescaling", {"scale": 1 / 255, "offset": -0.3},
        {"numpy": lambda x: x * F32(1 / 255) + F32(-0.3),
         "torch": by_torch(lambda x: x * (1 / 255) - 0.3)},
    ),
    "rescaling-to-little": Case(
        "Rescaling", {"scale": 1e-3, "offset": 0.0},
        {"flushed": lambda x: flushed(flushed(x) * F32(1e-3)), "kept": lambda x: x * F32(1e-3)},
    ),
    "normalization-to-little": Case(
        "Normalization", {"mean": 0.0, "variance": 1e4},
        {"flushed": lambda x: flushed(flushed(x) / F32(100)), "kept": lambda x: x / F32(100)},
    ),
    "softmax": Case(
        "Softmax", {"axis": -1}, in_orders(divided) | {"torch": by_torch(torch.softmax, -1)}
    ),
    "log-softmax": Case(
        "Activation", {"activation": "log_softmax"},
        in_orders(log_shares) | {"torch": by_torch(torch.log_softmax, -1)},
    ),
    "prelu": Case("PReLU", {"shared_axes": None}, {"torch": by_torch(functional.prelu, ALPHA)}),
    "leaky-relu": Case(
        "LeakyReLU", {"negative_slope": 0.3}, {"torch": by_torch(functional.leaky_relu, 0.3)}
    ),
    "leaky-relu-of-keras-2": Case(
        "LeakyReLU", {"alpha": 0.1}, {"torch": by_torch(functional.leaky_relu, 0.1)}
    ),
    "elu": Case("ELU", {"alpha": 0.7}, {"torch": by_torch(functional.elu, 0.7)}),
    "relu": Case("ReLU", {}, {"torch": by_torch(functional.relu)}),
    "relu-of-numbers": Case(
        "ReLU", {"max_value": 2.5, "negative_slope": 0.1, "threshold": 0.7},
        {"keras": lambda x: np.where(x > F32(0.7), np.clip(x, F32(0), F32(2.5)), F32(0))
         - F32(0.1) * np.maximum(F32(0.7) - x, 0),
         "products": lambda x: np.where(x > F32(0.7), np.minimum(x, F32(2.5)),
                                        F32(0.1) * x - F32(0.1) * F32(0.7))},
    ),
    "tanh": Case("Activation", {"activation": "tanh"}, {"torch": by_torch(torch.tanh)}),
    "dropout": Case("Dropout", {"rate": 0.5}, {"nothing": lambda x: x}),
}  # fmt: skip

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


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("case", CASES)
def test_any_right_way_stays_within_the_bound(case: str, inputs: str) -> None:
    """In any order of summation, one rounding per operation, and PyTorch's own."""
    x = INPUTS[inputs]
    expected = CASES[case].bound(exactly(x))
    for way, answer in CASES[case].ways.items():
        with np.errstate(all="ignore"):
            came = answer(x)
        result = within(way, "proven", came, came, *expected)
        assert came.dtype == F32
        assert result.agree, (way, result.detail)


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


CHAIN: list[tuple[str, str, dict[str, Any]]] = [
    ("Dense", "first", {"units": 16, "activation": "relu"}),
    ("BatchNormalization", "batch", {}),
    ("Dropout", "dropped", {"rate": 0.5}),
    ("Dense", "second", {"units": 12, "use_bias": False, "activation": "tanh"}),
    ("Reshape", "pairs", {"target_shape": [6, -1]}),
    ("Dense", "of-pairs", {"units": 3, "activation": None}),
    ("LayerNormalization", "of-threes", {}),
    ("Flatten", "flat", {}),
    ("Dense", "last", {"units": 5, "activation": "softmax"}),
]  # fmt: skip
ROWS = [{"class_name": "InputLayer", "config": {"name": "input"}}] + [
    {"class_name": kind, "config": {"name": name, **config}} for kind, name, config in CHAIN
]
SHAPES = {
    "first/kernel": (N, 16), "first/bias": (16,), "batch/gamma": (16,), "batch/beta": (16,),
    "batch/moving_mean": (16,), "batch/moving_variance": (16,), "second/kernel": (16, 12),
    "of-pairs/kernel": (2, 3), "of-pairs/bias": (3,), "of-threes/gamma": (3,),
    "of-threes/beta": (3,), "last/kernel": (18, 5), "last/bias": (5,),
}  # fmt: skip
HELD = {
    name: (np.random.default_rng(i).uniform(0.5, 1.5, shape) if "variance" in name
           else 0.5 * np.random.default_rng(i).normal(size=shape)).astype(F32)
    for i, (name, shape) in enumerate(SHAPES.items())
}  # fmt: skip


def product(x: np.ndarray, kernel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """x W in float32, its terms added up in an order of their own."""
    return summed(x[..., None, :] * kernel.T, rng.permutation(len(kernel)))[..., 0]


def computed(x: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The chain in float32."""
    rng, found = np.random.default_rng(seed), {}
    z = found["first: pre-activations"] = product(x, HELD["first/kernel"], rng) + HELD["first/bias"]
    z = found["first"] = np.maximum(z, 0)
    mean, variance = HELD["batch/moving_mean"], HELD["batch/moving_variance"]
    scale = HELD["batch/gamma"] / np.sqrt(variance + EPSILON)
    if seed % 2:
        z = (z - mean) * scale + HELD["batch/beta"]
    else:
        z = z * scale + (HELD["batch/beta"] - mean * scale)
    found["batch"] = found["dropped"] = z
    z = found["second: pre-activations"] = product(z, HELD["second/kernel"], rng)
    z = found["second"] = np.tanh(z)
    z = found["pairs"] = z.reshape(-1, 6, 2)
    z = found["of-pairs"] = product(z, HELD["of-pairs/kernel"], rng) + HELD["of-pairs/bias"]
    z = z - summed(z, rng.permutation(3)) / F32(3)
    z = z / np.sqrt(summed(z * z, rng.permutation(3)) / F32(3) + EPSILON)
    z = found["of-threes"] = z * HELD["of-threes/gamma"] + HELD["of-threes/beta"]
    z = found["flat"] = z.reshape(-1, 18)
    z = found["last: pre-activations"] = product(z, HELD["last/kernel"], rng) + HELD["last/bias"]
    e = np.exp(z - z.max(-1, keepdims=True))
    found["last"] = e / summed(e, rng.permutation(5))
    return found


def test_a_chain_of_layers_stays_within_its_bounds() -> None:
    """Whatever each sum's order; the last layer's bound still tells four digits."""
    x = drawn(21, 500, 1.0)
    expected = forward_layers(ROWS, HELD, exactly(x))
    for seed in range(6):
        found = computed(x, seed)
        assert list(found) == list(expected)
        for name, came in found.items():
            assert came.dtype == F32
            result = within(name, "proven", came, came, *expected[name])
            assert result.agree, (name, result.detail)
    assert np.quantile(expected["last"].allowance, 0.9) < 1e-4


@pytest.mark.parametrize("layer", ["first", "batch", "second", "of-pairs", "of-threes", "last"])
def test_a_layer_of_other_weights_breaks_its_bound_alone(layer: str) -> None:
    """One weight that is 1e-4 off shows in its own layer, and nowhere before it."""
    x = drawn(22, 500, 1.0)
    found = computed(x, 0)
    key = next(key for key in HELD if key.startswith(layer))
    others = HELD | {key: HELD[key] + F32(1e-4)}
    expected = forward_layers(ROWS, others, exactly(x))
    broken = [
        name
        for name, came in found.items()
        if not within(name, "proven", came, came, *expected[name]).agree
    ]
    dense = layer in ("first", "second", "last")
    assert broken[0] == (f"{layer}: pre-activations" if dense else layer)


def test_the_tutorials_network_has_the_bounds_that_it_had() -> None:
    """As `bounds.forward` has them, which its stages are proven by."""
    weights = {
        "dense/kernel": KERNEL, "dense/bias": BIAS,
        "dense_1/kernel": HELD["first/kernel"][:4, :1], "dense_1/bias": HELD["first/bias"][:1],
    }  # fmt: skip
    rows = [
        {"class_name": "Dense", "config": {"name": name, "units": units, "activation": activation}}
        for name, units, activation in (("dense", 4, "relu"), ("dense_1", 1, "sigmoid"))
    ]
    x = exactly(drawn(23))
    by_stage = bounds.forward(x, weights)
    found = forward_layers(rows, weights, x)
    for (name, ours), (stage, theirs) in zip(found.items(), by_stage.items(), strict=True):
        np.testing.assert_array_equal(ours.value, theirs.value, err_msg=f"{name}: {stage}")
        # Each takes in terms of second order, some u = 2^-24 of the first, where that is simplest.
        assert np.allclose(ours.allowance, theirs.allowance, rtol=64 * 2.0**-24, atol=0)


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ("gelu", "gelu"), ("swish", "silu"), ("hard_swish", "hard_silu"),
        ({"class_name": "function", "config": "gelu", "registered_name": "gelu"}, "gelu"),
        ({"class_name": "LeakyReLU", "config": {"negative_slope": 0.2}}, "leaky_relu"),
        ({"class_name": "Softmax", "config": {"axis": -1}}, "softmax"),
        ({"class_name": "Activation", "config": {"activation": "mish"}}, "mish"),
        (None, "linear"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["Dense", "Activation"])
def test_an_activation_is_told_in_several_ways(kind: str, told: Any, named: str) -> None:
    """By a name or another, as a function, as a layer."""
    x = exactly(drawn(24))
    found = []
    for activation in (told, named):
        row = {"class_name": kind, "config": {"name": "l", "units": 4, "activation": activation}}
        found.append(forward_layers([row], {"l/kernel": KERNEL, "l/bias": BIAS}, x)["l"])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_shared_axes_and_last_axes_of_many() -> None:
    """PReLU's weights go with the axes that are not shared; others with the last of three."""
    x = drawn(25, 60).reshape(60, 1, N) * F32([1, 2, 3])[:, None]
    alpha = F32([[0.5], [0.25], [2.0]])
    row = {"class_name": "PReLU", "config": {"name": "l", "shared_axes": [2]}}
    found = forward_layers([row], {"l/alpha": alpha}, exactly(x))["l"]
    came = np.where(x > 0, x, alpha * x)
    assert within("prelu", "proven", came, came, *found).agree
    for case in ("dense", "batch-normalization", "layer-normalization", "softmax", "normalization"):
        whole = CASES[case]._replace(config=CASES[case].config | {"axis": -1}).bound(exactly(x))
        flat = CASES[case].bound(exactly(x.reshape(-1, N)))
        for part, rows in zip(whole, flat, strict=True):
            np.testing.assert_array_equal(part.reshape(rows.shape), rows)


REFUSALS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "kind": (layer("Conv1D"), r"no bound is known of 'l' \(Conv1D\); expected layers Dense, "),
    "all-kinds": (
        layer("LSTM") + layer("Dense", activation="glu"), r"of 'l' \(LSTM\), 'l' \(glu\); "
    ),
    "activation": (layer("Activation", activation="sparsemax"), r"'l' \(sparsemax\)"),
    "needs-numbers": (layer("Activation", activation="threshold"), r"'l' \(threshold\)"),
    "function": (
        layer("Dense", activation={"class_name": "function", "config": "mine"}), r"'l' \(mine\)"
    ),
    "layer-as-activation": (
        layer("Dense", activation={"class_name": "Lambda", "config": {}}), r"\(Lambda\)"
    ),
    "no-activation": (layer("Dense", activation=7), r"'l' \(7\)"),
    "missing": (layer("Dense", units=4), r"weight l/kernel is missing; expected \(7, 4\)"),
    "shape": (
        layer("PReLU"), r"weight l/alpha has the shape \(1,\); expected \(7,\)"
    ),
    "weights-of-an-activation": (
        layer("Activation", activation={"class_name": "PReLU", "config": {}}), "alpha is missing"
    ),
    "axis": (layer("Softmax", axis=0), r"'l' has axis=0; expected -1"),
    "axes": (layer("BatchNormalization", axis=[0]), r"'l' has axis=\[0\]; expected -1"),
    "several-axes": (layer("LayerNormalization", axis=[0, 1]), r"axis=\[0, 1\]; expected -1"),
    "unit-axis": (layer("UnitNormalization", axis=0), "axis=0"),
    "normalization-axis": (layer("Normalization", axis=0, mean=[1], variance=[1]), "axis=0"),
    "renorm": (layer("BatchNormalization", renorm=True), "renorm=True; expected False"),
    "rms": (layer("LayerNormalization", rms_scaling=True), "rms_scaling=True; expected False"),
    "inverse": (layer("Normalization", invert=True), "invert=True; expected False"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_no_bound_is_known_of_is_refused(case: str) -> None:
    """In one line that names it; nothing is passed over in silence."""
    rows, said = REFUSALS[case]
    with pytest.raises(ValueError, match=said):
        forward_layers(rows, {"l/alpha": np.zeros(1, F32)}, exactly(drawn(0)))


def test_arrays_of_a_config_are_read_as_keras_writes_them() -> None:
    """Numbers of NumPy, lists, and numbers that become float32 on their way."""
    x = exactly(drawn(26))
    numbers = np.linspace(0.1, 0.7, N)
    written = {"class_name": "__numpy__", "config": {"value": numbers.tolist(), "dtype": "float32"}}
    for scale in (numbers, numbers.tolist(), written):
        found = forward_layers(layer("Rescaling", scale=scale), {}, x)["l"]
        np.testing.assert_array_equal(found.value, x.value * numbers.astype(F32).astype(float))


_LOADED = """
import sys
import parity_tests.judge.layers.chain, parity_tests.judge.layers.measure
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"torch_impl", "torch", "keras"}))
"""


def test_the_judge_of_layers_loads_nothing_of_what_it_judges() -> None:
    """At no remove; nor a framework, before it is asked to measure one."""
    answer = subprocess.run(
        [sys.executable, "-c", _LOADED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == []


LIVE: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Rescaling", [1 / 3, -0.1], {}),
    ("Normalization", [], {}),
    ("Dense", [16], {"activation": "relu"}),
    ("BatchNormalization", [], {}),
    ("LeakyReLU", [0.3], {}),
    ("Dense", [12], {"activation": "tanh"}),
    ("Dropout", [0.5], {}), ("GaussianNoise", [0.1], {}), ("GaussianDropout", [0.1], {}),
    ("AlphaDropout", [0.1], {}), ("ActivityRegularization", [0.1], {}),
    ("Dense", [12], {"activation": "gelu", "use_bias": False}),
    ("LayerNormalization", [], {}),
    ("PReLU", [], {}),
    ("Dense", [12], {"activation": "mish"}),
    ("UnitNormalization", [], {}),
    ("ELU", [0.7], {}),
    ("Dense", [12], {"activation": "silu"}),
    ("ReLU", [], {"max_value": 2.5, "negative_slope": 0.1, "threshold": 0.7}),
    ("BatchNormalization", [], {"center": False, "epsilon": 0.01}),
    ("Reshape", [[3, 4]], {}), ("SpatialDropout1D", [0.1], {}),
    ("Dense", [4], {"activation": "elu"}),
    ("LayerNormalization", [], {"scale": False}),
    ("Softmax", [], {}),
    ("Flatten", [], {}),
    ("Dense", [6], {"activation": "hard_sigmoid"}),
    ("Normalization", [], {"mean": 0.3, "variance": 0.25}),
    ("Activation", ["log_softmax"], {}),
    ("Dense", [5], {"activation": "softmax"}),
    ("Dense", [1], {"activation": "sigmoid"}),
]  # fmt: skip


@OF_TODAY
def test_keras_stays_within_the_bounds_of_every_kind(keras: KerasProcess) -> None:
    """Carried from the first layer on, and of each layer alone, of what Keras gives to it."""
    assert {kind for kind, *_ in LIVE} == set(KINDS)
    features = drawn(31, 1000, 1.0)
    theirs = keras.call("family.layer_outputs", LIVE, features)
    carried = forward_layers(theirs["rows"], theirs["weights"], exactly(features))
    for asked in ("op by op", "predict"):
        x = features
        for row in theirs["rows"][1:]:  # after the InputLayer
            name = row["config"]["name"]
            came = theirs[asked][name]
            alone = forward_layers([row], theirs["weights"], exactly(x))[name]
            for expected in (carried[name], alone):
                result = within(name, "proven", came, came, *expected)
                assert result.agree, (asked, name, result.detail)
                assert np.isfinite(expected.allowance).all(), name
            x = came
    # Thirty layers on, a bound on what thirty layers may do at the worst.
    assert np.median(carried[name].allowance) < 1e-2


@OF_TODAY
def test_outputs_of_a_file_are_those_of_its_chain(keras: KerasProcess, tmp_path: Path) -> None:
    """Layer by layer, of the weights in it; what a file is read for is what was written."""
    chain = [("BatchNormalization", [], {}), ("Dense", [3], {"activation": "tanh"})]
    features = drawn(32, 50)
    keras.call("family.write", str(tmp_path / "x"), chain, features, (".keras",))
    read = keras.call("family.layer_outputs", str(tmp_path / "x.keras"), features)
    made = keras.call("family.layer_outputs", chain, features)
    for asked in ("weights", "op by op", "predict"):
        for ours, theirs in zip(read[asked].values(), made[asked].values(), strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)
    kinds = [row["class_name"] for row in read["rows"]]
    assert kinds == ["InputLayer", "BatchNormalization", "Dense"]
