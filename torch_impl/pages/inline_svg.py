"""matplotlib figures as SVG that stands in an HTML page and follows its light or dark theme.

A figure is drawn in stand-in colours, each of which becomes a CSS variable of the page, so that
one drawing serves both themes. Text stays text: it can be read aloud, searched and copied.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

__all__ = ["BAD", "COOL", "GOOD", "GRID", "INK", "MUTED", "PANEL", "WARM", "inline", "style"]

INK, MUTED, GRID, PANEL = "#010101", "#020202", "#030303", "#040404"
WARM, COOL, GOOD, BAD = "#050505", "#060606", "#070707", "#080808"

_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PANEL: "panel",
    WARM: "warm",
    COOL: "cool",
    GOOD: "good",
    BAD: "bad",
}

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "torch_impl",  # the same figure gives the same bytes
    "font.family": "DejaVu Sans",  # wide: labels that fit in it fit in the page's font
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "axes.unicode_minus": False,
}

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"


@contextmanager
def style() -> Iterator[None]:
    """Draws in stand-in colours; never touches a display or the caller's settings."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not what a user's matplotlibrc says
        matplotlib.rcParams.update(_STYLE)
        yield


def inline(figure: Figure, name: str, title: str) -> str:
    """The figure as an `<svg>` element.

    Args:
        figure: drawn inside `style`.
        name: unique in the page, an HTML id.
        title: what a screen reader says instead of the drawing.

    Raises:
        ValueError: a colour is drawn that is no variable of the page.
    """
    out = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(out, format="svg", metadata=nothing)
    svg = ElementTree.fromstring(out.getvalue())
    for parent in list(svg.iter()):
        for child in list(parent):
            # matplotlib's style sheet would hold for the whole page, which has its own.
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    _rename_ids(svg, name)
    for element in svg.iter():
        element.tag = element.tag.removeprefix(_SVG)  # HTML knows its svg without a namespace
        if element.tag == "text":
            _in_the_pages_font(element)
    width, height = svg.attrib["viewBox"].split()[2:]
    svg.attrib = {
        "viewBox": f"0 0 {width} {height}",
        "class": "plot",
        "role": "img",
        "aria-labelledby": f"{name}-title",
    }
    spoken = ElementTree.Element("title", {"id": f"{name}-title"})
    spoken.text = title
    svg.insert(0, spoken)
    text = ElementTree.tostring(svg, encoding="unicode", short_empty_elements=False)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    stray = re.search(r"(?:fill|stroke): (?!none|var|inherit)[^;\"]+", text)
    if stray:
        raise ValueError(f"{escape(name)}: {stray[0]}: expected a colour of the page")
    return text


def _rename_ids(svg: ElementTree.Element, name: str) -> None:
    """Keeps the ids that something refers to, made unique in the page; drops the others."""
    referred = set()
    for element in svg.iter():
        for key, value in list(element.attrib.items()):
            if key == _LINK:
                referred.add(value.removeprefix("#"))
                element.attrib["href"] = "#" + f"{name}-{value.removeprefix('#')}"
                del element.attrib[key]
            elif found := re.findall(r"url\(#([^)]+)\)", value):
                referred.update(found)
                element.attrib[key] = re.sub(r"url\(#", f"url(#{name}-", value)
    for element in svg.iter():
        own = element.attrib.pop("id", None)
        if own in referred:
            element.attrib["id"] = f"{name}-{own}"


def _in_the_pages_font(text: ElementTree.Element) -> None:
    css = text.attrib.get("style", "")
    css = re.sub(r"font: ([\d.]+px) [^;]*", r"font-size: \1", css)
    css = re.sub(r"font-family: [^;]*;? ?", "", css)
    text.attrib["style"] = css
