"""The tutorial's oversampling of the rare class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["oversample"]


def oversample(x: ArrayLike, y: ArrayLike, *, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows with as many positives as negatives, positives drawn with replacement, shuffled.

    Follows the NumPy lines of the tutorial ("Oversample the minority class") draw for draw:
    after `keras.utils.set_random_seed(seed)`, which seeds NumPy too, they give these rows in
    this order. Train on them with `fit(..., steps_per_epoch=20)` as the tutorial does, for
    early stopping to see the model more often, and start the output bias at 0: the rows
    are balanced.

    Args:
        x: (N, F) rows.
        y: (N,) or (N, 1) labels, 0 or 1.
        seed: what `set_random_seed` got, 0 to 2**32 - 1.

    Returns:
        (2 M, F) rows and their labels in the form of `y`, M the number of negatives.

    Raises:
        ValueError: shapes do not fit, a label is not 0 or 1, or there is no positive.
    """
    rows, labels = np.asarray(x), np.asarray(y)
    if labels.shape not in ((len(rows),), (len(rows), 1)):
        raise ValueError(f"oversample: y came as {labels.shape}; expected ({len(rows)}, 1)")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("oversample: y holds labels other than 0 and 1")
    (positive,), (negative,) = (np.nonzero(labels.reshape(-1) == kind) for kind in (1, 0))
    if len(positive) == 0:
        raise ValueError("oversample: y holds no label 1; expected at least one to draw")
    # NumPy keeps the stream of RandomState as it is for good (NEP 19).
    generator = np.random.RandomState(seed)
    drawn = positive[generator.choice(np.arange(len(positive)), len(negative))]
    order = np.arange(2 * len(negative))
    generator.shuffle(order)
    taken = np.concatenate([drawn, negative])[order]
    return rows[taken], labels[taken]
