"""Forward error bounds of Keras's normalizations, in inference.

As in `parity_tests.judge.bounds`, each takes a `Bounded` (…, n) and gives the next one; γ_k is
k roundings of float32. TensorFlow's threads flush subnormal numbers, inputs and results. Weights
are float64 arrays of what float32 holds.
"""

from __future__ import annotations

import numpy as np

from parity_tests.judge.bounds import MAX32, Bounded, gamma
from parity_tests.judge.layers.elementwise import claimed
from parity_tests.judge.sigmoid import TINY

__all__ = [
    "batch_normalization",
    "inverse_normalization",
    "layer_normalization",
    "normalization",
    "rescaling",
    "unit_normalization",
]

# TensorFlow's 1/√ errs by 2.0308 ULP, PyTorch's by 1.4904; PyTorch's √ by 0.7500 (every float32
# of two octaves, which stand for the others). An ULP is at most two roundings.
_RSQRT, _SQRT = 5, 2
# ε and the sum v + ε, of whose errors the root leaves half; the root and the product with γ; in
# x s + (β - m s) two products and two sums.
_NORMALIZED = 1 + _RSQRT + 1 + 4
_NEARLY_ZERO = 2.0**-39
"""A root that is less may be of numbers that are flushed, and 1/√ is at most 1e12 in Keras."""


def rescaling(x: Bounded, scale: np.ndarray, offset: np.ndarray) -> Bounded:
    """x s + t, of numbers or of arrays that go with the last axes."""
    with np.errstate(all="ignore"):
        value = x.value * scale + offset
    return _scaled(value, x.allowance * np.abs(scale), x, (scale, offset), 2)


def batch_normalization(
    x: Bounded,
    scale: np.ndarray,
    offset: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
) -> Bounded:
    """(x - m) γ / √(v + ε) + β, computed so or as x s + (β - m s) with s = γ / √(v + ε).

    Args:
        x: (…, n).
        scale: γ, (n,).
        offset: β, likewise.
        mean: m, the moving mean, likewise.
        variance: v, the moving variance, likewise.
        epsilon: ε.
    """
    with np.errstate(all="ignore"):
        inverse = 1 / np.sqrt(variance + epsilon)
        value = (x.value - mean) * inverse * scale + offset
        nearly_zero = np.abs(variance + epsilon) < _NEARLY_ZERO**2
        unclaimed = nearly_zero | np.isinf(mean) | np.isinf(variance)
        return _scaled(
            value, x.allowance * np.abs(inverse * scale), x, (scale, offset), _NORMALIZED,
            inverse, np.abs(mean), unclaimed,
        )  # fmt: skip


def normalization(x: Bounded, mean: np.ndarray, variance: np.ndarray) -> Bounded:
    """(x - m) / max(√v, 1e-7) of the layer Normalization, the difference computed first."""
    v, a = x
    with np.errstate(all="ignore"):
        deviation = np.maximum(np.sqrt(variance), float(np.float32(1e-7)))
        value = (v - mean) / deviation
        size = np.where(np.isfinite(value), np.abs(v - mean), 0.0) + a
        # A difference, the root or 1e-7, and a quotient or a reciprocal and a product.
        rounding = gamma(1 + _SQRT + 2) * size / deviation
        underflow = TINY * (2 / deviation + 2)
        unclaimed = (
            (np.maximum(size, size / deviation) * (1 + 2.0**-16) >= MAX32)
            | ~np.isfinite(mean) | ~np.isfinite(variance) | (variance < 0)
        )  # fmt: skip
        return claimed(value, a / deviation + rounding + underflow, unclaimed)


def inverse_normalization(x: Bounded, mean: np.ndarray, variance: np.ndarray) -> Bounded:
    """m + x max(√v, 1e-7) of the layer Normalization with `invert`."""
    with np.errstate(all="ignore"):
        deviation = np.maximum(np.sqrt(variance), float(np.float32(1e-7)))
        value = mean + x.value * deviation
        unclaimed = ~np.isfinite(mean) | ~np.isfinite(variance) | (variance < 0)
        return _scaled(
            value, x.allowance * deviation, x, (deviation, mean), _SQRT + 2, unclaimed=unclaimed
        )


