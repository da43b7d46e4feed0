"""Each way to choose a threshold is the best of all thresholds that there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parity_tests.decisions.pipelines import saying
from torch_impl.pipeline.threshold import (
    Choice,
    Ranking,
    threshold_for_alerts,
    threshold_for_cost,
    threshold_for_precision,
    threshold_for_recall,
)

ONE, HALF = np.float32(1), np.float32(0.5)


class Outcome(NamedTuple):
    """What one threshold makes of the rows."""

    true_positives: int
    false_positives: int

    @property
    def alerts(self) -> int:
        return sum(self)


def outcomes(p: np.ndarray, y: np.ndarray) -> list[Outcome]:
    """Of every threshold from 0 to 1 that differs from the others in what it calls fraud.

    Fewest alerts first: they are called strictly above it.
    """
    found = set()
    for threshold in {p.dtype.type(0), *p.tolist(), p.dtype.type(1)}:
        called = p > p.dtype.type(threshold)
        found.add(Outcome(int((called & (y == 1)).sum()), int((called & (y == 0)).sum())))
    return sorted(found, key=lambda outcome: outcome.alerts)


def check(choice: Choice, p: np.ndarray, y: np.ndarray, expected: Outcome) -> None:
    """It counts right, and in the rows' own dtype its threshold does what it says."""
    assert (choice.true_positives, choice.false_positives) == expected
    assert (choice.positives, choice.rows) == (int(y.sum()), len(y))
    assert 0 <= choice.threshold <= 1
    held = p.dtype.type(choice.threshold)
    assert float(held) == choice.threshold
    called = p > held
    assert (int((called & (y == 1)).sum()), int((called & (y == 0)).sum())) == expected
    assert choice.alerts == expected.alerts
    assert choice.precision == (expected[0] / expected.alerts if expected.alerts else 1.0)
    assert choice.recall == (expected[0] / y.sum() if y.any() else 1.0)


def check_all(p: np.ndarray, y: np.ndarray) -> None:
    """All four ways, each against every threshold that there is."""
    ranking, every = Ranking(p, y), outcomes(p, y)
    for miss, alarm in ((1, 1), (100, 3), (0, 2), (5, 0), (1, 7)):
        cost = [miss * (int(y.sum()) - o.true_positives) + alarm * o.false_positives for o in every]
        best = every[cost.index(min(cost))]
        check(threshold_for_cost(ranking, miss, alarm), p, y, best)
    for share in (0.2, 0.5, 0.75, 1.0):
        serve = [o for o in every if o.alerts and o.true_positives >= share * o.alerts]
        if serve:
            best = max(serve, key=lambda o: (o.true_positives, -o.alerts))
            check(threshold_for_precision(ranking, share), p, y, best)
        else:
            with pytest.raises(ValueError, match="no threshold reaches it; the best is"):
                threshold_for_precision(ranking, share)
        serve = [o for o in every if y.any() and o.true_positives >= share * y.sum()]
        if serve:
            check(threshold_for_recall(ranking, share), p, y, serve[0])
        else:
            with pytest.raises(ValueError, match=r"no fraud among|reaches it; the best is"):
                threshold_for_recall(ranking, share)
    for alerts in (0, 1, 2.5, len(p), len(p) + 9):
        best = max((o for o in every if o.alerts <= alerts), key=lambda o: o.alerts)
        check(threshold_for_alerts(ranking, alerts), p, y, best)


NEIGHBOURS = np.float32([0.3, np.nextafter(np.float32(0.3), ONE), 0.9])
TINIEST = np.float32(2.0**-149)

