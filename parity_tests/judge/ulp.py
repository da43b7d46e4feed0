"""How many floats lie between two numbers, and how often how many."""

from __future__ import annotations

import numpy as np

__all__ = ["ulp_distance", "ulp_histogram"]


def ulp_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many floats lie between two arrays' elements (0 where both are NaN or both 0).

    Args:
        a: float16, float32 or float64, any shape.
        b: the same dtype and shape.

    Returns:
        int64 counts; the largest int64 where exactly one is NaN, or where float64 has more
        numbers between the two. Infinity is one above the largest float.
    """
    integer = {2: np.int16, 4: np.int32, 8: np.int64}[a.dtype.itemsize]

    def rank(x: np.ndarray) -> np.ndarray:
        bits = np.ascontiguousarray(x).view(integer).astype(np.int64)
        # Negative floats order backwards as integers: mirror them below zero.
        return np.where(bits < 0, np.iinfo(integer).min - bits, bits)

    below, above = (choose(rank(a), rank(b)) for choose in (np.minimum, np.maximum))
    # As unsigned numbers the difference of the ends of float64 does not overflow.
    distance = above.astype(np.uint64) - below.astype(np.uint64)
    distance = np.minimum(distance, np.iinfo(np.int64).max).astype(np.int64)
    one_nan, both_nan = np.isnan(a) ^ np.isnan(b), np.isnan(a) & np.isnan(b)
    return np.where(one_nan, np.iinfo(np.int64).max, np.where(both_nan, 0, distance))


def ulp_histogram(distances: np.ndarray) -> tuple[int, ...]:
    """How many distances are 0, then 1, 2 to 3, 4 to 7, …: bin k holds 2**(k-1) to 2**k - 1.

    Args:
        distances: counts of at least 0, any shape.

    Returns:
        As many bins as the largest distance needs; the bins add up to the number of elements.
    """
    apart = distances[distances != 0]  # few as a rule, and the logarithm is what takes time
    _, bit_lengths = np.frexp(apart.astype(np.float64))
    counts = np.bincount(bit_lengths.ravel(), minlength=1)
    counts[0] = distances.size - apart.size
    return tuple(int(count) for count in counts)
