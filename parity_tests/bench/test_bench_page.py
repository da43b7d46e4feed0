"""The benchmark's page in a real browser, on a desktop and a phone."""

from __future__ import annotations

from pathlib import Path

from parity_tests.bench.page import page
from parity_tests.bench.test_bench import COMPARISONS, GROWN, ORIGIN
from parity_tests.report.page.browser import IN_A_BROWSER, WIDTHS, look_at

pytestmark = IN_A_BROWSER


def test_page_reads_well(tmp_path: Path) -> None:
    """Nothing sticks out sideways, no label is on another or cut off, at both widths."""
    text = page(COMPARISONS, GROWN, ORIGIN)
    for found, width in zip(
        look_at([(text, width) for width in WIDTHS], False, tmp_path), WIDTHS, strict=True
    ):
        assert (found["width"], found["scrollWidth"]) == (width, width)
        assert (found["sticksOut"], found["overlaps"], found["cut"]) == ([], [], [])
        assert found["smallest"] > 8  # pixels of CSS, of the smallest letter in a plot
        assert found["plots"] == 2
