"""Right ways to compute each kind of layer.

In any order of summation, with one rounding per operation, and PyTorch's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from parity_tests.judge.bounds import Bounded
from parity_tests.judge.layers.chain import forward_layers

__all__ = [
    "ALPHA", "BETA", "BIAS", "CASES", "EPSILON", "F32", "GAMMA", "KERNEL", "MEAN", "VARIANCE",
    "WEIGHTS", "Answer", "N", "drawn", "layer", "summed",
]  # fmt: skip

F32 = np.float32
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
    """Normal numbers, (rows, N)."""
    return (size * np.random.default_rng(seed).normal(size=(rows, N))).astype(F32)


def _in_orders(way: Callable[[Order], Answer]) -> dict[str, Answer]:
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


def _by_torch(function: Callable[..., torch.Tensor], *arguments: Any, **more: Any) -> Answer:
    held = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    return lambda x: function(torch.from_numpy(x), *held, **more).numpy()


def _flushed(x: np.ndarray) -> np.ndarray:
    """As TensorFlow's threads do it."""
    return np.where(np.abs(x) < np.finfo(F32).tiny, F32(0), x)


def _dense(order: Order) -> Answer:
    return lambda x: summed(x[:, None, :] * KERNEL.T, order)[..., 0] + BIAS


def _normalized(x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return (x - mean) * (1 / np.sqrt(variance + EPSILON)) * GAMMA + BETA


def _folded(x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    scale = 1 / np.sqrt(variance + EPSILON) * GAMMA
    return x * scale + (BETA - mean * scale)


def _two_passes(order: Order) -> Answer:
    def answer(x: np.ndarray) -> np.ndarray:
        mean = summed(x, order) / F32(N)
        return _folded(x, mean, summed((x - mean) ** 2, order) / F32(N))

    return answer


def _one_pass(order: Order) -> Answer:
    def answer(x: np.ndarray) -> np.ndarray:
        mean = summed(x, order) / F32(N)
        return _normalized(x, mean, summed(x * x, order) / F32(N) - mean * mean)

    return answer


def _by_updates(order: Order) -> Answer:
    """Welford's."""

    def answer(x: np.ndarray) -> np.ndarray:
        mean = total = np.zeros((len(x), 1), F32)
        for count, i in enumerate(order, 1):
            apart = x[:, i : i + 1] - mean
            mean = mean + apart / F32(count)
            total = total + apart * (x[:, i : i + 1] - mean)
        return _folded(x, mean, total / F32(N))

    return answer


def _divided(order: Order) -> Answer:
    def answer(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / summed(e, order)

    return answer


def _log_shares(order: Order) -> Answer:
    def answer(x: np.ndarray) -> np.ndarray:
        shifted = x - x.max(-1, keepdims=True)
        return shifted - np.log(summed(np.exp(shifted), order))

    return answer


def _by_length(order: Order) -> Answer:
    return lambda x: x * np.minimum(1 / np.sqrt(summed(x * x, order)), F32(1e12))


class Case(NamedTuple):
    """One layer, and right ways to compute it."""

    kind: str
    config: dict[str, Any]
    ways: dict[str, Answer]

    def bound(self, x: Bounded) -> Bounded:
        """What is claimed of it."""
        row = {"class_name": self.kind, "config": {"name": "layer", **self.config}}
        weights = {f"layer/{name}": weight for name, weight in WEIGHTS.items()}
        return forward_layers([row], weights, x)["layer"]


def _statistics(way: Callable[..., np.ndarray]) -> Answer:
    return lambda x: way(x, MEAN, VARIANCE)


def layer(kind: str, **config: Any) -> list[dict[str, Any]]:
    """A chain of one, as `forward_layers` takes it."""
    return [{"class_name": kind, "config": {"name": "l", **config}}]


CASES = {
    "dense": Case(
        "Dense", {"units": 4},
        _in_orders(_dense) | {"torch": _by_torch(functional.linear, KERNEL.T, BIAS)},
    ),
    "dense-without-bias": Case(
        "Dense", {"units": 4, "use_bias": False}, {"torch": _by_torch(functional.linear, KERNEL.T)}
    ),
    "batch-normalization": Case(
        "BatchNormalization", {"axis": -1, "epsilon": 1e-3}, {
            "normalized": _statistics(_normalized), "folded": _statistics(_folded),
            "torch": _by_torch(functional.batch_norm, MEAN, VARIANCE, GAMMA, BETA, eps=1e-3),
        },
    ),
    "batch-normalization-alone": Case(
        "BatchNormalization", {"axis": [1], "epsilon": 0.5, "center": False, "scale": False},
        {"torch": _by_torch(functional.batch_norm, MEAN, VARIANCE, eps=0.5)},
    ),
    "layer-normalization": Case(
        "LayerNormalization", {"axis": [-1], "epsilon": 1e-3},
        _in_orders(_two_passes) | _in_orders(_one_pass) | _in_orders(_by_updates)
        | {"torch": _by_torch(functional.layer_norm, (N,), GAMMA, BETA, 1e-3)},
    ),
    "layer-normalization-alone": Case(
        "LayerNormalization", {"epsilon": 0.1, "center": False, "scale": False},
        {"torch": _by_torch(functional.layer_norm, (N,), eps=0.1)},
    ),
    "unit-normalization": Case(
        "UnitNormalization", {"axis": -1},
        _in_orders(_by_length) | {"torch": _by_torch(functional.normalize, dim=-1, eps=1e-12)},
    ),
    "normalization": Case(
        "Normalization", {"axis": [-1]},
        {"divided": lambda x: (x - WEIGHTS["mean"]) / np.sqrt(WEIGHTS["variance"])},
    ),
    "normalization-by-numbers": Case(
        "Normalization", {"axis": [-1], "mean": 0.3, "variance": 0.01},
        {"product": lambda x: (x - F32(0.3)) * (1 / np.sqrt(F32(0.01)))},
    ),
    "normalization-inverse": Case(
        "Normalization", {"axis": [-1], "invert": True},
        {"scaled": lambda x: WEIGHTS["mean"] + x * np.sqrt(WEIGHTS["variance"])},
    ),
    "rescaling": Case(
        "Rescaling", {"scale": 1 / 255, "offset": -0.3},
        {"numpy": lambda x: x * F32(1 / 255) + F32(-0.3),
         "torch": _by_torch(lambda x: x * (1 / 255) - 0.3)},
    ),
    "rescaling-to-little": Case(
        "Rescaling", {"scale": 1e-3, "offset": 0.0},
        {"flushed": lambda x: _flushed(_flushed(x) * F32(1e-3)), "kept": lambda x: x * F32(1e-3)},
    ),
    "normalization-to-little": Case(
        "Normalization", {"mean": 0.0, "variance": 1e4},
        {"flushed": lambda x: _flushed(_flushed(x) / F32(100)), "kept": lambda x: x / F32(100)},
    ),
    "softmax": Case(
        "Softmax", {"axis": -1}, _in_orders(_divided) | {"torch": _by_torch(torch.softmax, -1)}
    ),
    "log-softmax": Case(
        "Activation", {"activation": "log_softmax"},
        _in_orders(_log_shares) | {"torch": _by_torch(torch.log_softmax, -1)},
    ),
    "prelu": Case("PReLU", {"shared_axes": None}, {"torch": _by_torch(functional.prelu, ALPHA)}),
    "leaky-relu": Case(
        "LeakyReLU", {"negative_slope": 0.3}, {"torch": _by_torch(functional.leaky_relu, 0.3)}
    ),
    "leaky-relu-of-keras-2": Case(
        "LeakyReLU", {"alpha": 0.1}, {"torch": _by_torch(functional.leaky_relu, 0.1)}
    ),
    "elu": Case("ELU", {"alpha": 0.7}, {"torch": _by_torch(functional.elu, 0.7)}),
    "relu": Case("ReLU", {}, {"torch": _by_torch(functional.relu)}),
    "relu-of-numbers": Case(
        "ReLU", {"max_value": 2.5, "negative_slope": 0.1, "threshold": 0.7},
        {"keras": lambda x: np.where(x > F32(0.7), np.clip(x, F32(0), F32(2.5)), F32(0))
         - F32(0.1) * np.maximum(F32(0.7) - x, 0),
         "products": lambda x: np.where(x > F32(0.7), np.minimum(x, F32(2.5)),
                                        F32(0.1) * x - F32(0.1) * F32(0.7))},
    ),
    "tanh": Case("Activation", {"activation": "tanh"}, {"torch": _by_torch(torch.tanh)}),
    "dropout": Case("Dropout", {"rate": 0.5}, {"nothing": lambda x: x}),
}  # fmt: skip
