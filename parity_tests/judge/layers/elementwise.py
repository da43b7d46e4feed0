"""How far a float32 activation may lie from the true one, and how it hands an error on.

A sum has an error bound that follows from its roundings. An exponential has none, for each
library has its own, but it has one argument, so that its error can be measured:
`python -m parity_tests.judge.layers.measure` does so in TensorFlow and in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from parity_tests.judge.bounds import MAX32, Bounded
from parity_tests.judge.sigmoid import SIGMOID_ULP, TINY, float64_sigmoid

__all__ = [
    "ACTIVATIONS",
    "FLOOR",
    "MEASURED_ULP",
    "Elementwise",
    "applied",
    "claimed",
    "elu",
    "leaky_relu",
    "relu",
    "threshold",
    "ulp_of",
]

FLOOR = 2.0**-118
"""What underflow may add: where x σ(x) is -2e-36, TensorFlow's may be 0."""

Function = Callable[[np.ndarray], np.ndarray]
Scale = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Elementwise(NamedTuple):
    """A function of one number, and how well libraries compute it in float32."""

    function: Function
    """In float64, to a few ULP of that; NaN where a library has to compute 0 · ∞."""
    ulp: float = 0.0
    """No library's error is more, in float32 ULP of `scale`; 0 of what is never rounded."""
    scale: Scale | None = None
    """From the ends of an interval to what the error of its numbers is measured by; None for
    the result itself."""
    extremes: tuple[tuple[float, float], ...] = ()
    """Where the function turns or jumps, and what it is there or tends to."""
    limit: float = np.inf
    """Nothing is claimed of larger numbers, of which some library's steps overflow."""
    nan: bool = True
    """Whether NaN gives NaN in every library. Nothing is claimed of it where it does not."""


def applied(f: Elementwise, x: Bounded) -> Bounded:
    """f(x): all that it makes of the interval which x lies in, and the library's own error.

    Between two neighbours among the interval's ends and the extremes within it f is monotone, so
    that these span all of it. The ends are rounded to float64, which moves no float32 out of the
    interval. TensorFlow's threads flush subnormal numbers: what may be one may be 0.
    """
    with np.errstate(all="ignore"):
        value = f.function(x.value)
        low, high = x.value - x.allowance, x.value + x.allowance
        tiny = (low < TINY) & (high > -TINY)
        low = np.where(tiny, np.minimum(low, 0), low)
        high = np.where(tiny, np.maximum(high, 0), high)
        ends = f.function(low), f.function(high)
        least, most = np.minimum(*ends), np.maximum(*ends)
        for place, reached in f.extremes:
            inside = (low <= place) & (place <= high)
            least = np.where(inside, np.minimum(least, reached), least)
            most = np.where(inside, np.maximum(most, reached), most)
        size = np.maximum(np.abs(least), np.abs(most))
        own = f.ulp * ulp_of(size if f.scale is None else f.scale(low, high))
        own = own + (FLOOR if f.ulp else TINY * tiny)
        unclaimed = (
            np.isinf(x.allowance)
            | (np.isfinite(x.value) & (size + own >= MAX32))
            | (_farther_end(low, high) > f.limit)
            | (np.isnan(x.value) & (not f.nan))
        )
        return claimed(value, np.maximum(most - value, value - least) + own, unclaimed)


def claimed(value: np.ndarray, allowance: np.ndarray, unclaimed: np.ndarray) -> Bounded:
    """What is claimed of a value: an allowance, wider by what float64 rounds of all this.

    Infinite where nothing is, and where it is NaN. A value that is NaN or an infinity has no
    allowance: it must be just that.
    """
    wider = np.where(np.isfinite(value), np.nan_to_num(allowance, nan=np.inf, posinf=np.inf), 0.0)
    return Bounded(value, np.where(unclaimed, np.inf, wider * (1 + 2.0**-20)))


