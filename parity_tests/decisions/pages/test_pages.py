"""The pages of an evaluation and of a training run: what they say, and that they are whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree

from parity_tests import ROOT
from parity_tests.decisions.pages.shown import an_evaluation, scores, some_training
from parity_tests.reference.selection import needed_packages
from parity_tests.report.page.strict_html import Strict, faults, loaded
from torch_impl.pages.curves import precision_recall, roc
from torch_impl.pages.evaluation import evaluation_page
from torch_impl.pages.skeleton import count, percent
from torch_impl.pages.training import Counts, training_page
from torch_impl.pipeline.threshold import Ranking

pytestmark = pytest.mark.slow  # each draws its page

HOSTILE = "<script>alert('1')</script>&\"'.csv"


def evaluated(*rows: Any, **options: Any) -> str:
    return evaluation_page(an_evaluation(*rows, **options))


def trained(**options: Any) -> str:
    return training_page(some_training(**options))


PAGES: dict[str, Callable[[], str]] = {
    "evaluation": lambda: evaluated(threshold=0.9),
    "evaluation, base rate corrected": lambda: evaluated(log_odds_shift=-3.2),
    "evaluation without a fraud": lambda: evaluated([0.1, 0.7], [0, 0]),
    "evaluation without an alert": lambda: evaluated([0.1, 0.2, 0.3], [0, 1, 0]),
    "evaluation of one row, a fraud": lambda: evaluated([0.6], [1]),
    "evaluation of a model that is sure, at a threshold of 1": lambda: evaluated(
        [0, 0, 1, 1], [0, 1, 0, 1], threshold=1.0
    ),
    "evaluation at a threshold of 0": lambda: evaluated(threshold=0.0, log_odds_shift=20.0),
    "training": trained,
    "training of one epoch, without rows for a test": lambda: trained(
        epochs=1, splits={"test": Counts(0, 0)}
    ),
    "training of a thousand epochs, of constant columns": lambda: trained(
        epochs=1000, rows=np.ones((2000, 29))
    ),
    "training without validation or a fraud": lambda: trained(
        history={"loss": [0.3, 0.2], "prc": [0.1, 0.2]}, kept_epoch=1, labels=np.zeros(2000)
    ),
    "training that diverged": lambda: trained(
        history={"loss": [0.3, np.nan], "val_loss": [np.inf, np.nan]}, kept_epoch=1
    ),
}


@cache
def page_of(kind: str) -> str:
    """One of these pages, drawn once."""
    return PAGES[kind]()


@pytest.mark.parametrize("kind", PAGES)
def test_page_is_well_formed_and_loads_nothing(kind: str) -> None:
    """Every tag is closed in order, what is referred to is there, and no address is anywhere."""
    text = page_of(kind)
    assert faults(text) == []
    assert loaded(text) == []
    assert "diverged" in kind or not re.search(r"\b(nan|inf)\b", text)


@pytest.mark.parametrize("module", ["evaluation", "training"])
def test_matplotlib_is_imported_only_when_a_page_is_made(module: str) -> None:
    """So that a command that draws nothing needs none; the twin: making one does import it."""
    path = ROOT / f"torch_impl/pages/{module}.py"
    assert "matplotlib" not in needed_packages(path)
    assert "matplotlib" in needed_packages(path, within=True)


@pytest.mark.parametrize("page", [evaluated, trained], ids=["evaluation", "training"])
def test_names_are_text_and_never_markup(page: Callable[..., str]) -> None:
    """A file, an option, a split or a column called <script> stays a name.

    One whose bytes are no UTF-8, and has a sign for each in Python, can be written as such.
    """
    more = {} if page is evaluated else {
        "options": {HOSTILE: HOSTILE},
        "splits": {HOSTILE: Counts(3, 1)},
        "columns": [f"{HOSTILE}{k}" for k in range(29)],
        "logarithmic": (f"{HOSTILE}28",),
    }  # fmt: skip
    text = page(model=HOSTILE, table=f"{HOSTILE}caf\udce9.csv", **more)
    assert "<script" not in text
    assert faults(text) == []
    assert HOSTILE in Strict(text).text("h1")[0]
    assert Strict(text).text("title")[0].startswith(HOSTILE)
    assert "caf?.csv" in text.encode().decode()


def test_the_same_numbers_give_the_same_page() -> None:
    """To the byte."""
    assert PAGES["evaluation"]() == page_of("evaluation")


def test_evaluation_says_what_the_threshold_calls_fraud() -> None:
    """First in words, then as a matrix and with both shares, counted row by row."""
    p, labels = scores()
    called = p > np.float32(0.9)
    tp, fp = (int((called & (labels == kind)).sum()) for kind in (1, 0))
    fn, tn = int(labels.sum()) - tp, int((labels == 0).sum()) - fp
    read = Strict(page_of("evaluation"))
    assert read.text("strong") == [
        f"{tp} of {tp + fn} frauds found; {tp} of {tp + fp} alerts are right."
    ]
    assert [words for words in read.text("b") if words] == [f"{n:,}" for n in (tn, fp, fn, tp)]
    shown = read.text("dl")
    at = {shown[k]: shown[k + 1] for k in range(0, len(shown), 2)}
    assert at["recall"] == f"{percent(tp / (tp + fn))} of the frauds are alerts"
    assert at["precision"] == f"{percent(tp / (tp + fp))} of the alerts are frauds"
    assert at["false alarms"] == f"{fp:,}"
    assert at["missed frauds"] == f"{fn:,}"


def test_evaluation_has_all_eleven_metrics() -> None:
    """By Keras's names, with their values."""
    evaluation = an_evaluation()
    read = Strict(page_of("evaluation"))
    cells = read.text("table")
    for name, value in evaluation.metrics.items():
        at = cells.index(name)
        whole = name in ("tp", "fp", "tn", "fn")
        assert cells[at + 2] == (f"{value:,.0f}" if whole else f"{value:.6g}")


