"""The pages of an evaluation and of a training run in a real browser, on a desktop and a phone."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from parity_tests.decisions.pages.shown import an_evaluation, scores, some_training
from parity_tests.report.page.browser import IN_A_BROWSER, WIDTHS, look_at

pytestmark = IN_A_BROWSER

LONG = "a-very-long-file-name-without-any-space" * 4


@cache
def pages() -> dict[str, tuple[str, int]]:
    """Each page with how many drawings it has; with long names and large numbers."""
    from torch_impl.pages.evaluation import evaluation_page  # and matplotlib: long to load
    from torch_impl.pages.training import Counts, training_page

    named = {"model": LONG, "table": LONG}
    sure = scores(2000)[1]
    many = an_evaluation(*scores(300_000, 0.002), threshold=0.0123456789, **named)
    return {
        "evaluation": (evaluation_page(many), 5),
        "corrected": (evaluation_page(an_evaluation(log_odds_shift=-6, **named)), 5),
        "sure": (evaluation_page(an_evaluation(sure, sure, threshold=1.0)), 5),
        "training": (
            training_page(
                some_training(
                    options={LONG: LONG, "seed": "0"},
                    splits={"training": Counts(1_822_760, 33_600), LONG: Counts(0, 0)},
                    **named,
                )
            ),
            13,
        ),
        "long training": (training_page(some_training(epochs=1000)), 13),
    }


LIGHT = [
    (name, width)
    for name in ("evaluation", "corrected", "sure", "training", "long training")
    for width in WIDTHS
]
DARK = [("evaluation", WIDTHS[0]), ("training", WIDTHS[1])]


@cache
def seen(dark: bool) -> dict[tuple[str, int], dict[str, Any]]:
    """What is seen of each page on every screen, in one start of the browser."""
    cases = DARK if dark else LIGHT
    with TemporaryDirectory() as folder:
        shown = [(pages()[name][0], width) for name, width in cases]
        return dict(zip(cases, look_at(shown, dark, Path(folder)), strict=True))


@pytest.mark.parametrize(
    ("dark", "name", "width"),
    [*((False, *case) for case in LIGHT), *((True, *case) for case in DARK)],
)
def test_page_reads_well(dark: bool, name: str, width: int) -> None:
    """The answer is on the first screen, nothing sticks out sideways, no label is on another."""
    found = seen(dark)[name, width]
    assert found["top"] < 450  # below a name of 160 letters, twice
    assert (found["width"], found["scrollWidth"]) == (width, width)
    assert found["sticksOut"] == []
    assert found["overlaps"] == []
    assert found["cut"] == []
    assert found["smallest"] > 8  # pixels of CSS, of the smallest letter in a plot
    channels = [int(c) for c in re.findall(r"\d+", found["background"])]
    assert (max(channels) < 60) == dark
    assert found["plots"] == pages()[name][1]
