"""The report as a page: what it says, that it is whole, and that it needs nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data import prepare, synthetic
from parity_tests import ROOT
from parity_tests.judge.agreement import StageResult, exact, within
from parity_tests.report import stages
from parity_tests.report.evidence import Evidence, confusion, gather
from parity_tests.report.origin import Origin
from parity_tests.report.page.strict_html import Strict, faults, loaded
from parity_tests.report.sick_model import make_one_weight_wrong
from parity_tests.report.stages import Comparison
from parity_tests.report.table import row_texts
from parity_tests.sides.answers import Answers, Echo, run_here

ORIGIN = Origin("python -m parity_tests", {"rows": "3,000", "positives": "150"}, {}, {})
HOSTILE = "<script>alert('1')</script>&\"'.csv"


def page(*of: Any) -> str:
    """The page as text: the fast part does without matplotlib, which takes long to load."""
    from parity_tests.report.page.page import page as written

    return written(*of)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """With what PyTorch computes as Keras's too: what a page shows of it is what is asked here."""
    rows = prepare(synthetic(rows=3000, positives=150))
    return Comparison(rows, Answers(Echo()), trace=True)


@pytest.fixture(scope="module")
def results(comparison: Comparison) -> list[StageResult]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "run_exported", run_here)
        return [result for step in comparison.steps() for result in step.run()]


@pytest.fixture(scope="module")
def evidence(comparison: Comparison, results: list[StageResult]) -> Evidence:
    return gather(comparison)


@pytest.fixture(scope="module")
def agreeing(results: list[StageResult], evidence: Evidence) -> str:
    return page(results, evidence, ORIGIN)


@pytest.fixture(scope="module")
def broken_results(comparison: Comparison, results: list[StageResult]) -> list[StageResult]:
    """The same run, in which one weight of one model is off by 1e-4 of itself."""
    with pytest.MonkeyPatch.context() as patch:
        make_one_weight_wrong(patch)
        rows = {result.stage: result for result in comparison.forward_pass("random weights")}
    return [rows.get(result.stage, result) for result in results]


@pytest.fixture(scope="module")
def differing(broken_results: list[StageResult], evidence: Evidence) -> str:
    return page(broken_results, evidence, ORIGIN)


@pytest.fixture(params=["agreeing", "differing"])
def either(request: pytest.FixtureRequest, agreeing: str, differing: str) -> str:
    return agreeing if request.param == "agreeing" else differing


@pytest.mark.slow
def test_page_is_well_formed(either: str) -> None:
    """Every tag is closed in order, no id stands twice, and what is referred to is there."""
    assert faults(either) == []


def test_strict_reader_sees_what_is_wrong() -> None:
    """The twin: on tags that cross, stay open or close nothing, and on each of the rest."""
    for faulty in (
        "<p><b>x</p></b>", "<div><p>x</p>", "<p>x</p></div>", "<p id=a id=b>x</p>",
        "<p id=a>x</p><p id=a>y</p>", "<p aria-labelledby=a>x</p>",
        "<p style='fill: url(#a)'>x</p>",
        "<p href='#a'>x</p>",
    ):  # fmt: skip
        assert faults(f"<!DOCTYPE html>{faulty}") != []
    assert faults("<p>x</p>") != []


@pytest.mark.slow
def test_page_loads_nothing(either: str) -> None:
    """No script, no address, no import: a page from a mail attachment shows all that it has."""
    assert loaded(either) == []


@pytest.mark.parametrize(
    "smuggled",
    [
        "<script>1</script>", "<img alt=x>", "<p src=x>x</p>", "<p onclick=x>x</p>",
        "<a href=x>x</a>", "http://x", "https://x", "@import 'x'", "<p style='fill: url(x)'>x</p>",
    ],
)  # fmt: skip
def test_what_a_page_would_load_is_seen(smuggled: str) -> None:
    """The twin: each way of running something, or of asking for it; and a page without a policy."""
    policy = "<meta content=\"default-src 'none'\">"
    assert loaded(policy) == []
    assert loaded(policy + smuggled) != []
    assert loaded("<p>x</p>") != []


@pytest.mark.slow
def test_page_has_the_verdict_first_and_every_stage_with_the_terminals_numbers(
    results: list[StageResult], agreeing: str
) -> None:
    """The table's cells are the texts that the terminal prints."""
    read = Strict(agreeing)
    assert read.text("strong")[0] == f"The frameworks agree in all {len(results)} stages."
    assert agreeing.index('id="verdict"') < agreeing.index("<table")
    cells = read.text("table")
    for result in results:
        at = cells.index(result.stage.rpartition(": ")[2])
        shown = [text for text in row_texts(result) if text]
        while cells[at + 1 : at + 1 + len(shown)] != shown:  # stages of other groups share names
            at = cells.index(cells[at], at + 1)
        assert cells[at + 1 + len(shown)] == "✓ agree"


@pytest.mark.slow
def test_page_draws_every_plot(results: list[StageResult], agreeing: str) -> None:
    """A histogram for each stage, allowances, curves, growth, ROC, PR and calibration."""
    drawings = agreeing.split("<svg")[1:]
    names = [re.search(r'aria-labelledby="(.*?)-title"', svg)[1] for svg in drawings]
    assert [name for name in names if not name.startswith("ulp-")] == [
        "allowance", "growth", "curve-loss", "curve-val_loss", "curve-val_prc", "roc",
        "precision", "calibration",
    ]  # fmt: skip
    histograms = " ".join(s for s, n in zip(drawings, names, strict=True) if n.startswith("ulp-"))
    texts = Strict(f"<svg{histograms}").text("text")
    assert sum("max " in text or text == "all bits equal" for text in texts) == len(results)