def drawings(text: str) -> list[str]:
    return re.findall(r'aria-labelledby="([\w-]+)-title"', text)


def test_pages_draw_the_tutorials_plots() -> None:
    """Curves by epoch, ROC, precision and recall, calibration, and each class's distributions."""
    assert drawings(page_of("evaluation")) == [
        "precision-recall", "roc", "roc-log", "calibration", "distribution",
    ]  # fmt: skip
    assert drawings(page_of("training")) == [
        *(f"epochs-{key}" for key in ("loss", "prc", "precision", "recall")),
        *(f"class-{k}" for k in range(9)),
    ]


def test_evaluation_shows_the_calibration_before_a_correction() -> None:
    """Where one is at work: of probabilities that were the odds' factor off."""
    p, _ = scores()
    shift = -3.2
    text = page_of("evaluation, base rate corrected")
    assert "before the correction" in text
    assert f"multiplies the odds of fraud by {np.exp(shift):.4g}" in text
    tables = text.split('<table class="listing">')[1:3]
    odds = p.astype(np.float64) / (1 - p.astype(np.float64))
    uncorrected = odds / np.exp(shift) / (1 + odds / np.exp(shift))
    means = [
        [float(cell) for cell in re.findall(r'<th scope="row">([\d.e-]+)\u00a0%', table)]
        for table in tables
    ]
    for shown, whole in zip(means, (p, uncorrected), strict=True):
        assert len(shown) > 1
        assert min(shown) / 100 >= whole.min()
        assert max(shown) / 100 <= whole.max()
        assert max(shown) / 100 > np.quantile(whole, 0.98)
    assert "before the correction" not in page_of("evaluation")


def test_training_says_which_epoch_is_kept_and_what_it_gave() -> None:
    """Epochs are counted from 1 for a reader."""
    training = some_training()
    read = Strict(page_of("training"))
    assert read.text("strong") == ["Epoch 7 of 12 is kept."]
    shown = read.text("dl")
    for key, name in (("val_loss", "validation loss"), ("val_prc", "validation PR-AUC")):
        assert shown[shown.index(name) + 1] == f"{training.history[key][6]:.4f}"
    assert "PR-AUC at the kept epoch: training 0.6165; validation 0.5548" in read.text("title")


