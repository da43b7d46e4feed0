"""Plots of the training runs and of the trained models' predictions."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from parity_tests.report.evidence import Evidence
from torch_impl.pages.axes import NARROW, WIDE, decimal_axis, few_ticks, legend_above, square
from torch_impl.pages.curves import calibration, equal_shares
from torch_impl.pages.inline_svg import COOL as TORCH
from torch_impl.pages.inline_svg import MUTED, inline, style
from torch_impl.pages.inline_svg import WARM as KERAS
from torch_impl.pipeline.threshold import Ranking

__all__ = ["CURVES", "calibration_plot", "growth_plot", "ranking_plots", "training_plot"]

CURVES = {
    "loss": "Training loss",
    "val_loss": "Validation loss",
    "val_prc": "Validation PR-AUC",
}
"""Which series of the history are drawn, with their names in words."""

# One curve lies on the other: the one below is broad, the one above is thin and broken.
_THEIRS = {"color": KERAS, "linewidth": 5, "alpha": 0.55, "solid_capstyle": "round"}
_FEW_STEPS = 20  # of which a logarithmic axis would label the first alone
_OURS = {"color": TORCH, "linewidth": 1.6, "linestyle": (0, (4, 2))}


def training_plot(evidence: Evidence, key: str) -> str:
    """One series of both histories, and below it their difference."""
    ours, theirs, wide = (
        np.asarray(history[key], np.float64)
        for history in (evidence.ours, evidence.theirs, evidence.wide)
    )
    epochs = np.arange(1, len(theirs) + 1)
    with style():
        figure = Figure(figsize=(NARROW, 3.9))
        curves, gaps = figure.subplots(
            2, 1, sharex=True, height_ratios=(1.6, 1),
            gridspec_kw={"left": 0.19, "right": 0.98, "top": 0.925, "bottom": 0.115, "hspace": 0.4},
        )  # fmt: skip
        curves.plot(epochs, theirs, label="Keras", marker="o", markersize=8, **_THEIRS)
        curves.plot(epochs, ours, label="PyTorch", marker="o", markersize=3, **_OURS)
        legend_above(curves)
        gaps.axhline(0, color=MUTED, linewidth=0.8)
        own, gap = theirs - wide, ours - theirs
        gaps.plot(epochs, own, color=KERAS, marker="s", markersize=4, label="Keras − float64")
        gaps.plot(epochs, gap, color=TORCH, marker="o", markersize=4, label="PyTorch − Keras")
        largest = max(np.nanmax(np.abs([own, gap])), np.spacing(np.float32(abs(theirs[-1]))))
        gaps.set(ylim=(-1.25 * largest, 1.25 * largest), xlabel="epoch", ylabel="difference")
        legend_above(gaps)
        for at in (curves, gaps):
            at.yaxis.set_major_locator(few_ticks(4))
        gaps.yaxis.set_major_formatter(lambda y, _: f"{y:.2g}" if y else "0")
        gaps.xaxis.set_major_locator(few_ticks(8, integer=True))
        gaps.set_xlim(0.7, len(theirs) + 0.3)
        title = (
            f"{CURVES[key]} over {len(theirs)} epochs: Keras ends at {theirs[-1]:.7g}, PyTorch at "
            f"{ours[-1]:.7g}; the largest difference is {np.abs(gap).max():.1e}."
        )
        return inline(figure, f"curve-{key}", title)


def growth_plot(evidence: Evidence) -> str:
    """Weight differences by step, next to what rounding alone does to Keras."""
    growth = evidence.growth
    with style():
        figure = Figure(figsize=(WIDE, 3.5))
        at = figure.add_axes((0.15, 0.13, 0.82, 0.79))
        # A logarithm has no place for 0, where the weights are the same bits.
        own, between = (
            np.where(np.asarray(gap) > 0, gap, np.nan) for gap in (growth.own, growth.between)
        )
        at.plot(growth.steps, own, color=KERAS, linewidth=2, label="Keras to float64")
        at.plot(growth.steps, between, color=TORCH, linewidth=2, linestyle=(0, (5, 1.5)),
                label="PyTorch to Keras")  # fmt: skip
        at.set(yscale="log", xlabel="training step", ylabel="largest difference")
        if len(growth.steps) > _FEW_STEPS:
            at.set(xscale="log", xlim=(0.9, max(growth.steps) * 1.15))
        else:
            at.xaxis.set_major_locator(few_ticks(8, integer=True))
        decimal_axis(at, "y")
        at.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        at.minorticks_off()
        at.margins(y=0.2)
        legend_above(at)
        title = (
            f"Largest weight difference after {growth.steps[-1]} steps: PyTorch to Keras "
            f"{growth.between[-1]:.1e}, Keras to float64 {growth.own[-1]:.1e}."
        )
        return inline(figure, "growth", title)


def ranking_plots(evidence: Evidence) -> dict[str, str]:
    """ROC and precision-recall curves of both trained models."""
    drawings = {}
    for name, curve, labels in (
        ("ROC", _roc, ("false positive rate", "true positive rate")),
        ("Precision and recall", _precision_recall, ("recall", "precision")),
    ):
        with style():
            figure, at = square(*labels)
            for scores, label, look in (
                (evidence.their_probabilities, "Keras", _THEIRS),
                (evidence.our_probabilities, "PyTorch", _OURS),
            ):
                x, y = curve(evidence.labels, scores)
                at.plot(x, y, label=label, drawstyle="steps-post", **look)
            at.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            legend_above(at)
            drawings[name] = inline(
                figure, name.split()[0].lower(), f"{name} of both models on the test rows"
            )
    return drawings


def _roc(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    false_alarms, recall, _ = roc_curve(labels, scores)
    return false_alarms, recall


def _precision_recall(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    precision, recall, _ = precision_recall_curve(labels, scores, drop_intermediate=True)
    return recall[::-1], precision[::-1]


def calibration_plot(evidence: Evidence, bins: int = 8) -> str:
    """Rate of positives over mean predicted probability, by bins of equal expected positives."""
    with style():
        figure, at = square("predicted probability", "positives among those rows")
        points = [
            (_calibration(evidence.labels, scores, bins), label, look, size)
            for scores, label, look, size in (
                (evidence.their_probabilities, "Keras", _THEIRS, 9),
                (evidence.our_probabilities, "PyTorch", _OURS, 3.5),
            )
        ]
        shown = np.concatenate([np.ravel(xy) for xy, *_ in points])
        low = 10.0 ** np.floor(np.log10(shown[shown > 0].min()))
        at.plot([low, 1], [low, 1], color=MUTED, linewidth=1)
        for (x, y), label, look, size in points:
            # An empty bin's rate of 0 lies at the lower edge of a logarithmic axis.
            at.plot(x, np.maximum(y, low), label=label, marker="o", markersize=size, **look)
        at.set(xscale="log", yscale="log", xlim=(low, 1.3), ylim=(low, 1.3))
        decimal_axis(at, "x")
        decimal_axis(at, "y")
        at.minorticks_off()
        legend_above(at)
        return inline(figure, "calibration", "Calibration of both models on the test rows")


def _calibration(
    labels: np.ndarray, scores: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray]:
    ranking = Ranking(scores, labels)
    found = calibration(ranking, equal_shares(ranking, bins))
    return found.predicted, found.rates
