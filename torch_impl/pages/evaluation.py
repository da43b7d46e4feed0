"""What a model is worth on labelled rows, as a page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import NamedTuple

import numpy as np

from torch_impl.pages.curves import Calibration, calibration, equal_shares, shifted
from torch_impl.pages.skeleton import (
    answer,
    card,
    count,
    document,
    facts,
    figure,
    listing,
    percent,
    scrolling,
    section,
    terms,
)
from torch_impl.pipeline.threshold import Choice, Ranking

__all__ = ["Evaluation", "evaluation_page"]

_BINS = 8  # of the calibration

_OF_PROBABILITIES = {
    "cross entropy": "mean of −log of the probability that a row's own class was given",
    "Brier score": "mean squared error of the probabilities",
    "auc": "area under the ROC curve, by 200 thresholds",
    "prc": "area under the precision–recall curve, by 200 thresholds",
}
_AT_HALF = {
    "tp": "frauds above it",
    "fp": "other rows above it",
    "tn": "other rows that are not",
    "fn": "frauds that are not",
    "accuracy": "share of the rows on their side of it",
    "precision": "share of frauds among the rows above it",
    "recall": "share of the frauds that are above it",
}


class Evaluation(NamedTuple):
    """What `evaluation_page` shows.

    Args:
        model: its name, as the reader knows it.
        table: name of the rows.
        metrics: the eleven, under Keras's names.
        ranking: of the rows by the model's probabilities, with labels.
        threshold: the model's own: a row is called fraud where its probability is above.
        log_odds_shift: what corrects the model's base rate, in `ranking`'s probabilities
            already; 0 for none.
    """

    model: str
    table: str
    metrics: Mapping[str, float]
    ranking: Ranking
    threshold: float
    log_odds_shift: float = 0.0


def evaluation_page(evaluation: Evaluation) -> str:
    """The whole page, ready to be written as UTF-8; of a million rows it is below 1 MB.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    ranking = evaluation.ranking
    called = ranking.at(evaluation.threshold)
    return document(
        f"{evaluation.model} on {evaluation.table}",
        f"What is {evaluation.model} worth on {evaluation.table}?",
        _header(evaluation, called),
        (
            _threshold(called),
            _every_threshold(ranking, called),
            _probabilities(evaluation),
            _metrics(evaluation.metrics),
        ),
        "python -m torch_impl evaluate",
    )


def _header(evaluation: Evaluation, called: Choice) -> str:
    if called.alerts:
        told = f"{called.true_positives:,} of {count(called.alerts, 'alert')} are right"
    else:
        told = "There is no alert"
    if called.positives:
        found = f"{called.true_positives:,} of {count(called.positives, 'fraud')}"
        told = f"{found} found; {told[0].lower()}{told[1:]}."
    else:
        told = f"{told}: no row is a fraud."
    more = (
        f"An alert is a row whose probability is above the model's threshold, "
        f"{evaluation.threshold:.6g}."
    )
    shown = {
        "rows": f"{called.rows:,}",
        "frauds among them": f"{called.positives:,} ({percent(called.positives / called.rows)})",
        "recall": percent(called.recall) if called.positives else "–",
        "precision": percent(called.precision) if called.alerts else "–",
    }
    if called.positives and "prc" in evaluation.metrics:
        shown["area under precision–recall"] = f"{evaluation.metrics['prc']:.4f}"
    return f"{answer(told, more)}\n{facts(shown)}"


def _threshold(called: Choice) -> str:
    missed = called.positives - called.true_positives
    negatives = called.rows - called.positives
    cells = [
        [("true negatives", negatives - called.false_positives, negatives),
         ("false positives", called.false_positives, negatives)],
        [("false negatives", missed, called.positives),
         ("true positives", called.true_positives, called.positives)],
    ]  # fmt: skip
    body = "".join(
        f'<tr><th scope="row">{who}</th>{"".join(_cell(*cell) for cell in row)}</tr>'
        for who, row in zip(("is legitimate", "is fraud"), cells, strict=True)
    )
    matrix = f"""
<table class="matrix"><thead><tr><th></th><th scope="col">called legitimate</th>
<th scope="col">called fraud</th></tr></thead>
<tbody>{body}</tbody></table>"""
    told = {
        "threshold": f"{called.threshold:.9g}",
        "alerts": f"{called.alerts:,}, {percent(called.alerts / called.rows)} of the rows",
        "precision": f"{percent(called.precision)} of the alerts are frauds"
        if called.alerts
        else "there is no alert",
        "recall": f"{percent(called.recall)} of the frauds are alerts"
        if called.positives
        else "there is no fraud",
        "missed frauds": f"{missed:,}",
        "false alarms": f"{called.false_positives:,}",
    }
    if called.true_positives:
        right = called.false_positives / called.true_positives
        told["false alarms per fraud found"] = f"{right:.2f}"
    body = f"""<div class="plots wide cards">{figure("Confusion matrix", matrix)}
{card("What the threshold gives", f'<dl class="pairs">{terms(told)}</dl>')}</div>"""
    return section("At the threshold", "What the model calls fraud as it is set now.", body)


