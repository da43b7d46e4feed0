"""The page in a real browser: read, and measured on a desktop and on a phone.

It needs a program of its own, Chromium or Chrome. Where none is installed it is skipped, and
says so; what the page holds is tested without one in `test_page.py`.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from parity_tests.judge.agreement import StageResult, exact, within
from parity_tests.report.evidence import Evidence, Growth
from parity_tests.report.origin import Origin
from parity_tests.report.page.browser import IN_A_BROWSER, WIDTHS, look_at

pytestmark = IN_A_BROWSER


def results(broken: bool) -> list[StageResult]:
    """Rows of every kind, with the longest names and numbers that a report has."""
    rng = np.random.default_rng(0)
    names = ("weights copied", "hidden pre-activations", "hidden activations", "logits")
    rows = []
    for group in ("zero bias", "prior bias", "random weights", "trained weights", "one step"):
        for name in names:
            wide = rng.normal(size=1000)
            theirs = wide.astype(np.float32)
            ours = (wide * (1 + 2e-8)).astype(np.float32)
            if broken and group == "random weights":
                ours = ours * np.float32(1.01)
            rows.append(
                exact(f"{group}: {name}", ours if broken else theirs, theirs)
                if name == "weights copied"
                else within(f"{group}: {name}", "proven", ours, theirs, wide, np.abs(wide) * 1e-6)
            )
    return [*rows, exact("raw rows to probabilities", theirs, theirs)]


def evidence() -> Evidence:
    """Curves of eight epochs and scores of a model that ranks well."""
    rng = np.random.default_rng(0)
    labels = (rng.random(5000) < 0.02).astype(np.float32)
    scores = (1 / (1 + np.exp(5 - 6 * labels - rng.normal(size=5000)))).astype(np.float32)
    series = {
        "loss": [0.3 * 0.6**k for k in range(8)],
        "val_loss": [0.02 + 0.2 * 0.5**k for k in range(8)],
        "val_prc": [0.8 - 0.7 * 0.5**k for k in range(8)],
    }
    near = {name: [v * (1 + 1e-8 * k) for k, v in enumerate(s)] for name, s in series.items()}
    steps = list(range(1, 181))
    growth = Growth(steps, [3e-8] * 180, [1e-7 * step**0.5 for step in steps])
    return Evidence(series, near, series, growth, labels, scores, scores)


@cache
def pages() -> dict[bool, str]:
    """The page of a run that agrees, and of one that does not."""
    from parity_tests.report.page.page import page  # and matplotlib, which takes long to load

    command = "python -m parity_tests --csv " + "a-very-long-file-name-without-any-space" * 4
    rows = {"rows": "284,807", "positives": "492", "SHA-256 of the values": "ab" * 32}
    origin = Origin(command, rows, {"torch": "2.13.0+cpu"}, {"system": "Linux-6.1" * 12})
    return {broken: page(results(broken), evidence(), origin) for broken in (False, True)}


@cache
def seen(dark: bool) -> dict[tuple[bool, int], dict[str, Any]]:
    """What is seen of either page on every screen, in one start of the browser."""
    cases = list(product(pages(), WIDTHS))
    with TemporaryDirectory() as folder:
        shown = [(pages()[broken], width) for broken, width in cases]
        return dict(zip(cases, look_at(shown, dark, Path(folder)), strict=True))


@pytest.mark.parametrize("broken", [False, True], ids=["agreeing", "differing"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_reads_well(dark: bool, width: int, broken: bool) -> None:
    """The verdict is on the first screen, nothing sticks out sideways, no label is on another."""
    found = seen(dark)[broken, width]
    assert ("differ in" if broken else "agree in all 21 stages") in found["verdict"]
    assert found["top"] < 300
    assert (found["width"], found["scrollWidth"]) == (width, width)
    assert found["sticksOut"] == []
    assert found["overlaps"] == []
    assert found["cut"] == []
    assert found["smallest"] > 8  # pixels of CSS, of the smallest letter in a plot
    channels = [int(c) for c in re.findall(r"\d+", found["background"])]
    assert (max(channels) < 60) == dark
    assert found["plots"] == 14


def test_measurement_sees_what_is_wrong(tmp_path: Path) -> None:
    """The twin: a page that is too wide, with labels on each other and one cut off."""
    text = """<!DOCTYPE html><body style="margin:0"><strong id="verdict">x</strong>
    <div style="width:500px">wide</div><figure style="margin:0"><svg class="plot" width="200"
    height="50" style="overflow:visible"><text x="5" y="20" style="font-size:5px">one</text>
    <text x="6" y="21">two</text><text x="190" y="120">beneath</text></svg></figure>"""
    (found,) = look_at([(text, 390)], False, tmp_path)
    assert found["scrollWidth"] == 500
    assert [name.split()[0] for name in found["sticksOut"]] == ["DIV"]
    assert found["overlaps"] == ["one / two"]
    assert found["cut"] == ["beneath"]
    assert found["smallest"] == 5
