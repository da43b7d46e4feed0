"""Where to call a row fraud: by costs, by precision or recall, by how many alerts there may be."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Choice",
    "Ranking",
    "threshold_for_alerts",
    "threshold_for_cost",
    "threshold_for_precision",
    "threshold_for_recall",
]


class Choice(NamedTuple):
    """A threshold, and what it would have called fraud among the rows it was chosen on."""

    threshold: float
    true_positives: int
    false_positives: int
    positives: int
    rows: int

    @property
    def alerts(self) -> int:
        """Rows called fraud."""
        return self.true_positives + self.false_positives

    @property
    def precision(self) -> float:
        """Share of frauds among the alerts; 1 where there is none."""
        return self.true_positives / self.alerts if self.alerts else 1.0

    @property
    def recall(self) -> float:
        """Share of the frauds that are found; 1 where there are none."""
        return self.true_positives / self.positives if self.positives else 1.0


class Ranking:
    """Rows by falling probability.

    Candidate k calls fraud the k groups of equal probabilities that are the highest, from
    none of them to all. Rows of one probability are never parted.

    Args:
        probabilities: (N,) or (N, 1), float32 or float64, 0 to 1.
        labels: (N,) or (N, 1), 0 or 1; None where nobody knows: there are no frauds then.

    Raises:
        ValueError: there are no rows, a probability or a label is none, or shapes differ.
    """

    positives: int
    """Frauds among the rows."""
    negatives: int
    """The other rows."""

    levels: NDArray[np.floating]
    """The K different probabilities, falling."""
    true_positives: NDArray[np.int64]
    """Of each of the K + 1 candidates."""
    false_positives: NDArray[np.int64]
    """Likewise."""

    def __init__(self, probabilities: ArrayLike, labels: ArrayLike | None = None) -> None:
        p = _column(probabilities)
        frauds = np.zeros(p.shape, bool) if labels is None else _column(labels)
        if p.ndim != 1 or p.shape != frauds.shape or not len(p):
            raise ValueError(
                f"Ranking: probabilities of {p.shape} rows came with labels of {frauds.shape}; "
                "expected as many of both, and a row at least"
            )
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError("Ranking: a probability is not between 0 and 1")
        if not np.isin(frauds, (0, 1)).all():
            raise ValueError("Ranking: labels hold others than 0 and 1")
        levels, group = np.unique(p, return_inverse=True)
        self.levels = levels[::-1]
        of_level = np.bincount(group, minlength=len(levels))[::-1]
        frauds_of_level = np.bincount(group[frauds.astype(bool)], minlength=len(levels))[::-1]
        self.positives = int(frauds_of_level.sum())
        self.negatives = len(p) - self.positives
        self.true_positives, self.false_positives = (
            np.concatenate([[0], np.cumsum(counts)])
            for counts in (frauds_of_level, of_level - frauds_of_level)
        )

    def reachable(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """True and false positives of those candidates that some threshold gives.

        Rows of probability 0 are above none: a threshold is at least 0.
        """
        candidates = len(self.levels) + bool(self.levels[-1] > 0)
        return self.true_positives[:candidates], self.false_positives[:candidates]

    def at(self, threshold: float) -> Choice:
        """What a threshold calls fraud: rows whose probability is above it.

        Args:
            threshold: 0 to 1, compared in the probabilities' dtype.
        """
        above = self.levels > self.levels.dtype.type(threshold)
        return self._called(threshold, int(np.count_nonzero(above)))

    def choice(self, candidate: int) -> Choice:
        """The threshold of a candidate: halfway to the next lower probability, in their dtype.

        Halfway, so that a runtime that rounds otherwise calls the same rows fraud.
        """
        one, zero = self.levels.dtype.type(1), self.levels.dtype.type(0)
        above = self.levels[candidate - 1] if candidate else one
        below = self.levels[candidate] if candidate < len(self.levels) else zero
        middle = below + (above - below) / 2
        return self._called(float(middle if middle < above or not candidate else below), candidate)

    def _called(self, threshold: float, candidate: int) -> Choice:
        return Choice(
            threshold,
            int(self.true_positives[candidate]),
            int(self.false_positives[candidate]),
            self.positives,
            self.positives + self.negatives,
        )


def threshold_for_cost(ranking: Ranking, miss: float, false_alarm: float) -> Choice:
    """The least cost on these rows; of equal ones that with the fewest alerts.

    Args:
        ranking: labelled rows.
        miss: cost of a fraud that is not called one, 0 or more.
        false_alarm: cost of another row that is, in the same unit, 0 or more.

    Raises:
        ValueError: a cost is negative, or both are 0.
    """
    if not (0 <= miss < math.inf and 0 <= false_alarm < math.inf and miss + false_alarm > 0):
        raise ValueError(
            f"costs of a miss={miss} and of a false alarm={false_alarm}; expected 0 or more, and "
            "one above 0"
        )
    found, alarms = ranking.reachable()
    return ranking.choice(int(np.argmin(miss * (ranking.positives - found) + false_alarm * alarms)))


def threshold_for_precision(ranking: Ranking, precision: float) -> Choice:
    """The most frauds found with at least so many of the alerts right.

    Args:
        ranking: labelled rows.
        precision: share of frauds among the alerts, above 0, at most 1.

    Raises:
        ValueError: the share is out of range, or no threshold has it; the best is told.
    """
    _check_share("precision", precision)
    found, alarms = (counts[1:] for counts in ranking.reachable())
    reached = found / (found + alarms)
    serves = np.flatnonzero(reached >= precision)
    if not len(serves):
        raise _unreached("precision", precision, reached)
    most = serves[found[serves] == found[serves].max()]
    return ranking.choice(int(most[0]) + 1)


def threshold_for_recall(ranking: Ranking, recall: float) -> Choice:
    """The fewest alerts among which is at least so large a share of the frauds.

    Args:
        ranking: labelled rows, a fraud among them.
        recall: share of the frauds, above 0, at most 1.

    Raises:
        ValueError: the share is out of range, there is no fraud, or no threshold has it.
    """
    _check_share("recall", recall)
    if not ranking.positives:
        raise ValueError(f"recall={recall}: there is no fraud among the rows; expected one")
    reached = ranking.reachable()[0] / ranking.positives
    serves = np.flatnonzero(reached >= recall)
    if not len(serves):
        raise _unreached("recall", recall, reached)
    return ranking.choice(int(serves[0]))


def threshold_for_alerts(ranking: Ranking, alerts: float) -> Choice:
    """As many alerts as can be looked at, and no more.

    Args:
        ranking: rows, labelled or not, as many as come in the time that `alerts` is for.
        alerts: at most so many, 0 or more.

    Raises:
        ValueError: the number is negative.
    """
    if not alerts >= 0:
        raise ValueError(f"alerts={alerts}; expected 0 or more")
    found, alarms = ranking.reachable()
    return ranking.choice(int(np.flatnonzero(found + alarms <= alerts)[-1]))


def _column(values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    return array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array


def _unreached(name: str, share: float, reached: NDArray[np.floating]) -> ValueError:
    best = reached.max(initial=0.0)
    return ValueError(f"{name}={share}: no threshold reaches it; the best is {best:.4g}")


def _check_share(name: str, share: float) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"{name}={share}; expected a share above 0, at most 1")
