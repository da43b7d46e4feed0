"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from parity_tests.judge.agreement import Break, StageResult
from parity_tests.report.evidence import Evidence, confusion
from parity_tests.report.origin import Origin
from parity_tests.report.page.run_plots import (
    CURVES,
    calibration_plot,
    growth_plot,
    ranking_plots,
    training_plot,
)
from parity_tests.report.page.stage_plots import allowance_plot, ulp_plots
from parity_tests.report.table import count_text, row_texts, share_text, verdict_text
from torch_impl.pages.skeleton import (
    answer,
    card,
    document,
    facts,
    figure,
    listing,
    scrolling,
    section,
    terms,
)

__all__ = ["page"]

THRESHOLDS = (0.5, 0.1, 0.01)
"""The tutorial looks at its confusion matrix at these three."""

_KINDS = {
    "exact": "The same bits: weights after a copy, and numbers chosen so that every product and "
    "partial sum fits float32.",
    "proven": "Both frameworks lie within a forward error bound of a float64 reference, computed "
    "for each element from the numbers at hand.",
    "double": "Where errors feed back (training), both make the same run in float64, and are no "
    "farther apart than float64 rounds: as many of its ULP as float32 took Keras, twice.",
    "rounding": "The two float32 runs are no farther apart than twice the distance of a float32 "
    "run of Keras's, summed otherwise, from Keras's own run in float64.",
}


def page(results: list[StageResult], evidence: Evidence | None, origin: Origin) -> str:
    """The whole page, ready to be written as UTF-8.

    Args:
        results: the stages.
        evidence: what the tutorial's plots draw; None for a model of one's own.
        origin: where the numbers come from.
    """
    broken = [result for result in results if not result.agree]
    model = "model" if evidence is None else "fraud model"
    title = f"{'DIFFER' if broken else 'agree'}: Keras and PyTorch, one {model}"
    sections = (
        *([_breaks(broken)] if broken else []),
        _table(results),
        _ulp(results),
        _allowance(results, evidence),
        *([] if evidence is None else [_training(evidence), _predictions(evidence)]),
        _repeat(origin),
    )
    return document(
        title,
        f"Keras and PyTorch: is it the same {model}?",
        _header(results, evidence, origin),
        sections,
        "python -m parity_tests --html",
        Path(__file__).with_name("report.css").read_text(encoding="utf-8"),
    )


def _header(results: list[StageResult], evidence: Evidence | None, origin: Origin) -> str:
    broken = [result for result in results if not result.agree]
    mark, kind = ("✗", "differs") if broken else ("✓", "agrees")
    if broken:
        told = f"The first stage that breaks: <b>{escape(broken[0].stage)}</b>."
    else:
        told = (
            "The same network in Keras and in PyTorch gives the same numbers at every stage, as "
            "far as rounding lets any two correct programs do so."
        )
    used = max((r.allowance_used for r in results if r.allowance_used is not None), default=0.0)
    rows = {"rows compared": origin.data["rows"]}
    if "positives" in origin.data:
        told_rows = f"{origin.data['rows']} / {origin.data['positives']}"
        rows = {"rows compared, frauds among them": told_rows}
    told_facts = {
        **rows,
        "stages that agree": f"{len(results) - len(broken)} of {len(results)}",
        "largest share of an allowance used": share_text(used),
    }
    if evidence is not None:
        apart = f"{evidence.growth.between[-1]:.1e}"
        told_facts["largest weight difference after training"] = apart
    return f"{answer(verdict_text(results), told, kind, mark)}\n{facts(told_facts)}"


def _breaks(broken: list[StageResult]) -> str:
    first, *others = broken
    body = f"""<div class="card break"><h3>{escape(first.stage)}</h3>{_first_break(first)}</div>"""
    if others:
        rows = "".join(f"<li><b>{escape(r.stage)}</b>: {escape(r.detail)}</li>" for r in others)
        body += card("After it", f'<ul class="breaks">{rows}</ul>')
    lead = "Stages stand in the order in which a row travels: look at the first one first."
    return section("Where it breaks", lead, body)


def _first_break(result: StageResult) -> str:
    worst = result.worst
    if worst is None:  # shapes, dtypes or epochs differ, and there is no element to show
        return f"<p>{escape(result.detail)}</p>"
    index = ", ".join(map(str, worst.at))
    numbers = {
        "PyTorch": f"{worst.ours:.{worst.digits}g}",
        "Keras": f"{worst.theirs:.{worst.digits}g}",
        "apart by": f"{abs(worst.ours - worst.theirs):.3g}",
    }
    told = {
        "element": f"{worst.part} [{index}]".strip(),
        "expected": worst.expected,
        **_blame(worst),
        "elements that break": f"{worst.broken:,} of {worst.elements:,}",
        "largest in the stage": f"{result.max_abs:.3g}, {count_text(result.max_ulp)} ULP",
    }
    pair = "".join(
        f'<div><span>{escape(name)}</span><b class="number">{escape(value)}</b></div>'
        for name, value in numbers.items()
    )
    items = "".join(
        f'<dt>{escape(name)}</dt><dd class="number">{escape(value)}</dd>'
        for name, value in told.items()
    )
    return f'<div class="pair">{pair}</div><dl>{items}</dl>'


def _blame(worst: Break) -> dict[str, str]:
    if worst.shares is None:
        return {}
    return {
        f"{name} used of its allowance": share_text(share)
        for name, share in zip(("PyTorch", "Keras"), worst.shares, strict=True)
    }


