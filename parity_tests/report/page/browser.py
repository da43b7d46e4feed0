"""Measures pages in a real browser: Chromium or Chrome."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

__all__ = ["IN_A_BROWSER", "WIDTHS", "look_at"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

IN_A_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None,
        reason=f"no browser is installed (looked for {', '.join(NAMES)}): "
        "the page's looks are not measured here",
    ),
]
"""The marks of a test that looks at pages."""

# The page stands in a frame as wide as the screen in question, since a browser's own window
# cannot be as narrow as a phone; the frame's width is what its media queries see.
MEASURE = """
const measure = frame => {
const page = frame.contentDocument;
const root = page.documentElement, width = root.clientWidth;
const wraps = element => { // what scrolls inside its own container may be wider than the screen
  for (let e = element; e; e = e.parentElement)
    if (page.defaultView.getComputedStyle(e).overflowX === 'auto') return true;
  return false;
};
const sticksOut = [...page.body.querySelectorAll('*')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && (box.right > width + 1 || box.left < -1) && !wraps(e);
}).map(e => e.tagName + ' ' + e.textContent.trim().slice(0, 40));
const overlaps = [], cut = [];
let smallest = 99;
for (const svg of page.querySelectorAll('svg.plot')) {
  const card = svg.closest('figure').getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim());
  const boxes = texts.map(t => t.getBoundingClientRect());
  texts.forEach((text, i) => {
    const scale = text.getScreenCTM().a || Math.abs(text.getScreenCTM().b);
    const size = parseFloat(page.defaultView.getComputedStyle(text).fontSize) * scale;
    smallest = Math.min(smallest, size);
    const a = boxes[i];
    if (a.left < card.left || a.right > card.right || a.top < card.top || a.bottom > card.bottom)
      cut.push(text.textContent);
    boxes.slice(i + 1).forEach((b, j) => {
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      // Boxes are taller than letters: only those that share half a line are on each other.
      if (across > 0.5 && down > Math.min(a.height, b.height) / 2)
        overlaps.push(text.textContent + ' / ' + texts[i + 1 + j].textContent);
    });
  });
}
return {
  verdict: page.getElementById('verdict').textContent,
  top: page.getElementById('verdict').getBoundingClientRect().top,
  width, scrollWidth: root.scrollWidth, sticksOut, overlaps, cut, smallest,
  background: page.defaultView.getComputedStyle(page.body).backgroundColor,
  plots: page.querySelectorAll('svg.plot').length,
};
};
onload = () => {
  const frames = [...document.querySelectorAll('iframe')];
  document.querySelector('pre').textContent = JSON.stringify(frames.map(measure));
};
"""


WIDTHS = (1280, 390)


def look_at(shown: list[tuple[str, int]], dark: bool, folder: Path) -> list[dict[str, Any]]:
    """What a reader sees of pages on screens of these widths."""
    frames = "".join(
        f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{escape(text)}"></iframe>'
        for text, width in shown
    )
    (folder / "frames.html").write_text(
        f"<!DOCTYPE html><meta charset=utf-8>{frames}<pre></pre><script>{MEASURE}</script>", "utf-8"
    )
    answer = subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--virtual-time-budget=5000", "--dump-dom", (folder / "frames.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r"<pre>(\[.*?\])</pre>", answer.stdout, re.DOTALL)
    if not found:
        raise RuntimeError(answer.stderr[-2000:])
    return json.loads(unescape(found[1]))
