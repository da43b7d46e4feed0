"""The curves of a model's probabilities are scikit-learn's and SciPy's."""

from __future__ import annotations

from decimal import Decimal, localcontext
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.special import logit
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

from parity_tests.judge.bounds import gamma
from torch_impl.pages.classes import class_histogram, separation
from torch_impl.pages.curves import (
    Calibration,
    calibration,
    equal_shares,
    histogram,
    precision_recall,
    roc,
    shifted,
)
from torch_impl.pipeline.base_rate import shift_log_odds
from torch_impl.pipeline.threshold import Ranking

U64 = 2.0**-53


def drawn(case: str) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels; multiples of 2**-12, so that any sum of them is exact."""
    rng = np.random.default_rng(5)
    n = {"one of each": 2}.get(case, 3000)
    labels = rng.random(n) < (0.4 if case == "even" else 0.02)
    labels[:2] = (0, 1)
    p = np.round(4096 / (1 + np.exp(4 - 3 * labels - 2 * rng.normal(size=n)))) / 4096
    if case == "tied":
        p = np.round(p * 8) / 8
    if case == "all alike":
        p = np.full(n, 0.25)
    return (p.astype(np.float32) if case == "float32" else p), labels.astype(np.float32)


CASES = ("rare", "even", "tied", "float32", "all alike", "one of each")


@pytest.mark.parametrize("case", CASES)
def test_roc_is_scikit_learns(case: str) -> None:
    """Every threshold's point, to the bit."""
    p, labels = drawn(case)
    rates, recall, _ = roc_curve(labels, p, drop_intermediate=False)
    ours = roc(Ranking(p, labels))
    np.testing.assert_array_equal(ours[0], rates)
    np.testing.assert_array_equal(ours[1], recall)


@pytest.mark.parametrize("case", CASES)
def test_precision_and_recall_are_scikit_learns(case: str) -> None:
    """Every threshold's point, to the bit, and precision 1 where there is no alert."""
    p, labels = drawn(case)
    precision, recall, _ = precision_recall_curve(labels, p)
    ours = precision_recall(Ranking(p, labels))
    np.testing.assert_array_equal(ours[0], precision[::-1])
    np.testing.assert_array_equal(ours[1], recall[::-1])


@pytest.mark.parametrize("strategy", ["quantile", "uniform"])
@pytest.mark.parametrize("case", CASES)
def test_calibration_is_scikit_learns(case: str, strategy: str) -> None:
    """Mean probability and share of frauds in bins of theirs, to the bit; and how many rows."""
    p, labels = drawn(case)
    rates, means = calibration_curve(labels, p, n_bins=7, strategy=strategy)
    steps = np.linspace(0, 1, 8)
    edges = np.percentile(p, steps * 100) if strategy == "quantile" else steps
    found = calibration(Ranking(p, labels), edges[1:-1])
    np.testing.assert_array_equal(found.predicted, means)
    np.testing.assert_array_equal(found.rates, rates)
    rows = np.bincount(np.searchsorted(edges[1:-1], p), minlength=7)
    np.testing.assert_array_equal(found.rows, rows[rows > 0])


@pytest.mark.parametrize("case", ["rare", "even", "tied", "float32"])
def test_as_many_frauds_are_expected_in_each_bin(case: str) -> None:
    """An edge is the last probability before an equal share: the next one would exceed it."""
    p, labels = drawn(case)
    expected = np.sort(p).astype(np.float64).cumsum()  # exact
    for number, edge in enumerate(equal_shares(Ranking(p, labels), 8), 1):
        share = number / 8 * expected[-1]
        last = np.searchsorted(np.sort(p), edge, side="right")
        reached = expected[last - 1] if last else 0.0
        after = np.searchsorted(np.sort(p), np.sort(p)[last], side="right")
        assert reached < share <= expected[after - 1]


def test_of_probabilities_that_are_all_0_there_is_one_bin() -> None:
    """Of which no fraud is expected."""
    ranking = Ranking(np.zeros(5), [0, 1, 0, 0, 0])
    found = calibration(ranking, equal_shares(ranking, 8))
    assert [list(of) for of in found] == [[0.0], [1], [5]]


