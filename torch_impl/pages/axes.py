"""Axes as the pages draw them: sizes, ticks and legends."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ["NARROW", "WIDE", "decimal_axis", "few_ticks", "legend_above", "percent_axis", "square"]

# Inches, of 72 units of the SVG. Both about the width of a phone, so that text keeps its size
# there; three narrow drawings stand side by side on a desktop, or two wide ones.
NARROW, WIDE = 4.2, 5.0


def square(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """A narrow figure about as high as wide."""
    figure = Figure(figsize=(NARROW, 3.8))
    at = figure.add_axes((0.16, 0.12, 0.82, 0.8))
    at.set(xlabel=xlabel, ylabel=ylabel)
    return figure, at


def decimal_axis(at: Axes, axis: str) -> None:
    """Powers of ten as 1e-7, one text each."""
    (at.xaxis if axis == "x" else at.yaxis).set_major_formatter(
        lambda v, _: f"{v:.0e}" if v < 1e-3 else f"{v:g}"
    )


def percent_axis(at: Axes, axis: str = "x") -> None:
    """Shares as percent, without the mathematics that matplotlib sets letter by letter."""
    (at.xaxis if axis == "x" else at.yaxis).set_major_formatter(lambda v, _: f"{100 * v:g} %")
    at.minorticks_off()


def legend_above(at: Axes, columns: int = 2) -> None:
    """Where no curve runs, whatever the numbers are."""
    at.legend(
        loc="lower left", bbox_to_anchor=(0, 1.02), ncols=columns, borderaxespad=0.2, borderpad=0,
        columnspacing=1.4, handlelength=2.4,
    )  # fmt: skip


def few_ticks(most: int, integer: bool = False) -> MaxNLocator:
    """At round numbers."""
    return MaxNLocator(most, integer=integer)
