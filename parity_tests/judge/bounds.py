"""How far float32 may lie from float64: forward error bounds, computed per element.

The bound on a sum of n products in any order is |error| ≤ γ_n Σ|x_i||w_i| with
γ_n = n u / (1 - n u) and u the unit roundoff (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., eq. 3.5). Each function takes a float64 `Bounded`, what the stage before
may be off by, and gives the next one. Fused multiply-adds round less often, so the bound
holds for them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from parity_tests.judge.sigmoid import SIGMOID_ULP, TINY, float64_sigmoid

__all__ = [
    "Bounded",
    "affine",
    "clipped_crossentropy",
    "exactly",
    "first_adam_step",
    "forward",
    "gamma",
    "gradients",
    "relu",
    "sigmoid",
    "standardised",
]

U32, U64 = 2.0**-24, 2.0**-53
MAX32 = float(np.finfo(np.float32).max)

_ROWS = 2048  # at a time: what is computed on the way stays in the cache, in half the time

# Bounds are themselves computed in float64; this covers the rounding of doing so.
_INFLATION = 1 + 2.0**-30


class Bounded(NamedTuple):
    """A float64 value and how far a float32 computation of it may be off, elementwise."""

    value: np.ndarray
    allowance: np.ndarray


def gamma(n: int, u: float = U32) -> float:
    """γ_n = n u / (1 - n u)."""
    return n * u / (1 - n * u)


def affine(x: Bounded, weight: np.ndarray, bias: np.ndarray) -> Bounded:
    """x W + b in float32, summed in any order.

    Underflow is counted too: TensorFlow's threads flush subnormal inputs and results to
    zero. The allowance is infinite, and so nothing is claimed, where the outcome depends on
    the library's ways: where the finite terms may overflow float32 in some order, and where
    an infinity meets a weight that may be flushed.

    Args:
        x: (N, n) values, and allowances inherited from the stage before.
        weight: (n, m) as float32 holds it.
        bias: (m,) likewise.
    """
    weight, bias = weight.astype(np.float64), bias.astype(np.float64)
    n = weight.shape[0]
    finite = np.isfinite(x.value)
    size = np.where(finite, np.abs(x.value), 0.0) + np.where(
        np.isfinite(x.allowance), x.allowance, 0.0
    )
    steepness = np.where(np.isfinite(weight), np.abs(weight), 0.0)
    offset = np.where(np.isfinite(bias), np.abs(bias), 0.0)
    magnitude = size @ steepness + offset
    inherited = np.where(np.isfinite(x.allowance), x.allowance, 0.0) @ steepness
    # Each input may be flushed (|x| or |w| below TINY counts as 0), each of n products and
    # n sums may end below TINY.
    underflow = 2 * TINY * (size.sum(axis=1, keepdims=True) + steepness.sum(axis=0) + 2 * n + 1)
    rounding = (gamma(n + 1) + gamma(n + 1, U64)) * magnitude
    allowance = (inherited + rounding + underflow) * _INFLATION
    may_overflow = magnitude * (1 + gamma(n + 1)) + underflow >= MAX32
    flushed = (weight != 0) & (np.abs(weight) < TINY)
    infinity_times_flushed = np.isinf(x.value) @ flushed  # NaN or infinity
    unclaimed = may_overflow | infinity_times_flushed | np.isinf(x.allowance).any(1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf and 0 * inf are NaN, as meant
        value = x.value @ weight + bias
    return Bounded(value, np.where(unclaimed, np.inf, allowance))


def relu(x: Bounded) -> Bounded:
    """max(x, 0): exact, so that only the inherited allowance counts, and none below zero."""
    value = np.maximum(x.value, 0)  # NaN stays NaN
    below = np.isfinite(x.value) & (x.value < 0)
    with np.errstate(invalid="ignore"):
        above_zero = np.maximum(x.value + x.allowance, 0)
    allowance = np.where(below, above_zero, x.allowance) * _INFLATION
    return Bounded(value, allowance)


def sigmoid(x: Bounded) -> Bounded:
    """1 / (1 + exp(-x)) in float32.

    The inherited allowance is carried through the function itself, which is monotone; the
    library's own error is `SIGMOID_ULP`, measured over all float32 (`parity_tests.judge.sigmoid`).
    """
    value = float64_sigmoid(x.value)
    with np.errstate(invalid="ignore"):
        high = float64_sigmoid(x.value + x.allowance)
        low = float64_sigmoid(x.value - x.allowance)
    ulp = np.spacing(np.nan_to_num(high, nan=1.0).astype(np.float32)).astype(np.float64)
    carried = np.maximum(high - value, value - low)
    allowance = (carried + SIGMOID_ULP * ulp + TINY) * _INFLATION
    return Bounded(value, np.where(np.isinf(x.allowance), np.inf, allowance))


def forward(x: Bounded, weights: Mapping[str, np.ndarray]) -> dict[str, Bounded]:
    """Every stage of the network, carried from the features to the probabilities.

    Args:
        x: (N, in_features); an allowance of zero where both frameworks got the same bits.
        weights: `dense/kernel`, `dense/bias`, `dense_1/kernel`, `dense_1/bias` in Keras's
            layout.
    """
    blocks = [
        _forward(
            Bounded(x.value[start : start + _ROWS], x.allowance[start : start + _ROWS]), weights
        )
        for start in range(0, max(len(x.value), 1), _ROWS)
    ]
    return {
        stage: Bounded(*map(np.concatenate, zip(*(block[stage] for block in blocks), strict=True)))
        for stage in blocks[0]
    }


def _forward(x: Bounded, weights: Mapping[str, np.ndarray]) -> dict[str, Bounded]:
    pre = affine(x, weights["dense/kernel"], weights["dense/bias"])
    hidden = relu(pre)
    logits = affine(hidden, weights["dense_1/kernel"], weights["dense_1/bias"])
    return {
        "hidden pre-activations": pre,
        "hidden activations": hidden,
        "logits": logits,
        "probabilities": sigmoid(logits),
    }


# Roundings on the way from a logit to its gradient, each of a number below 2 or relative:
# exponential, sum, quotient, differences, weight, and the mean's factor.
_LOGIT_GRADIENT_ROUNDINGS = 24


def gradients(
    x: np.ndarray,
    labels: np.ndarray,
    weights: Mapping[str, np.ndarray],
    kept: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> dict[str, Bounded]:
    """Every gradient of the mean binary cross-entropy, carried back from its logits.

    Where a pre-activation may lie on either side of zero, the whole gradient that depends
    on the side is allowed for.

    Args:
        x: (N, in_features) as both frameworks hold it.
        labels: (N, 1).
        weights: in Keras's layout.
        kept: (N, hidden_units): 0 where dropped, else the scale, 1 / (1 - rate).
        sample_weight: (N, 1), or None for ones.
    """
    n = len(x)
    pre = affine(exactly(x), weights["dense/kernel"], weights["dense/bias"])
    hidden = relu(pre)
    scale_rounding = 2 * U32  # of the scale itself and of the product
    dropped = Bounded(
        hidden.value * kept, (hidden.allowance + scale_rounding * np.abs(hidden.value)) * kept
    )
    logits = affine(dropped, weights["dense_1/kernel"], weights["dense_1/bias"])
    factor = np.ones((n, 1)) if sample_weight is None else sample_weight.astype(np.float64)
    p = float64_sigmoid(logits.value)
    carried = np.maximum(
        float64_sigmoid(logits.value + logits.allowance) - p,
        p - float64_sigmoid(logits.value - logits.allowance),
    )
    dlogit = Bounded(
        (p - labels) * factor / n, (carried + gamma(_LOGIT_GRADIENT_ROUNDINGS)) * factor / n
    )
    kernel2 = weights["dense_1/kernel"].astype(np.float64)[:, 0]
    slope = (pre.value > 0) * kept * kernel2
    unsure = (np.abs(pre.value) <= pre.allowance) * np.abs(kept * kernel2)
    size = np.abs(dlogit.value) + dlogit.allowance
    dpre = Bounded(
        dlogit.value * slope,
        dlogit.allowance * np.abs(slope) + size * (unsure + gamma(4) * np.abs(slope)),
    )
    ones = Bounded(np.ones((n, 1)), np.zeros((n, 1)))
    found = {
        "dense/kernel": _product(exactly(x), dpre),
        "dense/bias": _product(ones, dpre),
        "dense_1/kernel": _product(dropped, dlogit),
        "dense_1/bias": _product(ones, dlogit),
    }
    return {
        name: Bounded(
            b.value.reshape(weights[name].shape), b.allowance.reshape(weights[name].shape)
        )
        for name, b in found.items()
    }


def _product(a: Bounded, b: Bounded) -> Bounded:
    """aᵀ b, summed over the rows in any order."""
    n = len(a.value)
    size_a, size_b = np.abs(a.value) + a.allowance, np.abs(b.value) + b.allowance
    allowance = (
        a.allowance.T @ size_b
        + np.abs(a.value).T @ b.allowance
        + (gamma(n + 2) + gamma(n + 2, U64)) * (size_a.T @ size_b)
        + 2 * TINY * (2 * n + 1)
    )
    return Bounded(a.value.T @ b.value, allowance * _INFLATION)


def first_adam_step(weight: np.ndarray, gradient: Bounded, lr: float = 1e-3) -> dict[str, Bounded]:
    """Moments and weight after Keras's first Adam step, from the gradient's bound.

    The update is monotone in the gradient, so its bound is its value at both ends.
    """
    beta1, beta2, eps = 0.9, 0.999, 1e-7
    g, error = gradient
    # Keras's corrections are of β as float32 holds it, in any dtype (keras/src/optimizers/adam.py).
    held1, held2 = float(np.float32(beta1)), float(np.float32(beta2))
    alpha = lr * np.sqrt(1 - held2) / (1 - held1)

    def update(g: np.ndarray) -> np.ndarray:
        return alpha * (1 - beta1) * g / (np.sqrt((1 - beta2) * g * g) + eps)

    carried = np.maximum(update(g + error) - update(g), update(g) - update(g - error))
    size = np.abs(update(g)) + carried
    return {
        "momentum": Bounded(
            (1 - beta1) * g, (1 - beta1) * error + gamma(4) * (np.abs(g) + error) * (1 - beta1)
        ),
        "velocity": Bounded(
            (1 - beta2) * g * g,
            (1 - beta2) * ((2 * np.abs(g) + error) * error + gamma(5) * (np.abs(g) + error) ** 2)
            + TINY,
        ),
        "weight": Bounded(
            weight - update(g),
            carried + gamma(12) * size + U32 * (np.abs(weight) + size),
        ),
    }


# Library logarithms: NumPy states at most 4 ULP for its vectorised ones, the
# others are below 1; an ULP is at most 2 u of the value.
_LOG_ULP = 4


def clipped_crossentropy(probabilities: np.ndarray, labels: np.ndarray) -> Bounded:
    """The loss of each row from probabilities clipped to 1e-7, as Keras has it in float32."""
    edge = np.float32(1e-7)
    p = np.clip(probabilities, edge, np.float32(1) - edge).astype(np.float64)
    value = -(labels * np.log(p) + (1 - labels) * np.log1p(-p))
    # 1 - p is rounded, which is relative and moves its logarithm by u; the one logarithm that
    # counts is within 4 ULP; a product and a sum.
    return Bounded(value, gamma(2 * _LOG_ULP + 2) * np.abs(value) + gamma(1))


def exactly(values: np.ndarray) -> Bounded:
    """Values that both frameworks hold without error."""
    wide = values.astype(np.float64)
    return Bounded(wide, np.zeros_like(wide))


def standardised(
    raw: np.ndarray,
    train_raw: np.ndarray,
    clip: float = 5.0,
    log_column: int | None = -1,
    u: float = U32,
) -> Bounded:
    """The tutorial's features of raw rows, with statistics measured on the training rows.

    Both sides compute in float64, in their own order of summation, and round once to
    float32. The statistics' bounds: a mean of n numbers in any order errs by at most
    γ_n Σ|x|/n; the two-pass variance by γ_{n+4} of itself plus twice the squared error of
    the mean (Chan, Golub and LeVeque, The American Statistician 37, 1983).

    Args:
        raw: float64 (N, F), the amount last.
        train_raw: float64 (M, F), the rows that mean and deviation are measured on.
        clip: features are limited to ±clip.
        log_column: the column that the logarithm is taken of.
        u: unit roundoff of the result.
    """
    logged, log_error = _logged(raw, log_column)
    train, train_log_error = _logged(train_raw, log_column)
    n = len(train)
    mean = train.mean(axis=0)
    mean_error = gamma(n, U64) * np.abs(train).mean(axis=0) * 2 + train_log_error.max(axis=0)
    variance = train.var(axis=0)
    variance_error = (
        gamma(n + 4, U64) * variance
        + 2 * mean_error**2
        + 2 * np.sqrt(variance) * train_log_error.max(axis=0)
    ) * 2  # ours and the reference's own
    # A constant column is left as wide as it is: scikit-learn tells one by what rounding alone
    # makes of its variance (sklearn/preprocessing/_data.py, _is_constant_feature).
    constant = variance <= n * 2 * U64 * variance + (n * 2 * U64 * mean) ** 2
    variance, variance_error = (
        np.where(constant, *pair) for pair in ((1.0, variance), (0.0, variance_error))
    )
    deviation = np.sqrt(variance)
    deviation_error = variance_error / (2 * deviation) + U64 * deviation
    value = (logged - mean) / deviation
    error = (
        (log_error + mean_error + U64 * np.abs(logged - mean)) / deviation
        + np.abs(value) * deviation_error / deviation
        + 2 * U64 * np.abs(value)
    ) * 2
    clipped = np.clip(value, -clip, clip)
    carried = np.maximum(
        np.clip(value + error, -clip, clip) - clipped, clipped - np.clip(value - error, -clip, clip)
    )
    rounding = np.where(carried > 0, u * (np.abs(clipped) + carried) + TINY, 0.0)
    return Bounded(clipped, (carried + rounding) * _INFLATION)


def _logged(raw: np.ndarray, column: int | None) -> Bounded:
    logged, error = raw.copy(), np.zeros_like(raw)
    if column is not None:
        logged[:, column] = np.log(raw[:, column] + 0.001)
        # The sum's rounding is relative, so it moves the logarithm by u.
        error[:, column] = 2 * (U64 + _LOG_ULP * 2 * U64 * np.abs(logged[:, column]))
    return Bounded(logged, error)