@pytest.mark.slow
def test_failing_page_says_first_which_stage_broke_where_and_by_how_much(
    broken_results: list[StageResult], differing: str
) -> None:
    """Before the table: the stage, the element, both numbers, and whose error is too large."""
    broken = [result for result in broken_results if not result.agree]
    assert broken[0].stage == "random weights: weights copied"
    read = Strict(differing)
    assert read.text("strong") == [
        f"The frameworks differ in {len(broken)} of {len(broken_results)} stages."
    ]
    top = differing[: differing.index("<table")]
    worst = broken[0].worst
    for text in ("dense/kernel [0, 0]", f"{worst.ours:.9g}", f"{worst.theirs:.9g}", "1 of 464"):
        assert f">{text}<" in top
    for result in broken:
        assert result.stage in top
    assert top.index(f"<h3>{broken[0].stage}</h3>") < top.index(f"<b>{broken[1].stage}</b>")
    assert differing.count('class="no">✗ DIFFER') == len(broken)
    assert "<title>DIFFER" in differing


@pytest.mark.slow
def test_failing_page_says_which_framework_left_its_bound(evidence: Evidence) -> None:
    """Where each has a bound of its own, the reader sees who is wrong."""
    ours, theirs = np.float32([1, 2.5]), np.float32([1, 2])
    reference, allowance = np.array([1.0, 2.0]), np.array([0.1, 0.1])
    text = page([within("s", "proven", ours, theirs, reference, allowance)], evidence, ORIGIN)
    facts = Strict(text).text("dl")
    at = facts.index("PyTorch used of its allowance")
    assert facts[at : at + 4] == [
        "PyTorch used of its allowance", "500.0 %", "Keras used of its allowance", "0.0 %",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "result",
    [
        exact("shape", np.float32([1]), np.float32([1, 2])),
        exact("not a number", np.float32([np.nan]), np.float32([1])),
        within(
            "infinite", "proven", np.float32([np.inf]), np.float32([1]), np.ones(1), np.zeros(1)
        ),
    ],
    ids=lambda result: result.stage,
)
def test_page_is_written_whatever_breaks(result: StageResult, evidence: Evidence) -> None:
    """Infinities, NaN and arrays of another form are shown, not stumbled over."""
    text = page([result], evidence, ORIGIN)
    assert Strict(text).faults == []
    assert "differ in 1 of 1 stages" in text


@pytest.mark.slow
def test_names_are_text_and_never_markup(
    results: list[StageResult], broken_results: list[StageResult], evidence: Evidence
) -> None:
    """A file, a stage or a version called <script> stays a name."""
    origin = Origin(HOSTILE, {**ORIGIN.data, HOSTILE: HOSTILE}, {HOSTILE: HOSTILE}, {"m": HOSTILE})
    broken = [result for result in broken_results if not result.agree][:2]
    renamed = [replace(r, stage=HOSTILE, detail=HOSTILE) for r in broken]
    renamed += [replace(r, stage=f"{HOSTILE}: {HOSTILE}") for r in results[:3]]
    text = page(renamed, evidence, origin)
    assert "<script" not in text
    read = Strict(text)
    assert read.faults == []
    assert HOSTILE in "".join(read.text("pre"))
    assert any(HOSTILE in words for words in read.text("text"))


@pytest.mark.slow
def test_plots_show_the_runs_that_were_compared(comparison: Comparison, evidence: Evidence) -> None:
    """No second training: the histories are those of the stages, the last step their weights."""
    ours, theirs = comparison.torch_runs, comparison.keras_runs
    assert evidence.theirs is theirs["float32"]["history"]
    assert evidence.ours is ours["float32"]["history"]
    assert evidence.wide is theirs["float64"]["history"]
    steps = 2  # one batch in each of two epochs
    assert evidence.growth.steps == list(range(1, steps + 1))
    for run in (*ours.values(), *theirs.values()):
        for name, last in run["trace"][-1].items():
            np.testing.assert_array_equal(last, run["final"][name])

    def apart(one: Any, other: Any) -> float:
        pairs = ((one["final"][n].astype(float), other["final"][n]) for n in one["final"])
        return max(np.abs(a - b).max() for a, b in pairs)

    keras = theirs["float32"]
    assert evidence.growth.between[-1] == apart(ours["float32"], keras)
    assert evidence.growth.own[-1] == max(
        apart(theirs["float64"], run) for run in (keras, theirs["edges"])
    )


def test_confusion_counts_what_lies_strictly_above() -> None:
    """A probability that is the threshold itself is a call of legitimate, as in Keras."""
    labels, scores = np.array([0, 0, 1, 1, 1]), np.float32([0.1, 0.9, 0.5, 0.6, 0.2])
    assert list(confusion(labels, scores, 0.5).values()) == [1, 1, 2, 1]


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(theme: str) -> None:
    """WCAG AA: contrast of 4.5 at least for every colour that text or a curve may have."""
    css = (ROOT / "torch_impl/pages/page.css").read_text(encoding="utf-8")
    block = css.split(":root {")[1 if theme == "light" else 2].split("}")[0]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for front in ("ink", "muted", "warm", "cool", "good", "bad"):
        for back in ("page", "panel", "good-wash", "bad-wash"):
            light, dark = sorted((luminance(colours[front]), luminance(colours[back])))[::-1]
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back)