def ulp_of(size: np.ndarray) -> np.ndarray:
    """The unit in the last place that float32 has at a size; nothing at 0."""
    held = np.minimum(np.nan_to_num(size, nan=_LARGEST, posinf=_LARGEST), _LARGEST)
    ulp = np.spacing(np.maximum(held, TINY).astype(np.float32)).astype(np.float64)
    return np.where(held == 0, 0.0, ulp)


_LARGEST = 2.0**127  # the next larger ULP would be that of infinity


# What an error is measured by, from the ends of an interval.


def _farther_end(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(low), np.abs(high))


def _below_zero(size: float) -> Scale:
    """The same wherever a number may be negative; positive ones are not rounded."""
    return lambda low, high: np.where(low < 0, size, 0.0)


# In float64, without cancellation where the result is what its error is measured by.


def _erfc(x: np.ndarray) -> np.ndarray:
    return np.frompyfunc(math.erfc, 1, 1)(x).astype(np.float64)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _hard_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.clip(x + 3, 0, 6) / 6


def _sparse_plus(x: np.ndarray) -> np.ndarray:
    return np.where(x < 1, np.maximum(x + 1, 0) ** 2 / 4, x)


# Keras's scale and α of selu, as it writes them.
_SELU, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _selu(x: np.ndarray) -> np.ndarray:
    return _SELU * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0)))


MEASURED_ULP = {
    "celu": (1.28, 0.5), "elu": (0.94, 0.5), "exponential": (1.32, 0.57), "gelu": (5.47, 5.47),
    "log_sigmoid": (7.32, 1.5), "mish": (5.26, 2.46), "selu": (1.33, 1.3), "silu": (8.55, 2.87),
    "softplus": (7.32, 1.55), "sparse_plus": (2.59, 1.92), "tanh": (6.14, 0.52),
    "tanh_shrink": (2.52, 0.76),
}  # fmt: skip
"""The largest errors of TensorFlow 2.21.0 and of PyTorch 2.13.0, rounded up, in ULP of what
`ACTIVATIONS` says they are measured by.

At every float32 from 2**-6 to 2**7 in size and at every 64th other, by
`python -m parity_tests.judge.layers.measure`. Most of TensorFlow's are those of its own loops:
compiled after a Dense layer, tanh errs by 1.3 and silu by 4.9. gelu is oneDNN's in both. What is
said of softplus is seen in arrays of less than eight, in longer ones 6.96.
"""


def relu(
    max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0
) -> Elementwise:
    """x above the threshold t, at most max_value; below it slope · (x - t), as the layer ReLU.

    Of NaN TensorFlow makes 0 where it compiles a ReLU with a Dense layer, or where t is not 0.
    """
    most, slope, least = (
        float(np.float32(number))
        for number in (np.inf if max_value is None else max_value, negative_slope, threshold)
    )

    def function(x: np.ndarray) -> np.ndarray:
        below = slope * np.minimum(x - least, 0) if slope else 0.0
        return np.where(x <= least, 0.0, np.clip(x, 0.0, most)) + below

    if not slope:
        return Elementwise(function, nan=False)
    # A difference and a product, or two products and a difference.
    return Elementwise(
        function, 3.0,
        lambda low, high: np.where(low < least, slope * (np.abs(low) + least), 0.0),
        nan=False,
    )  # fmt: skip


def leaky_relu(slope: float | np.ndarray) -> Elementwise:
    """x where it is positive, else slope · x; of one slope, or of one for each column."""
    held = np.asarray(slope, np.float32).astype(np.float64)
    return Elementwise(
        lambda x: np.where(x > 0, x, held * x), 0.5,
        lambda low, high: np.abs(held) * np.maximum(-low, 0), ((0.0, 0.0),),
    )  # fmt: skip


def elu(alpha: float = 1.0) -> Elementwise:
    """x where it is positive, else α (exp(x) - 1)."""
    held = float(np.float32(alpha))
    ulp = max(MEASURED_ULP["elu"])
    # α ULP of 1 are at most two of α, and the product is rounded.
    return Elementwise(
        lambda x: np.where(x > 0, x, held * np.expm1(np.minimum(x, 0))),
        ulp if held == 1 else 2 * ulp + 1,
        _below_zero(abs(held)), ((0.0, 0.0),),
    )  # fmt: skip


