"""The figures as one HTML page that needs nothing but itself, with plots of the growth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from matplotlib.figure import Figure

from parity_tests.bench.growth.by_processes import Shared
from parity_tests.bench.growth.by_rows import Grown
from parity_tests.bench.race import Comparison
from parity_tests.bench.table import GROWTH_HEADS, HEADS, growth_rows, shared_tables, standing_rows
from torch_impl.pages import skeleton
from torch_impl.pages.axes import WIDE, legend_above
from torch_impl.pages.inline_svg import BAD, COOL, GOOD, INK, MUTED, WARM, inline, style

__all__ = ["page"]

_LOOKS = tuple(zip((COOL, WARM, GOOD, BAD, INK, MUTED), "os^Dvx", strict=True))

_LEAD = (
    "Medians of rounds in which all took turns, each in a process of its own, and how many times "
    "as long as torch_impl they took. “Alone” is what this machine needs for the work’s bytes, "
    "arithmetic or random bits, on one thread, whoever does it."
)


def page(
    comparisons: Sequence[Comparison],
    grown: Sequence[Grown],
    origin: Mapping[str, str],
    shared: Shared | None = None,
) -> str:
    """The whole page, ready to be written as UTF-8.

    Args:
        comparisons: of contestants.
        grown: works on several sizes, if there are any.
        origin: names and values of what the figures come from.
        shared: training by several processes, if it was measured.
    """
    sections = []
    for comparison in comparisons:
        rows = skeleton.table_rows(standing_rows(comparison))
        listing = skeleton.listing(("who", *HEADS), rows)
        scrolling = skeleton.scrolling(comparison.what, listing)
        sections.append(skeleton.figure(_capital(comparison.what), scrolling))
    body = f'<div class="plots wide">{"".join(sections)}</div>'
    markup = [skeleton.section("Speed", _LEAD, body)] if comparisons else []
    if grown:
        markup.append(_growth(grown))
    if shared:
        markup.append(_shared(shared))
    card = skeleton.card("Machine and versions", f"<dl>{skeleton.terms(origin)}</dl>")
    markup.append(skeleton.section("Where the figures come from", "", card))
    question = "torch_impl beside what people use in its place: how fast, and how large?"
    header = skeleton.answer(*_answer(comparisons, grown))
    return skeleton.document(
        "Speed and memory", question, header, markup, "python -m parity_tests.bench --html"
    )


def _answer(comparisons: Sequence[Comparison], grown: Sequence[Grown]) -> tuple[str, str]:
    if not comparisons and not grown:
        return "Measured on several processes.", "No others took part."
    if not comparisons:
        return f"Measured on up to {max(of.rows for of in grown):,} rows.", "No others took part."
    behind = []
    for comparison in comparisons:
        found = comparison.facts()["standings"]
        behind += [f"{of['who']} ({comparison.what})" for of in found if of.get("ratio", 1) < 1]
    if behind:
        return f"Behind others {len(behind)} times.", escape(f"{', '.join(behind)}.")
    return "Nobody was faster.", f"In {skeleton.count(len(comparisons), 'kind')} of work."


def _growth(grown: Sequence[Grown]) -> str:
    plots = "".join(
        skeleton.figure(heading, drawing)
        for heading, drawing in (
            ("Time a row", _time_plot(grown)),
            ("Memory at its peak", _memory_plot(grown)),
        )
    )
    listing = skeleton.listing(("work", *GROWTH_HEADS), skeleton.table_rows(growth_rows(grown)))
    lead = (
        "Each size in a process of its own. Memory is what the process held at most above what it "
        "held after its imports, the rows that it was given included."
    )
    body = f'<div class="plots wide">{plots}</div>{skeleton.scrolling("growth", listing)}'
    return skeleton.section("Growth with the rows", lead, body)


def _shared(shared: Shared) -> str:
    lead = (
        "Processes that torchrun started on this machine share out each batch. The last two tables "
        "are computed from the ones above, for processes that have a machine each."
    )
    body = "".join(
        skeleton.scrolling(heads[0], skeleton.listing(heads, skeleton.table_rows(rows)))
        for heads, rows in shared_tables(shared)
    )
    return skeleton.section("Several processes", lead, body)


def _time_plot(grown: Sequence[Grown]) -> str:
    points = {work: [(g.rows, 1e9 * g.seconds / g.rows) for g in of] for work, of in _by(grown)}
    return _plot("nanoseconds a row", points, "growth-time")


def _memory_plot(grown: Sequence[Grown]) -> str:
    points = {work: [(g.rows, g.bytes / 1e6) for g in of] for work, of in _by(grown)}
    return _plot("MB above the import", points, "growth-memory")


def _by(grown: Sequence[Grown]) -> list[tuple[str, list[Grown]]]:
    works = dict.fromkeys(of.work for of in grown)
    return [(work, [of for of in grown if of.work == work]) for work in works]


def _plot(label: str, points: Mapping[str, Sequence[tuple[float, float]]], name: str) -> str:
    with style():
        figure = Figure(figsize=(WIDE, 4.2))
        at = figure.add_axes((0.16, 0.12, 0.8, 0.7))
        for (work, own), (colour, marker) in zip(points.items(), _LOOKS, strict=False):
            x, y = zip(*own, strict=True)
            at.plot(x, y, color=colour, marker=marker, markersize=5, linewidth=1.6, label=work)
        at.set(xscale="log", yscale="log", xlabel="rows", ylabel=label)
        for axis in (at.xaxis, at.yaxis):
            axis.set_major_formatter(lambda v, _: f"{v:,.0f}" if v >= 1 else f"{v:g}")
        at.minorticks_off()
        at.margins(y=0.15)
        legend_above(at)
        rows = max(own[-1][0] for own in points.values())
        last = "; ".join(f"{work} {own[-1][1]:.3g}" for work, own in points.items())
        return inline(figure, name, f"{_capital(label)}. At {rows:,} rows: {last}.")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
