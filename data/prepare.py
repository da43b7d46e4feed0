"""The tutorial's steps from raw rows to features: clean, split, scale, clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from data.errors import DataError
from data.schema import FEATURES, RAW_FEATURES

__all__ = ["Prepared", "Split", "prepare"]

_EPS = 0.001  # euros, added before the logarithm
_CLIP = 5.0
_FEWEST_ROWS = 3  # of which each split gets one


@dataclass(frozen=True)
class Split:
    """The rows of one split; equal positions are the same transaction."""

    raw: np.ndarray
    """float64 (N, 29), columns `RAW_FEATURES`, as the file has them."""
    features: np.ndarray
    """float32 (N, 29), columns `FEATURES`."""
    labels: np.ndarray
    """float32 (N, 1), 0 or 1."""


@dataclass(frozen=True)
class Prepared:
    """The three splits, and what was measured on the way."""

    train: Split
    validation: Split
    test: Split
    scaler: StandardScaler
    """Fitted on the training rows alone."""
    positives: int
    """Over all rows, as the tutorial counts them for its initial bias."""
    negatives: int


def prepare(frame: pd.DataFrame, seed: int = 0) -> Prepared:
    """Drops Time, takes log(Amount + 0.001), splits 80/20 twice, scales and clips to ±5.

    Reproduces TensorFlow's "Classification on imbalanced data" with scikit-learn's
    `train_test_split` and `StandardScaler`; the tutorial leaves the seed open.

    Args:
        frame: checked rows, as `load` and `synthetic` give them.
        seed: `random_state` of both splits.

    Raises:
        DataError: fewer rows than three, or numbers so large that their variance overflows.
    """
    if len(frame) < _FEWEST_ROWS:
        raise DataError(f"{len(frame)} rows cannot be split in three; expected 3 at least")
    positives = int(frame["Class"].sum())
    train_and_validation, test = train_test_split(frame, test_size=0.2, random_state=seed)
    train, validation = train_test_split(train_and_validation, test_size=0.2, random_state=seed)
    cleaned = _cleaned(train)
    with np.errstate(over="ignore", invalid="ignore"):
        scaler = StandardScaler().fit(cleaned)
    for name, column, variance in zip(FEATURES, cleaned, scaler.var_, strict=True):
        if not np.isfinite(variance):
            largest = cleaned[column].abs().max()
            raise DataError(
                f"column {name!r}: its variance overflows (numbers up to {largest:.3g}); "
                "expected numbers below 1e150"
            )

    def split(rows: pd.DataFrame) -> Split:
        scaled = np.clip(scaler.transform(_cleaned(rows)), -_CLIP, _CLIP)
        return Split(
            raw=np.array(rows[list(RAW_FEATURES)], dtype=np.float64, order="C"),
            features=np.array(scaled, dtype=np.float32, order="C"),
            labels=rows["Class"].to_numpy(dtype=np.float32).reshape(-1, 1),
        )

    return Prepared(
        split(train), split(validation), split(test), scaler, positives, len(frame) - positives
    )


def _cleaned(rows: pd.DataFrame) -> pd.DataFrame:
    cleaned = rows[list(RAW_FEATURES)].copy()
    cleaned["Log Amount"] = np.log(cleaned.pop("Amount") + _EPS)
    return cleaned[list(FEATURES)]