def threshold(least: float, other: float) -> Elementwise:
    """x above `least`, else `other`. Keras has no name for one with its numbers."""
    held, instead = float(np.float32(least)), float(np.float32(other))
    return Elementwise(
        lambda x: np.where(x <= held, instead, x),
        extremes=((held, instead), (held, held)), nan=False,
    )  # fmt: skip


ACTIVATIONS: dict[str, Elementwise] = {
    "linear": Elementwise(lambda x: x),
    "relu": relu(),
    "relu6": relu(6.0),
    "leaky_relu": leaky_relu(0.2),
    "hard_tanh": Elementwise(lambda x: np.clip(x, -1, 1)),
    "hard_shrink": Elementwise(lambda x: np.where(np.abs(x) <= 0.5, 0, x), nan=False),
    "soft_shrink": Elementwise(lambda x: x - np.clip(x, -0.5, 0.5), 0.5, nan=False),
    # Counted: a sum, a quotient or a product with a rounded sixth, another product.
    "hard_sigmoid": Elementwise(_hard_sigmoid, 2.5, nan=False),  # by relu6
    "hard_silu": Elementwise(
        lambda x: x * _hard_sigmoid(x), 3.5, extremes=((-1.5, -0.375),), limit=2.0**125
    ),
    "softsign": Elementwise(lambda x: x / (1 + np.abs(x)), 1.5),  # a sum, a quotient
    # A square, two sums and a root, half of them: x + √ cancels where x is negative.
    "squareplus": Elementwise(
        lambda x: (x + np.sqrt(x * x + 4)) / 2, 2.5,
        lambda low, high: np.hypot(_farther_end(low, high), 2), limit=2.0**63,
    ),
    "sparse_sigmoid": Elementwise(lambda x: np.clip((x + 1) / 2, 0, 1), 0.5),
    # Measured, by the result where nothing is said.
    "sparse_plus": Elementwise(_sparse_plus, max(MEASURED_ULP["sparse_plus"])),
    "exponential": Elementwise(np.exp, max(MEASURED_ULP["exponential"])),
    "sigmoid": Elementwise(float64_sigmoid, SIGMOID_ULP),
    "tanh": Elementwise(np.tanh, max(MEASURED_ULP["tanh"])),
    "softplus": Elementwise(_softplus, max(MEASURED_ULP["softplus"])),
    "log_sigmoid": Elementwise(lambda x: -_softplus(-x), max(MEASURED_ULP["log_sigmoid"])),
    "silu": Elementwise(
        lambda x: x * float64_sigmoid(x), max(MEASURED_ULP["silu"]),
        extremes=((-1.2784645427610737, -0.2784645427610738),),
    ),
    # By 1: TensorFlow computes exp(x) - 1 as that difference.
    "elu": elu(),
    "celu": elu()._replace(ulp=max(MEASURED_ULP["celu"])),
    "selu": Elementwise(
        _selu, max(MEASURED_ULP["selu"]), lambda low, high: np.maximum(1, _SELU * high)
    ),
    # By the number: 1 + erf(x), tanh(softplus(x)) and x - tanh(x) are differences to it or to 1.
    "gelu": Elementwise(
        lambda x: 0.5 * x * _erfc(-x * math.sqrt(0.5)), max(MEASURED_ULP["gelu"]), _farther_end,
        ((-0.7517915246935645, -0.16997120747990366),), 2.0**126,
    ),
    "mish": Elementwise(
        lambda x: x * np.tanh(_softplus(x)), max(MEASURED_ULP["mish"]), _farther_end,
        ((-1.1924312145154952, -0.30884341301725043),),
    ),
    "tanh_shrink": Elementwise(
        lambda x: x - np.tanh(x), max(MEASURED_ULP["tanh_shrink"]), _farther_end
    ),
}  # fmt: skip
"""By Keras's name; with the numbers that the names stand for."""
