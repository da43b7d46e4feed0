"""The tutorial's three splits, row for row as scikit-learn's `train_test_split` makes them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Splits", "split_rows"]

_HELD_OUT = 0.2


class Splits(NamedTuple):
    """Places of rows in the table, int64, each row in one of the three."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_rows(rows: int, seed: int) -> Splits:
    """A fifth for testing, and a fifth of what is left for validation.

    Follows `train_test_split(frame, test_size=0.2, random_state=seed)` of the rows, and again
    of what it leaves (sklearn/model_selection/_split.py, `ShuffleSplit`).

    Args:
        rows: how many, at least 3.
        seed: `random_state` of both, 0 to 2**32 - 1.

    Raises:
        ValueError: there are fewer rows.
    """
    if rows < 3:
        raise ValueError(f"{rows} rows cannot be split in three; expected 3 at least")
    kept, test = _parted(rows, seed)
    train, validation = _parted(len(kept), seed)
    return Splits(kept[train], kept[validation], test)


def _parted(rows: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # NumPy keeps the stream of RandomState as it is for good (NEP 19).
    order = np.random.RandomState(seed).permutation(rows)
    held_out = math.ceil(_HELD_OUT * rows)
    return order[held_out:], order[:held_out]
