"""Drawings of a model's probabilities: curves, calibration, distributions.

A curve is drawn with all of its points; matplotlib leaves out those that nobody would see
(`path.simplify`), so that a million rows take no more room than some thousands.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from torch_impl.pages.axes import WIDE, decimal_axis, legend_above, percent_axis, square
from torch_impl.pages.curves import Calibration, histogram, precision_recall, roc
from torch_impl.pages.inline_svg import COOL, INK, MUTED, WARM, inline, style
from torch_impl.pipeline.threshold import Choice, Ranking

__all__ = ["calibration_plot", "distribution_plot", "precision_recall_plot", "roc_plot"]

_CHANCE: dict[str, Any] = {"color": MUTED, "linewidth": 1, "linestyle": (0, (4, 3))}
_UNIT = (-0.02, 1.02)
_HISTOGRAM_BINS = 48
# Log-odds of the ticks: as many as there is room for.
_TICKS = ((14, (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)),
          (24, (1e-6, 1e-4, 0.01, 0.5, 0.99, 0.9999)),
          (math.inf, (1e-9, 1e-6, 0.001, 0.5, 0.999, 0.999999)))  # fmt: skip


def roc_plot(ranking: Ranking, called: Choice, logarithmic: bool = False) -> str:
    """Recall over the false positive rate, with the model's threshold.

    Args:
        ranking: rows of both classes.
        called: what the threshold calls fraud.
        logarithmic: whether the axis of the false positives is.
    """
    x, y = roc(ranking)
    chosen = called.false_positives / ranking.negatives
    with style():
        figure, at = square("false positive rate", "true positive rate (recall)")
        if logarithmic:
            # A logarithm has no place for 0: it stands at the edge, half a row from the left.
            left = 0.5 / ranking.negatives
            x, chosen = np.maximum(x, left), max(chosen, left)
            at.set(xscale="log", xlim=(left / 1.2, 1.2), ylim=_UNIT)
            chance = np.geomspace(left, 1, 200)
        else:
            at.set(xlim=_UNIT, ylim=_UNIT)
            chance = np.array([0.0, 1.0])
        at.plot(chance, chance, **_CHANCE)
        at.plot(x, y, color=COOL, linewidth=1.8)
        _mark(at, chosen, called.recall, called.threshold)
        if logarithmic:
            at.xaxis.set_major_locator(LogLocator(numticks=6))
            percent_axis(at)
        legend_above(at)
        name = "roc-log" if logarithmic else "roc"
        return inline(figure, name, f"ROC. {_spoken(called)}")


def precision_recall_plot(ranking: Ranking, called: Choice) -> str:
    """Precision over recall, with the model's threshold.

    Args:
        ranking: rows of both classes.
        called: what the threshold calls fraud.
    """
    precision, recall = precision_recall(ranking)
    with style():
        figure, at = square("recall", "precision")
        at.axhline(called.positives / called.rows, **_CHANCE)
        # Between two thresholds precision is the lower one's, as average precision counts it.
        at.plot(recall, precision, color=COOL, linewidth=1.8, drawstyle="steps-pre")
        _mark(at, called.recall, called.precision, called.threshold)
        at.set(xlim=_UNIT, ylim=_UNIT)
        legend_above(at)
        return inline(figure, "precision-recall", f"Precision over recall. {_spoken(called)}")


def calibration_plot(found: Calibration, before: Calibration | None) -> str:
    """Share of frauds over mean probability, with intervals at 95 %.

    Args:
        found: of the model's probabilities.
        before: of those before its base rate was corrected, where it was.
    """
    with style():
        figure = Figure(figsize=(WIDE, 3.8))
        at = figure.add_axes((0.15, 0.12, 0.82, 0.8))
        series = [(found, COOL, "o", "probabilities")]
        if before is not None:
            series = [(before, WARM, "s", "before the correction"),
                      (found, COOL, "o", "after it")]  # fmt: skip
        shown = np.concatenate([np.r_[c.predicted, c.rates] for c, *_ in series])
        low = 10.0 ** math.floor(math.log10(shown[shown > 0].min(initial=0.1)))
        at.plot([low, 1], [low, 1], color=MUTED, linewidth=1)
        for points, colour, marker, label in series:
            # A rate of 0 stands at the lower edge of a logarithmic axis.
            rates, *ends = (np.maximum(v, low) for v in (points.rates, *points.interval()))
            at.vlines(points.predicted, *ends, color=colour, linewidth=1.2)
            at.plot(points.predicted, rates, color=colour, marker=marker, markersize=5, label=label)
        at.set(
            xscale="log", yscale="log", xlim=(low, 1.3), ylim=(low, 1.3),
            xlabel="mean probability", ylabel="share of frauds",
        )  # fmt: skip
        for axis in ("x", "y"):
            decimal_axis(at, axis)
        at.minorticks_off()
        if before is not None:
            legend_above(at)
        spoken = "; ".join(
            f"{p:.2g} predicted, {rate:.2g} found"
            for p, rate in zip(found.predicted, found.rates, strict=True)
        )
        return inline(figure, "calibration", f"Calibration: {spoken}")


def distribution_plot(ranking: Ranking, threshold: float) -> str:
    """Where each class's rows have their probabilities.

    Args:
        ranking: labelled rows.
        threshold: is marked.
    """
    edges, frauds, others = histogram(ranking, _HISTOGRAM_BINS)
    shares = np.r_[frauds, others]
    low = 10.0 ** math.floor(math.log10(shares[shares > 0].min(initial=0.1)))
    with style():
        figure = Figure(figsize=(WIDE, 3.8))
        at = figure.add_axes((0.2, 0.12, 0.77, 0.8))
        for share, colour, label in ((others, COOL, "legitimate"), (frauds, WARM, "fraud")):
            at.stairs(share, edges, baseline=low, fill=True, color=colour, alpha=0.3)
            at.stairs(share, edges, baseline=low, color=colour, linewidth=1.4, label=label)
        where = np.clip(_log_odds(threshold), edges[0], edges[-1])
        at.axvline(where, color=INK, linewidth=1.2, label=f"threshold {threshold:.3g}")
        at.set(yscale="log", ylim=(low, 1.3), xlim=(edges[0], edges[-1]))
        at.set(xlabel="probability, by its log-odds", ylabel="share of the class")
        at.grid(visible=False, axis="x")
        percent_axis(at, "y")
        ticks = next(of for width, of in _TICKS if edges[-1] - edges[0] < width)
        inside = [p for p in ticks if edges[0] <= _log_odds(p) <= edges[-1]]
        at.set_xticks([_log_odds(p) for p in inside], [f"{100 * p:.6g} %" for p in inside])
        legend_above(at, columns=3)
        return inline(figure, "distribution", "Probabilities of frauds and of other rows")


def _mark(at: Axes, x: float, y: float, threshold: float) -> None:
    at.plot([x], [y], "o", color=INK, markersize=8, clip_on=False, zorder=5,
            label=f"threshold {threshold:.3g}")  # fmt: skip


def _spoken(called: Choice) -> str:
    return (
        f"At the threshold {called.threshold:.3g}: recall {called.recall:.3f}, precision "
        f"{called.precision:.3f}, {called.false_positives:,} false alarms."
    )


def _log_odds(p: float) -> float:
    return math.log(p) - math.log1p(-p) if 0 < p < 1 else math.copysign(math.inf, p - 0.5)
