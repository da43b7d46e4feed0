"""A BatchNormalization's moving statistics after one batch, and how far they may be off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from parity_tests.judge.bounds import Bounded, gamma

__all__ = ["moving_after"]


def moving_after(
    x: np.ndarray, weights: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> dict[str, Bounded]:
    """`mean` and `variance` as Keras has them: the batch's population variance, shares kept.

    The bound holds for a variance of squared deviations, and for one of squares less the
    squared mean.

    Args:
        x: (N, F), as float32 holds it.
        weights: with `moving_mean` and `moving_variance`, (F,).
        config: of the layer; `momentum` is the share that is kept.
    """
    x = x.astype(np.float64)
    n, kept = len(x), float(config.get("momentum", 0.99))
    mean, squares = x.mean(0), (x * x).mean(0)
    of_mean = gamma(n + 1) * np.abs(x).mean(0)
    of_variance = gamma(n + 3) * (squares + mean * mean) + 2 * np.abs(mean) * of_mean
    found = {}
    for name, own, off in (
        ("mean", mean, of_mean),
        ("variance", x.var(0), of_variance + of_mean**2),
    ):
        old = weights[f"moving_{name}"].astype(np.float64)
        value = kept * old + (1 - kept) * own
        # Both shares are rounded, both products, and their sum; or a difference is taken first.
        rounding = gamma(5) * (np.abs(old) + np.abs(own) + off)
        found[name] = Bounded(value, (1 - kept) * off + rounding)
    return found