def layer_normalization(
    x: Bounded, scale: np.ndarray, offset: np.ndarray, epsilon: float
) -> Bounded:
    """(x - μ) γ / √(σ² + ε) + β, of each row's mean μ and population variance σ².

    However the variance is computed: from the distances to the mean, by updates, or as
    E[x²] - E[x]². Where the last of these may be nothing but its rounding, nothing is claimed.

    Args:
        x: (…, n).
        scale: γ, (n,).
        offset: β, likewise.
        epsilon: ε.
    """
    v, a = x
    n = v.shape[-1]
    with np.errstate(all="ignore"):
        mean = v.mean(-1, keepdims=True)
        z = v - mean
        deviation = np.sqrt((z * z).mean(-1, keepdims=True) + epsilon)
        y = z / deviation
        # √(σ² + ε) is a norm, of the distances to the mean and √ε: what moves these by some
        # norm moves it by no more. Taking the mean off makes no norm larger.
        moved_mean = a.mean(-1, keepdims=True)
        moved = a * (1 - 2 / n) + moved_mean
        moved_deviation = np.sqrt((a * a).mean(-1, keepdims=True))
        narrow = np.maximum(deviation - moved_deviation, np.sqrt(epsilon))
        carried = (moved + np.abs(y) * moved_deviation) / narrow
        # Roundings of the mean, and of E[x²] - E[x]², which are more than the other ways'.
        size = np.abs(v) + a
        square = (size * size).mean(-1, keepdims=True)
        mean_size = np.abs(mean) + moved_mean
        mean_error = gamma(n + 1) * size.mean(-1, keepdims=True) + 2 * TINY
        variance_error = (
            gamma(n + 6) * square + (2 * mean_size + mean_error) * mean_error + 4 * TINY
        )
        # The most that it may be; NaN or infinite, and so nothing claimed, where the variance may
        # be nothing but its rounding.
        inverse = 1 / np.sqrt(narrow**2 - variance_error)
        own = (np.abs(z) + moved) * (inverse - 1 / narrow) + mean_error * inverse
        finite = np.isfinite(v).all(-1, keepdims=True)
        unclaimed = finite & ((narrow < _NEARLY_ZERO) | (n * square >= MAX32 / 2))
        return _scaled(
            y * scale + offset, (carried + own) * np.abs(scale), x, (scale, offset), _NORMALIZED,
            inverse, mean_size + mean_error, unclaimed | np.isinf(a).any(-1, keepdims=True),
        )  # fmt: skip


def unit_normalization(x: Bounded) -> Bounded:
    """x / √Σx², or 0 of a row of zeros. Of a row that is nearly so, nothing is claimed."""
    v, a = x
    n = v.shape[-1]
    with np.errstate(all="ignore"):
        norm = np.sqrt((v * v).sum(-1, keepdims=True))
        value = v * np.minimum(1 / norm, 1e12)
        moved = np.sqrt((a * a).sum(-1, keepdims=True))
        size = np.where(np.isfinite(v), np.abs(v), 0.0) + a
        least = norm - moved
        carried = (a + np.abs(value) * moved) / least
        # Of the sum's errors the root leaves half.
        own = gamma(n // 2 + 1 + _RSQRT + 1) * (np.abs(value) + carried) + TINY * (1 / least + 1)
        zero = (size == 0).all(-1, keepdims=True)
        unclaimed = (
            np.isinf(a).any(-1, keepdims=True)
            | ~(zero | np.isnan(norm) | (least >= _NEARLY_ZERO))
            | ((size * size).sum(-1, keepdims=True) >= MAX32 / 2)
        )
        return claimed(value, np.where(zero, 0.0, carried + own), unclaimed)


def _scaled(
    value: np.ndarray,
    error: np.ndarray,
    x: Bounded,
    parameters: tuple[np.ndarray, np.ndarray],
    roundings: int,
    inverse: np.ndarray | float = 1.0,
    shift: np.ndarray | float = 0.0,
    unclaimed: np.ndarray | bool = False,
) -> Bounded:
    """(x - m) r γ + β, with the roundings of either way to compute it.

    Args:
        value: what it is.
        error: what is allowed to it before these roundings.
        x: what comes in.
        parameters: γ and β.
        roundings: of x r γ and m r γ. β is part of two sums, or one.
        inverse: the most that r may be.
        shift: the most that |m| may be.
        unclaimed: where nothing is claimed in any case.
    """
    scale, offset = parameters
    finite = np.isfinite(x.value)
    size = np.where(finite, np.abs(x.value), 0.0) + x.allowance + shift
    strength = np.abs(scale) * inverse
    reach = size * strength + np.abs(offset)
    rounding = gamma(roundings) * size * strength + gamma(2) * np.abs(offset)
    largest = np.maximum(np.maximum(reach, strength), size * np.maximum(inverse, 1))
    # Each of γ and γ r may be flushed, x and m, β, and what comes of them.
    underflow = TINY * (size * (inverse + 1) + 2 * strength + 5)
    flushed = (scale != 0) & (np.minimum(np.abs(scale), strength) < TINY)
    return claimed(
        value,
        error + rounding + underflow,
        unclaimed
        | (largest * (1 + 2.0**-16) >= MAX32)
        | np.isinf(scale) | np.isinf(offset)
        | (np.isinf(x.value) & flushed),
    )  # fmt: skip