def test_training_shows_the_columns_that_tell_the_classes_apart_and_the_amount() -> None:
    """The better ones first; Amount is last, whether it tells them apart or not."""
    text = page_of("training")
    names = [words for words in Strict(text).text("h3") if re.match(r"V\d|Amount", words)]
    assert names[-1] == "Amount"
    numbers = [int(name[1:]) for name in names[:-1]]
    assert len(numbers) == 8
    assert min(numbers) > 15  # of 28, each a little farther apart than the one before
    told = re.findall(r"Distance ([\d.]+)", text)
    assert told[:-1] == sorted(told[:-1], reverse=True)


AXES = {  # left, bottom, width, height in units of the drawing, from its lower left corner
    "roc": (0.16 * 302.4, 0.12 * 273.6, 0.82 * 302.4, 0.8 * 273.6),
}
AXES["precision-recall"] = AXES["roc"]


def in_the_drawing(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where a point of a curve lies, (N, 2) in units of the SVG, which are about pixels."""
    left, bottom, width, height = AXES[name]
    unit = 1.04  # both axes go from -0.02 to 1.02
    return np.column_stack([
        left + width * (np.asarray(x) + 0.02) / unit,
        273.6 - (bottom + height * (np.asarray(y) + 0.02) / unit),
    ])  # fmt: skip


def drawn(text: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The curve's vertices (N, 2), and the dot (2,)."""
    svg = text[text.index(f'aria-labelledby="{name}-title"') :]
    svg = svg[: svg.index("</svg>")]
    curve = re.search(r'<path d="([^"]+)"[^>]*stroke: var\(--cool\)', svg)
    dots = re.findall(r'<use[^>]*x="([\d.]+)"[^>]*y="([\d.]+)"[^>]*fill: var\(--ink\)', svg)
    numbers = np.array(re.findall(r"-?[\d.]+", curve[1]), float).reshape(-1, 2)
    return numbers, np.array(dots[0], float)  # the other one is the legend's


def test_the_dot_is_where_the_models_threshold_is() -> None:
    """Counted row by row, on both curves."""
    p, labels = scores()
    called = p > np.float32(0.9)
    recall = (called & (labels == 1)).sum() / labels.sum()
    false_alarms = (called & (labels == 0)).sum() / (labels == 0).sum()
    precision = (called & (labels == 1)).sum() / called.sum()
    for name, at in (("roc", (false_alarms, recall)), ("precision-recall", (recall, precision))):
        _, dots = drawn(page_of("evaluation"), name)
        # Written with 6 decimals.
        due = in_the_drawing(name, *at)[0]
        np.testing.assert_array_equal(np.round(dots, 3), np.round(due, 3), name)


@pytest.mark.parametrize(("rows", "rate"), [(5000, 0.02), (300_000, 0.5)])
def test_a_curve_takes_little_room_and_each_of_its_points_lies_under_the_line(
    rows: int, rate: float
) -> None:
    """Within half of the line's width; and a page of 300,000 rows is below 1 MB."""
    p, labels = scores(rows, rate)
    text = evaluated(p, labels)
    assert len(text.encode()) < 1_000_000
    ranking = Ranking(p, labels)
    for name in AXES:
        curve = roc(ranking) if name == "roc" else precision_recall(ranking)[::-1]
        vertices, _ = drawn(text, name)
        assert len(vertices) < 20_000
        steps = np.diff(vertices, axis=0)
        parts = np.maximum(np.ceil(np.abs(steps).max(1) / 0.05), 1).astype(int)
        along = np.concatenate([np.arange(n) / n for n in parts])
        line = np.repeat(vertices[:-1], parts, 0) + along[:, None] * np.repeat(steps, parts, 0)
        far, _ = cKDTree(line).query(in_the_drawing(name, *curve))
        assert far.max() <= 1.8 / 2, name


@pytest.mark.parametrize(
    ("share", "told"),
    [(0, "0.00"), (1e-5, "< 0.01"), (1e-4, "0.01"), (0.5, "50.00"), (0.99999, "> 99.99"),
     (1, "100.00")],
)  # fmt: skip
def test_a_share_is_never_told_as_nothing_or_all_where_it_is_not(share: float, told: str) -> None:
    """One alert in a million rows is not 0.00 %."""
    assert percent(share).replace("\u00a0", " ") == f"{told} %"


def test_one_thing_has_no_plural() -> None:
    """And more have a mark for thousands."""
    assert [count(n, "alert") for n in (0, 1, 1234)] == ["0 alerts", "1 alert", "1,234 alerts"]
