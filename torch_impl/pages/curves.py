"""What the plots of a model's probabilities draw, from its ranking of the rows."""

from __future__ import annotations

import copy
import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from torch_impl.pipeline.base_rate import shift_log_odds
from torch_impl.pipeline.threshold import Ranking

__all__ = [
    "Calibration", "calibration", "equal_shares", "histogram", "precision_recall", "roc", "shifted",
]  # fmt: skip

Floats = NDArray[np.float64]

_Z = NormalDist().inv_cdf(0.975)  # on both sides of its mean lie 95 % of a normal distribution


def roc(ranking: Ranking) -> tuple[Floats, Floats]:
    """False positive rate and recall of every threshold, rising: (K + 1,) each.

    Args:
        ranking: rows of both classes.
    """
    return (
        ranking.false_positives / ranking.negatives,
        ranking.true_positives / ranking.positives,
    )


def precision_recall(ranking: Ranking) -> tuple[Floats, Floats]:
    """Precision and recall of every threshold, recall rising: (K + 1,) each.

    Without an alert the precision is 1.

    Args:
        ranking: rows, a fraud among them.
    """
    alerts = ranking.true_positives + ranking.false_positives
    precision = np.ones(len(alerts))
    precision[1:] = ranking.true_positives[1:] / alerts[1:]
    return precision, ranking.true_positives / ranking.positives


class Calibration(NamedTuple):
    """Bins of rows by their probability, rising; bins without a row are left out."""

    predicted: Floats
    """(B,) mean probability."""
    frauds: NDArray[np.int64]
    """(B,)"""
    rows: NDArray[np.int64]
    """(B,)"""

    @property
    def rates(self) -> Floats:
        """(B,) share of frauds."""
        return self.frauds / self.rows

    def interval(self) -> tuple[Floats, Floats]:
        """Between which rates the true one lies at 95 %: lower and upper, (B,) each.

        Wilson's score interval (Journal of the American Statistical Association 22, 1927).
        """
        n, rate = self.rows, self.rates
        middle = rate + _Z**2 / (2 * n)
        half = _Z * np.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2))
        whole = 1 + _Z**2 / n
        # Rounding would leave the least of 0 frauds a little off 0.
        return (
            np.where(self.frauds == 0, 0, (middle - half) / whole),
            np.where(self.frauds == n, 1, (middle + half) / whole),
        )


def calibration(ranking: Ranking, edges: Floats) -> Calibration:
    """How often rows of about the same probability are frauds.

    Args:
        ranking: labelled rows.
        edges: (B - 1,) rising, between the bins; who stands on one belongs below it.
    """
    levels = ranking.levels.astype(np.float64)
    frauds, others = np.diff(ranking.true_positives), np.diff(ranking.false_positives)
    rows = frauds + others
    which, bins = np.searchsorted(edges, levels), len(edges) + 1
    total, found, expected = (
        np.bincount(which, numbers, bins) for numbers in (rows, frauds, levels * rows)
    )
    filled = total > 0
    return Calibration(
        expected[filled] / total[filled],
        found[filled].astype(np.int64),
        total[filled].astype(np.int64),
    )


def equal_shares(ranking: Ranking, bins: int) -> Floats:
    """Edges between bins that as many frauds are expected in: quantiles, by probability.

    Where frauds are rare, bins of equal width, or of as many rows, would nearly all be empty
    of them.

    Returns:
        (bins - 1,), for `calibration`.
    """
    levels = ranking.levels[::-1].astype(np.float64)
    rows = np.diff(ranking.true_positives + ranking.false_positives)[::-1]
    expected = np.cumsum(levels * rows)
    if not expected[-1]:
        return np.empty(0)
    below = np.searchsorted(expected / expected[-1] * bins, np.arange(1, bins))
    edges: Floats = np.concatenate([[-math.inf], levels])[below]
    return edges


def shifted(ranking: Ranking, shift: float) -> Ranking:
    """The same rows with probabilities whose log-odds are moved, in float64.

    Args:
        ranking: of the rows.
        shift: added to the log-odds.
    """
    moved = copy.copy(ranking)
    levels = torch.from_numpy(ranking.levels.astype(np.float64))
    moved.levels = shift_log_odds(levels, shift).numpy()
    return moved


def histogram(ranking: Ranking, bins: int) -> tuple[Floats, Floats, Floats]:
    """Where each class's rows have their probabilities, by log-odds.

    Args:
        ranking: labelled rows.
        bins: how many, as wide as each other in log-odds.

    Returns:
        Edges (bins + 1,) in log-odds; share of the frauds, and of the other rows, that each
        bin holds, (bins,) each. What is closer to 0 or 1 than half the epsilon of its dtype is in
        the outermost bins.
    """
    levels = ranking.levels.astype(np.float64)
    tiny = np.finfo(ranking.levels.dtype).eps / 2  # the farthest from 1 that is not 1
    kept = np.clip(levels, tiny, 1 - tiny)
    odds = np.log(kept) - np.log1p(-kept)
    low, high = math.floor(odds.min()), max(math.ceil(odds.max()), math.floor(odds.min()) + 1)
    edges = np.linspace(low, high, bins + 1)
    frauds, others = (
        np.histogram(odds, edges, weights=np.diff(counts))[0] / max(counts[-1], 1)
        for counts in (ranking.true_positives, ranking.false_positives)
    )
    return edges, frauds, others
