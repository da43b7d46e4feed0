"""How far a column of the rows tells frauds from the others, and how both are distributed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["class_histogram", "separation"]

Floats = NDArray[np.float64]


def separation(frauds: Floats, others: Floats) -> float:
    """The two-sample Kolmogorov–Smirnov distance, 0 to 1.

    How far apart the two distribution functions are where they are farthest: 1 if some number
    parts the classes.

    Args:
        frauds: (N,) values of one class, one at least.
        others: (M,) values of the other.
    """
    points = np.concatenate([frauds, others])
    below = [np.searchsorted(np.sort(v), points, side="right") / len(v) for v in (frauds, others)]
    return float(np.abs(below[0] - below[1]).max())


def class_histogram(
    frauds: Floats, others: Floats, bins: int, logarithmic: bool = False
) -> tuple[Floats, Floats, Floats]:
    """Where each class's values are.

    The bins lie between the least and the greatest of both classes' 0.5 % and 99.5 % quantiles;
    what is beyond is in the outermost ones.

    Args:
        frauds: (N,) values of one class, one at least.
        others: (M,) values of the other.
        bins: how many.
        logarithmic: whether bins are equally wide in the logarithm. Values below 0.01 count
            as that.

    Returns:
        Edges (bins + 1,); share of each class's values in each bin, (bins,).
    """
    classes = [np.log(np.maximum(v, 0.01)) if logarithmic else v for v in (frauds, others)]
    ends = np.array([np.quantile(v, (0.005, 0.995)) for v in classes])
    low, high = ends.min(), ends.max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    shares = [np.histogram(np.clip(v, low, high), edges)[0] / len(v) for v in classes]
    return np.exp(edges) if logarithmic else edges, shares[0], shares[1]