def _cell(name: str, rows: int, of: int) -> str:
    share = escape(percent(rows / of)) if of else "–"
    return (
        f'<td><span class="who">{name}</span><div><b>{rows:,}</b></div>'
        f'<span class="who">{share}</span></td>'
    )


def _every_threshold(ranking: Ranking, called: Choice) -> str:
    lead = (
        "Each point of a curve is a threshold; the dot is the model's. The dashed line is what "
        "calling rows fraud by chance would give."
    )
    if not (ranking.positives and ranking.negatives):
        return section("At every threshold", lead, "<p>Curves need rows of both classes.</p>")
    # Here, since whoever imports this file may never make a page.
    from torch_impl.pages.evaluation_plots import precision_recall_plot, roc_plot

    figures = "".join((
        figure(
            "Precision and recall",
            precision_recall_plot(ranking, called),
            "Precision: how many of the alerts are frauds. Recall: how many of the frauds are "
            "alerts.",
        ),
        figure(
            "ROC",
            roc_plot(ranking, called),
            "The false positive rate is the share of alerts among the rows that are no frauds.",
        ),
        figure(
            "ROC where false alarms are few",
            roc_plot(ranking, called, logarithmic=True),
            "The same curve; its axis is logarithmic, since frauds are rare.",
        ),
    ))  # fmt: skip
    return section("At every threshold", lead, f'<div class="plots">{figures}</div>')


def _probabilities(evaluation: Evaluation) -> str:
    from torch_impl.pages.evaluation_plots import calibration_plot, distribution_plot

    ranking, shift = evaluation.ranking, evaluation.log_odds_shift
    found = _calibrated(ranking)
    before = _calibrated(shifted(ranking, -shift)) if shift else None
    caption = (
        "A model that is right about its probabilities lies on the thin line. Bars are intervals "
        "at 95\u00a0%."
    )
    if before is not None:
        caption += (
            f" The correction multiplies the odds of fraud by {np.exp(shift):.4g}, for the base "
            "rate that the model is set to."
        )
    figures = figure("Calibration", calibration_plot(found, before), caption)
    figures += figure(
        "Probabilities by class",
        distribution_plot(ranking, evaluation.threshold),
        "Share of each class's rows, logarithmic; bins are equally wide in log-odds.",
    )
    tables = _bins("By bins", found)
    if before is not None:
        tables += _bins("By bins, before the correction", before)
    lead = (
        "Whether one in ten rows that were given a probability of 10\u00a0%, say, is a fraud. "
        "Rows are binned by their probability, so that as many frauds are expected in each bin."
    )
    body = f"""<div class="plots wide">{figures}</div>
<div class="plots wide cards">{tables}</div>"""
    return section("Probabilities", lead, body)


def _calibrated(ranking: Ranking) -> Calibration:
    return calibration(ranking, equal_shares(ranking, _BINS))


def _bins(name: str, found: Calibration) -> str:
    rows = [
        f'<tr><th scope="row">{_digits(p)}</th><td>{n:,}</td><td>{frauds:,}</td><td>{_digits(rate)}'
        f'<span class="words">{100 * low:.3g} to {_digits(high)}</span></td></tr>'
        for p, rate, low, high, frauds, n in zip(
            found.predicted, found.rates, *found.interval(), found.frauds, found.rows, strict=True
        )
    ]
    columns = ("probability", "rows", "frauds", "their share, at 95\u00a0%")
    return card(name, scrolling(name, listing(columns, rows)))


def _digits(share: float) -> str:
    return f"{100 * share:.3g}\u00a0%"


def _metrics(metrics: Mapping[str, float]) -> str:
    cards = _measured("Of the probabilities", _OF_PROBABILITIES, metrics)
    cards += _measured("At a threshold of 0.5, whatever the model's is", _AT_HALF, metrics)
    body = f'<div class="plots wide cards">{cards}</div>'
    return section("Keras's metrics", "As Keras measures them, under its names.", body)


def _measured(heading: str, meanings: Mapping[str, str], metrics: Mapping[str, float]) -> str:
    rows = [
        f'<tr><th scope="row">{name}<span class="words">{meaning}</span></th>'
        f"<td>{metrics[name]:{',.0f' if name in ('tp', 'fp', 'tn', 'fn') else '.6g'}}</td></tr>"
        for name, meaning in meanings.items()
    ]
    return card(heading, scrolling(heading, listing(("metric", "value"), rows)))
