"""Drawings of a training run: its curves by epoch, and the rows' columns by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from torch_impl.pages.axes import NARROW, WIDE, few_ticks, legend_above
from torch_impl.pages.classes import class_histogram
from torch_impl.pages.inline_svg import COOL, INK, WARM, inline, style

__all__ = ["class_plot", "epoch_plot"]

_FEW = 30  # epochs whose points are seen one by one
_BINS = 40
_FAR = 5  # times the least: a loss that wide leaves the best part flat on a linear axis


def epoch_plot(history: Mapping[str, Sequence[float]], key: str, name: str, kept: int) -> str:
    """A series of the training, and of the validation where there is one.

    Args:
        history: by Keras's keys.
        key: the training's. A loss that falls far has a logarithmic axis.
        name: in words.
        kept: the epoch that is marked, from 0.
    """
    series = {
        label: np.asarray(history[which], np.float64)
        for which, label in ((key, "training"), (f"val_{key}", "validation"))
        if which in history
    }
    epochs = len(history[key])
    with style():
        figure = Figure(figsize=(WIDE, 3.2))
        at = figure.add_axes((0.15, 0.15, 0.82, 0.75))
        for (label, values), colour, line in zip(
            series.items(), (COOL, WARM), ("-", (0, (5, 1.5))), strict=False
        ):
            at.plot(np.arange(1, epochs + 1), values, color=colour, linestyle=line, linewidth=1.8,
                    marker="o" if epochs <= _FEW else "", markersize=4, label=label)  # fmt: skip
        at.axvline(kept + 1, color=INK, linewidth=1, label=f"kept: epoch {kept + 1}")
        at.set(xlabel="epoch", ylabel=name if name.isupper() else name.lower())
        at.set_xlim(0.7, epochs + 0.3)
        at.xaxis.set_major_locator(few_ticks(8, integer=True))
        at.yaxis.set_major_locator(few_ticks(5))
        if key == "loss":
            _loss_axis(at, np.concatenate([*series.values()]))
        legend_above(at, columns=3)
        ends = "; ".join(f"{label} {values[kept]:.4g}" for label, values in series.items())
        return inline(figure, f"epochs-{key}", f"{name} at the kept epoch: {ends}")


def _loss_axis(at: Axes, losses: NDArray[np.float64]) -> None:
    shown = losses[np.isfinite(losses)]
    if len(shown) and 0 < _FAR * shown.min() < shown.max():
        at.set_yscale("log")
        at.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        at.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
        at.minorticks_off()


def class_plot(
    drawing: str,
    column: str,
    frauds: NDArray[np.float64],
    others: NDArray[np.float64],
    logarithmic: bool,
) -> str:
    """How a column's values are distributed in both classes.

    Args:
        drawing: unique in the page, an HTML id.
        column: its name.
        frauds: (N,) values of one class.
        others: (M,) values of the other.
        logarithmic: whether its axis is.
    """
    edges, of_frauds, of_others = class_histogram(frauds, others, _BINS, logarithmic)
    with style():
        figure = Figure(figsize=(NARROW, 2.1))
        at = figure.add_axes((0.13, 0.14, 0.85, 0.7))
        for share, colour, label in ((of_others, COOL, "legitimate"), (of_frauds, WARM, "fraud")):
            at.stairs(share, edges, fill=True, color=colour, alpha=0.3)
            at.stairs(share, edges, color=colour, linewidth=1.4, label=label)
        at.set_xlim(edges[0], edges[-1])
        if logarithmic:
            at.set_xscale("log")
            at.xaxis.set_major_formatter(lambda v, _: f"{v:,g}")
            at.minorticks_off()
        else:
            at.xaxis.set_major_locator(few_ticks(7))
        at.yaxis.set_major_locator(few_ticks(4))
        at.yaxis.set_major_formatter(lambda v, _: f"{100 * v:g} %")
        legend_above(at)
        return inline(figure, drawing, f"{column} of frauds and of other rows")
