"""Plots of the stages: how many ULP apart, and how much of the allowance is used."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from parity_tests.judge.agreement import StageResult
from parity_tests.report.table import count_text, share_text
from torch_impl.pages.axes import NARROW, WIDE, percent_axis
from torch_impl.pages.inline_svg import BAD as DIFFER
from torch_impl.pages.inline_svg import GOOD as AGREE
from torch_impl.pages.inline_svg import GRID, INK, MUTED, inline, style

__all__ = ["allowance_plot", "grouped", "ulp_plots"]

_LAST_BIN = 25  # 2**24 ULP and more: a float32 has no correct digit left
_FAINTEST = 7  # decades of the bars: one element in 10,000,000
_ABOVE, _BAR, _ROW, _BELOW = 0.22, 0.27, 0.54, 0.5  # inches; a row is its name and its bars
_UNGROUPED = "data and whole pipeline"


def grouped(results: list[StageResult]) -> dict[str, list[tuple[str, StageResult]]]:
    """Group name to (stage name within it, result), in the report's order."""
    groups: dict[str, list[tuple[str, StageResult]]] = {}
    for result in results:
        group, _, stage = result.stage.rpartition(": ")
        groups.setdefault(group or _UNGROUPED, []).append((stage, result))
    return groups


def ulp_plots(results: list[StageResult]) -> list[tuple[str, str]]:
    """One drawing per group of stages: (the group's name, SVG)."""
    bins = max((len(result.ulp_histogram) for result in results), default=1)
    bins = min(max(bins, 8), _LAST_BIN + 1)
    drawings = []
    for number, (group, rows) in enumerate(grouped(results).items()):
        with style():
            height = _ABOVE + _BELOW + _ROW * (len(rows) - 1)
            figure = Figure(figsize=(NARROW, height))
            for number_of_row, (stage, result) in enumerate(rows):
                top = height - _ABOVE - number_of_row * _ROW
                at = figure.add_axes((0.005, (top - _BAR) / height, 0.99, _BAR / height))
                _histogram(at, stage, result, bins)
                at.set_xticks([])
            powers = [k for k in range(bins) if k < 2 or (k - 1) % 3 == 0]
            at.set_xticks(powers, [_power(k, bins) for k in powers])
            spoken = "; ".join(f"{stage}: {_summary(result)}" for stage, result in rows)
            title = f"ULP between Keras and PyTorch, {group}. {spoken}"
            drawings.append((group, inline(figure, f"ulp-{number}", title)))
    return drawings


def _histogram(at: Axes, stage: str, result: StageResult, bins: int) -> None:
    counts = np.zeros(bins)
    for k, count in enumerate(result.ulp_histogram):
        counts[min(k, bins - 1)] += count
    share = counts / max(counts.sum(), 1)
    heights = np.zeros(bins)
    heights[share > 0] = np.maximum(np.log10(share[share > 0]) + _FAINTEST, 0.25)
    colours = [AGREE if result.agree else DIFFER, *[MUTED if result.agree else DIFFER] * (bins - 1)]
    at.bar(range(bins), heights, width=0.86, color=colours, linewidth=0)
    at.set(xlim=(-0.6, bins - 0.4), ylim=(0, _FAINTEST), yticks=[])
    at.spines[["left"]].set_visible(False)
    at.spines["bottom"].set_color(GRID)
    at.grid(visible=False)
    at.tick_params(length=0)
    weight = "normal" if result.agree else "bold"
    colour = INK if result.agree else DIFFER
    name = _short(stage) if result.agree else f"✗ {_short(stage)}"
    at.text(0, 1.22, name, transform=at.transAxes, color=colour, weight=weight)
    at.text(1, 1.22, _summary(result), transform=at.transAxes, ha="right", color=MUTED, size=9)


def _short(name: str) -> str:
    """A layer may be called anything; the table has the whole name."""
    return name if len(name) <= 26 else f"{name[:25]}…"


def _summary(result: StageResult) -> str:
    if result.max_ulp == 0:
        return "all bits equal"
    return f"{share_text(result.bitwise_equal)} equal, max {count_text(result.max_ulp)}"


def _power(k: int, bins: int) -> str:
    floor = 0 if k == 0 else 2 ** (k - 1)
    text = f"{floor >> 20}M" if floor >= 2**20 else f"{floor >> 10}k" if floor >= 2**10 else floor
    return f"≥{text}" if k == bins - 1 == _LAST_BIN else str(text)


def allowance_plot(results: list[StageResult]) -> str:
    """Every stage that has an allowance: how much of it the worse framework used."""
    rows: list[tuple[str, StageResult | None]] = []
    for group, stages in grouped(results).items():
        judged = [row for row in stages if row[1].allowance_used is not None]
        rows += [(group, None), *judged] if judged else []
    used = [r.allowance_used for _, r in rows if r and r.allowance_used is not None]
    finite = [share for share in used if 0 < share < math.inf]
    left = 10.0 ** math.floor(math.log10(min([*finite, 0.01])))
    right = min(3 * max([*finite, 1.0]), 1e6)
    with style():
        height = 0.66 + 0.2 * len(rows)
        figure = Figure(figsize=(WIDE, height))
        at = figure.add_axes((0.385, 0.42 / height, 0.47, 1 - 0.64 / height))
        at.set(xscale="log", xlim=(left, right), ylim=(len(rows) - 0.4, -0.6), yticks=[])
        at.axvspan(1, right, color=DIFFER, alpha=0.1, linewidth=0)
        at.axvline(1, color=DIFFER, linewidth=1.2)
        at.text(1, -0.75, "all that is allowed", ha="center", va="bottom", size=9.5, color=DIFFER)
        for y, (name, result) in enumerate(rows):
            if result is None:
                at.text(
                    -0.81, y, name, weight="bold", va="center",
                    transform=at.get_yaxis_transform(),
                )  # fmt: skip
                continue
            _lollipop(at, y, name, result, left, right)
        at.spines["left"].set_visible(False)
        at.grid(visible=False, axis="y")
        percent_axis(at)
        at.set_xlabel("share of the allowance used, log scale")
        spoken = "; ".join(
            f"{r.stage}: {share_text(r.allowance_used)}"
            for _, r in rows
            if r and r.allowance_used is not None
        )
        return inline(figure, "allowance", f"Share of the allowance used. {spoken}")


def _lollipop(at: Axes, y: int, name: str, result: StageResult, left: float, right: float) -> None:
    assert result.allowance_used is not None
    colour = INK if result.agree else DIFFER
    share = min(max(result.allowance_used, left), right)
    at.plot([left, share], [y, y], color=colour, linewidth=1.1, solid_capstyle="butt")
    marker = "o" if result.kind == "proven" else "s"
    at.plot(
        [share], [y], marker if result.agree else "X", color=colour, clip_on=False,
        markersize=5 if result.agree else 7,
    )  # fmt: skip
    at.text(
        -0.02, y, _short(name), transform=at.get_yaxis_transform(), ha="right", va="center",
        color=colour, weight="normal" if result.agree else "bold",
    )  # fmt: skip
    at.text(
        1.31, y, share_text(result.allowance_used), transform=at.get_yaxis_transform(),
        ha="right", va="center", color=colour, weight="normal" if result.agree else "bold",
    )  # fmt: skip