@pytest.mark.parametrize("rows", [1, 7, 56_920])
def test_interval_is_wilsons(rows: int) -> None:
    """Its ends are where the true rate is 1.96 of its standard deviations from the found one.

    Worked out in 50 digits from z² = (p - f)² n / p (1 - p), whose terms float64 rounds a dozen
    times, each no larger than the upper end.
    """
    for frauds in sorted({0, 1, rows // 2, rows}):
        found = Calibration(np.zeros(1), np.array([frauds]), np.array([rows]))
        with localcontext() as context:
            context.prec = 50
            z2 = Decimal(NormalDist().inv_cdf(0.975)) ** 2
            rate, n = Decimal(frauds) / rows, Decimal(rows)
            a, b, c = 1 + z2 / n, -(2 * rate + z2 / n), rate**2
            half = (b * b - 4 * a * c).sqrt()
            ends = (-b - half) / (2 * a), (-b + half) / (2 * a)
        for came, end in zip(found.interval(), ends, strict=True):
            assert abs(came[0] - float(end)) <= gamma(12, U64) * float(ends[1])
        assert found.interval()[0][0] > 0 or not frauds
        assert found.interval()[1][0] < 1 or frauds == rows


def test_shifted_probabilities_keep_their_rows() -> None:
    """Other probabilities, the same counts, and the ranking itself is left as it was."""
    p, labels = drawn("rare")
    ranking = Ranking(p, labels)
    before = ranking.levels.copy()
    moved = shifted(ranking, -2.5)
    expected = shift_log_odds(torch.from_numpy(before), -2.5).numpy()
    np.testing.assert_array_equal(moved.levels, expected)
    np.testing.assert_array_equal(ranking.levels, before)
    assert (moved.positives, moved.negatives) == (ranking.positives, ranking.negatives)


@pytest.mark.parametrize("case", ["rare", "even", "tied", "float32"])
def test_histogram_counts_each_classs_rows_by_log_odds(case: str) -> None:
    """As NumPy counts them row by row; 0 and 1 are in the outermost bins."""
    p, labels = drawn(case)
    edges, *shares = histogram(Ranking(p, labels), 20)
    odds = np.clip(logit(p.astype(np.float64)), edges[0], edges[-1])
    for share, kind in zip(shares, (1, 0), strict=True):
        counts, _ = np.histogram(odds[labels == kind], edges)
        np.testing.assert_array_equal(share, counts / counts.sum())
        assert counts.sum() == (labels == kind).sum()


def test_histogram_takes_any_probabilities() -> None:
    """One alone, and those at the ends of what there is."""
    for p in ([0.5], [0.0], [1.0], [0.0, 1.0], np.float32([1e-38, 1])):
        edges, frauds, others = histogram(Ranking(p, np.zeros(len(p))), 10)
        assert np.isfinite(edges).all()
        assert (np.diff(edges) > 0).all()
        assert (frauds.sum(), others.sum()) == (0, 1)


@pytest.mark.parametrize("kind", ["apart", "alike", "tied", "one row"])
def test_separation_is_scipys(kind: str) -> None:
    """The two-sample Kolmogorov–Smirnov statistic, to the bit."""
    from scipy.stats import ks_2samp  # a second to import, for this test alone

    rng = np.random.default_rng(2)
    frauds, others = rng.normal(size=57) - 2, rng.normal(size=2000)
    if kind == "alike":
        frauds = others[:57]
    if kind == "tied":
        frauds, others = np.round(frauds), np.round(others)
    if kind == "one row":
        frauds = frauds[:1]
    assert separation(frauds, others) == ks_2samp(frauds, others, method="asymp").statistic


@pytest.mark.parametrize("logarithmic", [False, True])
def test_class_histogram_holds_every_value(logarithmic: bool) -> None:
    """Shares make up 1; what lies beyond the quantiles is in the outermost bins."""
    rng = np.random.default_rng(4)
    frauds, others = rng.lognormal(4, 2, 300), np.append(rng.lognormal(3, 1, 4000), [0, 1e9])
    edges, *shares = class_histogram(frauds, others, 40, logarithmic)
    for share, values in zip(shares, (frauds, others), strict=True):
        counts = np.bincount(np.searchsorted(edges[1:-1], values, side="right"), minlength=40)
        np.testing.assert_array_equal(share, counts / len(values))
    assert edges[-1] < 1e6
    assert min(class_histogram(np.ones(3), np.ones(5), 4)[0]) == 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_threshold_calls_what_is_above_it(dtype: type) -> None:
    """Strictly, in the dtype of the probabilities, wherever the threshold lies."""
    p, labels = drawn("rare")
    p = np.append(p, [0.1, 0.9]).astype(dtype)
    labels = np.append(labels, [1, 0])
    ranking = Ranking(p, labels)
    for threshold in (0.0, 0.1, float(dtype(0.1)), 0.25, 0.5, float(p.max()), 1.0):
        called = p > dtype(threshold)
        found = ranking.at(threshold)
        assert found.threshold == threshold
        assert found.true_positives == int((called & (labels == 1)).sum())
        assert found.false_positives == int((called & (labels == 0)).sum())
        assert (found.positives, found.rows) == (int(labels.sum()), len(p))
