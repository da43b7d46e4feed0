"""Exact probes: numbers for which every correct implementation gives the same bits.

Features and weights lie on coarse binary grids, so that every product and every partial sum,
in any order, fits float32's 24 bits. They do not fit the 11 bits that TF32 keeps of a
factor, nor bfloat16's 8: a device that quietly multiplies in those is caught.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Probe", "exact_probe"]


class Probe(NamedTuple):
    """One exact case, and the logits that follow from integer arithmetic."""

    features: np.ndarray
    """float32 (N, in_features)."""
    weights: dict[str, np.ndarray]
    """float32, under Keras's names and in Keras's layout."""
    hidden: np.ndarray
    """float32 (N, hidden_units): the hidden pre-activations."""
    logits: np.ndarray
    """float32 (N, 1)."""


def exact_probe(
    seed: int | np.random.RandomState,
    rows: int = 512,
    in_features: int = 29,
    hidden_units: int = 16,
) -> Probe:
    """Draws a probe and works its logits out in int64.

    Features are multiples of 2**-9 below 8 (12 bits: one more than TF32 keeps of a factor),
    hidden kernels multiples of 1/4 up to 1, output kernels multiples of 1/2 up to 1.

    Args:
        seed: of NumPy's generator; or a `RandomState`, which draws the same on every NumPy.
        rows: N.
        in_features: width of a row.
        hidden_units: width of the hidden layer.

    Raises:
        ValueError: the network is so wide that a sum might not fit 24 bits.
    """
    draw = (
        seed.randint
        if isinstance(seed, np.random.RandomState)
        else np.random.default_rng(seed).integers
    )

    def grid(shape: tuple[int, ...], largest: int) -> np.ndarray:
        return draw(-largest, largest + 1, shape).astype(np.int64)

    x = grid((rows, in_features), 2**12 - 1)  # in units of 2**-9
    w1, b1 = grid((in_features, hidden_units), 4), grid((hidden_units,), 2**12)  # 2**-2, 2**-11
    w2, b2 = grid((hidden_units, 1), 2), grid((1,), 2**14)  # in units of 2**-1, 2**-12
    hidden = x @ w1 + b1  # in units of 2**-11
    activations = np.maximum(hidden, 0)
    logits = activations @ w2 + b2  # in units of 2**-12
    largest = max(
        int((np.abs(x) @ np.abs(w1) + np.abs(b1)).max(initial=0)),
        int((activations @ np.abs(w2) + np.abs(b2)).max(initial=0)),
    )
    if largest > 2**24:
        raise ValueError(
            f"a sum of this probe may need {largest.bit_length()} bits; expected at most 24: "
            f"in_features={in_features}, hidden_units={hidden_units} is too wide"
        )

    def scaled(units: np.ndarray, exponent: int) -> np.ndarray:
        return np.ldexp(units.astype(np.float32), exponent)

    weights = {
        "dense/kernel": scaled(w1, -2),
        "dense/bias": scaled(b1, -11),
        "dense_1/kernel": scaled(w2, -1),
        "dense_1/bias": scaled(b2, -12),
    }
    return Probe(scaled(x, -9), weights, scaled(hidden, -11), scaled(logits, -12))