def _table(results: list[StageResult]) -> str:
    rows, heading = [], ""
    for result in results:
        group, _, stage = result.stage.rpartition(": ")
        if group and group != heading:
            rows.append(
                f'<tr class="group"><th scope="rowgroup" colspan="7">{escape(group)}</th></tr>'
            )
        heading = group
        cells = "".join(f"<td>{escape(text)}</td>" for text in row_texts(result))
        verdict = '<td class="yes">✓ agree</td>' if result.agree else '<td class="no">✗ DIFFER</td>'
        kind = " ".join([*(["within"] if group else []), *([] if result.agree else ["broken"])])
        # On a phone the verdict is off the edge: what breaks says so in the first column, too.
        name = escape(stage if result.agree else f"✗ {stage}")
        rows.append(f'<tr class="{kind}"><th scope="row">{name}</th>{cells}{verdict}</tr>')
    columns = ("stage", "kind", "max |Δ|", "ULP", "bitwise =", "allowance", "verdict")
    body = f"""<p class="narrow">The table goes on to the right, up to the verdicts →</p>
{scrolling("Stages", listing(columns, rows))}"""
    lead = (
        "In the order in which a row of data travels through the network. ULP is how many floats "
        "lie between the two numbers at most; the kinds of agreement are explained below."
    )
    return section("Stages", lead, body)


def _ulp(results: list[StageResult]) -> str:
    lead = (
        "How many floats lie between Keras's number and PyTorch's. Bars stand at 0, 1, 2 to 3, "
        "4 to 7, … floats; heights are logarithmic, so that one element in ten million shows. "
        "Near zero floats lie close, so that many of them fit into a small difference."
    )
    figures = "".join(figure(group, svg) for group, svg in ulp_plots(results))
    return section("Bits apart", lead, f'<div class="columns">{figures}</div>')


def _allowance(results: list[StageResult], evidence: Evidence | None) -> str:
    used = figure(
        "Share of the allowance used",
        allowance_plot(results),
        "By the framework that used more of it, at its worst element. Circles: proven bounds; "
        "squares: training, in float32 and in float64. Logarithmic.",
    )
    kinds = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in _KINDS.items())
    told = card(
        "What is demanded",
        f"""
<p>What is allowed follows from the numbers at hand; no tolerance was picked.</p>
<dl class="kinds">{kinds}</dl>""",
    )
    growth = (
        ""
        if evidence is None
        else figure(
            "How the weights move apart in training",
            growth_plot(evidence),
            "Largest difference over all weights, step by step. The solid line is how far rounding "
            "alone takes Keras from the same run in float64 (the farther of two float32 runs).",
        )
    )
    lead = "The worst element of each stage, against all that the stage allows."
    right = f'<div class="stack">{told}{growth}</div>'
    return section("Room left", lead, f'<div class="plots wide">{used}{right}</div>')


def _training(evidence: Evidence) -> str:
    figures = "".join(
        figure(name, training_plot(evidence, key))
        for key, name in CURVES.items()
        if key in evidence.theirs and key in evidence.ours
    )
    lead = (
        f"Both frameworks train from the same seed, each by itself. {_KEYS} Below each pair of "
        "curves stands their difference, next to how far rounding alone took Keras from float64."
    )
    return section("Training", lead, f'<div class="plots">{figures}</div>')


_KEYS = "The broad line is Keras, the thin broken one on top of it PyTorch."


def _predictions(evidence: Evidence) -> str:
    rows = len(evidence.labels)
    lead = (
        f"Each framework's own trained model on the {rows:,} test rows, which neither was trained "
        f"on, {int(evidence.labels.sum()):,} of them frauds. {_KEYS}"
    )
    if len(np.unique(evidence.labels)) < 2:
        return section("Predictions", lead, "<p>Curves need test rows of both classes.</p>")
    figures = "".join(figure(name, svg) for name, svg in ranking_plots(evidence).items())
    figures += figure(
        "Calibration",
        calibration_plot(evidence),
        "A model that is right about its probabilities lies on the thin line.",
    )
    matrices = "".join(_matrix(evidence, threshold) for threshold in THRESHOLDS)
    body = f'<div class="plots">{figures}</div><div class="plots">{matrices}</div>'
    return section("Predictions", lead, body)


def _matrix(evidence: Evidence, threshold: float) -> str:
    ours, theirs = (
        confusion(evidence.labels, scores, threshold)
        for scores in (evidence.our_probabilities, evidence.their_probabilities)
    )

    def cell(name: str) -> str:
        kind = "" if ours[name] == theirs[name] else ' class="apart"'
        return (
            f'<td{kind}><span class="who">{name}</span>'
            f'<div><span class="who">Keras</span> <span>{theirs[name]:,}</span></div>'
            f'<div><span class="who">PyTorch</span> <span>{ours[name]:,}</span></div></td>'
        )

    table = f"""
<table class="matrix"><thead><tr><td hidden></td><th scope="col">called legitimate</th>
<th scope="col">called fraud</th></tr></thead>
<tbody><tr>{cell("true negatives")}{cell("false positives")}</tr>
<tr>{cell("false negatives")}{cell("true positives")}</tr></tbody></table>"""
    return figure(f"Confusion above {threshold:g}", table)


def _repeat(origin: Origin) -> str:
    cards = "".join(
        card(heading, f"<dl>{terms(told)}</dl>")
        for heading, told in (
            ("Data", origin.data),
            ("Versions", origin.versions),
            ("Machine", origin.machine),
        )
    )
    body = f"""<pre><code>{escape(origin.command)}</code></pre>
<div class="plots cards">{cards}</div>"""
    return section("Repeat it", "From a checkout, with these versions installed:", body)