CASES: dict[str, tuple[list[float] | np.ndarray, list[int]]] = {
    "apart": ([0.9, 0.8, 0.3, 0.1], [1, 0, 1, 0]),
    "ties": ([0.9, 0.5, 0.5, 0.5, 0.1, 0.1], [0, 1, 0, 1, 1, 0]),
    "all-equal": ([0.25] * 4, [1, 0, 0, 1]),
    "no-fraud": ([0.9, 0.2, 0.1], [0, 0, 0]),
    "all-fraud": ([0.9, 0.2, 0.2], [1, 1, 1]),
    "one-row": ([0.7], [1]),
    "neighbours": (NEIGHBOURS, [0, 1, 1]),
    "one-and-its-neighbour": ([1.0, np.nextafter(ONE, HALF), 0.5], [1, 0, 1]),
    "zero-is-never-called": ([0.0, 0.0, 0.6], [1, 0, 0]),
    "zero-alone": ([0.0, 0.0], [1, 0]),
    "the-least-that-there-is": ([TINIEST, 2 * TINIEST, 0.0], [1, 0, 1]),
    "worst-first": ([0.9, 0.8, 0.7], [0, 0, 1]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_the_choice_is_the_best_of_every_threshold(case: str, dtype: type) -> None:
    """Of equally good ones that with the fewest alerts; what none reaches is told."""
    p, y = (np.array(values) for values in CASES[case])
    check_all(p.astype(np.float32).astype(dtype), y)


@given(st.lists(st.tuples(st.sampled_from([0.0, 1e-7, 0.1, 0.3, 0.5, 1.0]), st.booleans()),
                min_size=1, max_size=12))  # fmt: skip
def test_so_it_is_whatever_the_rows(rows: list[tuple[float, bool]]) -> None:
    """In any order, with as many ties as there may be."""
    p, y = zip(*rows, strict=True)
    check_all(np.array(p, np.float32), np.array(y, int))


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_probabilities_and_labels_come_as_they_come(shape: tuple[int, ...]) -> None:
    """(N,) or (N, 1), as floats, booleans or lists; without labels there are no frauds."""
    p, y = np.float32([0.9, 0.8, 0.3, 0.1]).reshape(shape), np.array([1, 0, 1, 0])
    for labels in (y, y.astype(bool), y[:, None].astype(np.float32), y.tolist()):
        assert threshold_for_recall(Ranking(p, labels), 1).true_positives == 2
    choice = threshold_for_alerts(Ranking(p), 2)
    assert (choice.alerts, choice.positives, choice.rows) == (2, 0, 4)


def test_the_threshold_lies_halfway_so_that_another_runtime_calls_the_same_rows() -> None:
    """Between the lowest that is called and the highest that is not; at the ends to 1 and 0."""
    ranking = Ranking(np.float32([0.75, 0.25]), [1, 0])
    assert [ranking.choice(k).threshold for k in range(3)] == [0.875, 0.5, 0.125]
    moved = np.float32([0.5001, 0.4999])
    assert (moved > np.float32(ranking.choice(1).threshold)).tolist() == [True, False]


def test_a_pipeline_with_a_chosen_threshold_calls_just_those_rows() -> None:
    """Also where two probabilities are neighbours in float32."""
    pipeline, rows = saying(-np.linspace(0, 1e-6, 60))
    p = pipeline.predict_proba(rows).numpy()
    ranking = Ranking(p)
    assert (np.diff(-ranking.levels) <= np.spacing(np.float32(0.5))).all()
    for alerts in range(61):
        choice = threshold_for_alerts(ranking, alerts)
        pipeline.threshold = choice.threshold
        assert pipeline.threshold == choice.threshold
        assert int(pipeline.decide(rows).sum()) == choice.alerts
        assert int(pipeline.eval()(torch.from_numpy(rows))[1].sum()) == choice.alerts


RANKING = Ranking([0.9, 0.5, 0.1], [0, 1, 0])
BAD: dict[str, tuple[Callable[[], object], str]] = {
    "no-rows": (lambda: Ranking([]), r"probabilities of \(0,\) rows"),
    "other-length": (lambda: Ranking([0.5], [0, 1]), r"\(1,\) rows came with labels of \(2,\)"),
    "table": (lambda: Ranking([[0.5, 0.5]]), r"of \(1, 2\) rows"),
    "labels-table": (lambda: Ranking([0.1] * 4, [[0, 1], [1, 0]]), r"labels of \(2, 2\)"),
    "above-1": (lambda: Ranking([0.5, 1.5]), "not between 0 and 1"),
    "nan": (lambda: Ranking([0.5, np.nan]), "not between 0 and 1"),
    "label-2": (lambda: Ranking([0.5, 0.1], [0, 2]), "labels hold others than 0 and 1"),
    "label-nan": (lambda: Ranking([0.5, 0.1], [0, np.nan]), "labels hold others"),
    "costs-0": (lambda: threshold_for_cost(RANKING, 0, 0), "miss=0 and of a false alarm=0"),
    "cost-negative": (lambda: threshold_for_cost(RANKING, -1, 2), "miss=-1"),
    "cost-infinite": (lambda: threshold_for_cost(RANKING, 1, np.inf), "false alarm=inf"),
    "precision-0": (lambda: threshold_for_precision(RANKING, 0), "precision=0; expected a share"),
    "precision-nan": (lambda: threshold_for_precision(RANKING, np.nan), "precision=nan"),
    "precision-too-high": (
        lambda: threshold_for_precision(RANKING, 0.9),
        "precision=0.9: no threshold reaches it; the best is 0.5",
    ),
    "recall-above-1": (lambda: threshold_for_recall(RANKING, 1.1), "recall=1.1"),
    "recall-of-nothing": (lambda: threshold_for_recall(Ranking([0.5]), 0.5), "there is no fraud"),
    "recall-of-zeros": (
        lambda: threshold_for_recall(Ranking([0.5, 0.0], [1, 1]), 0.9),
        "recall=0.9: no threshold reaches it; the best is 0.5",
    ),
    "alerts-negative": (lambda: threshold_for_alerts(RANKING, -1), "alerts=-1; expected 0 or"),
    "alerts-nan": (lambda: threshold_for_alerts(RANKING, np.nan), "alerts=nan"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_get_one_clear_line(case: str) -> None:
    """What came, and what was expected."""
    make, message = BAD[case]
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
