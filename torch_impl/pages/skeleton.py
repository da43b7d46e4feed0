"""One HTML page that needs nothing but itself: its head, its header, its sections.

Text that is given is escaped here; what is called markup goes in as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

__all__ = [
    "answer", "card", "count", "document", "facts", "figure", "listing", "percent", "scrolling",
    "section", "table_rows", "terms",
]  # fmt: skip

# Held by the browser itself: whatever a name in the page smuggled in would not be loaded or run.
_LOADS_NOTHING = "default-src 'none'; style-src 'unsafe-inline'"


def document(
    title: str,
    question: str,
    header: str,
    sections: Iterable[str],
    command: str,
    css: str = "",
) -> str:
    """The whole page, ready to be written as UTF-8.

    Args:
        title: text, of the window.
        question: text, what the page answers.
        header: markup: the `answer` and its `facts`.
        sections: markup of each.
        command: text, what writes this page.
        css: style sheet of what this page alone has.
    """
    common = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_LOADS_NOTHING}">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{common}{css}</style>
</head>
<body>
<header>
<h1>{escape(question)}</h1>
{header}
</header>
<main>
{"".join(sections)}
</main>
<footer><p>Written by <code>{escape(command)}</code>.</p></footer>
</body>
</html>
"""
    # A name of a file may hold what UTF-8 has no bytes for.
    return page.encode("utf-8", "replace").decode("utf-8")


def answer(told: str, more: str, kind: str = "", mark: str = "") -> str:
    """The box that a reader sees first.

    Args:
        told: text, one sentence.
        more: markup, what stands beneath it.
        kind: class of the style sheet.
        mark: a sign before it, which is not read aloud.
    """
    sign = f'<span class="mark" aria-hidden="true">{mark}</span>\n' if mark else ""
    return f"""<div class="{f"verdict {kind}".strip()}" role="status">{sign}<div>\
<strong id="verdict">{escape(told)}</strong><p>{more}</p></div></div>"""


def facts(of: Mapping[str, str]) -> str:
    """Names and values, text, large and side by side."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in of.items()
    )
    return f'<dl class="facts">{items}</dl>'


def section(heading: str, lead: str, body: str) -> str:
    """A part of the page; the lead and the body are markup."""
    name = heading.lower().replace(" ", "-")
    return f"""<section aria-labelledby="{name}">
<h2 id="{name}">{escape(heading)}</h2>
<p class="lead">{lead}</p>
{body}
</section>
"""


def figure(heading: str, drawing: str, caption: str = "") -> str:
    """A drawing, or any other markup, with text above and below."""
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure><h3>{escape(heading)}</h3>{drawing}{told}</figure>"


def card(heading: str, body: str) -> str:
    """Markup in a frame."""
    return f'<div class="card"><h3>{escape(heading)}</h3>{body}</div>'


def terms(of: Mapping[str, str]) -> str:
    """Names and values, text, for a `dl`."""
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in of.items())


def listing(columns: Sequence[str], rows: Iterable[str]) -> str:
    """A table of the columns' names, text, and rows, markup."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    return f"""<table class="listing"><thead><tr>{head}</tr></thead><tbody>
{"".join(rows)}
</tbody></table>"""


def scrolling(name: str, table: str) -> str:
    """A wide table that a reader with a keyboard can move, too; `name` is read aloud."""
    return f"""<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">
{table}</div>"""


def table_rows(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows for `listing` of their cells, text, the first of which is the row's name."""
    return [
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in rows
    ]


def percent(share: float) -> str:
    """A share with two digits after the point, never as nothing or all where it is not."""
    if 0 < share < 1e-4:
        return "<\u00a00.01\u00a0%"
    if 0 < 1 - share < 1e-4:
        return ">\u00a099.99\u00a0%"
    return f"{100 * share:.2f}\u00a0%"


def count(number: int, of: str) -> str:
    """A number of things, in the plural where it is one."""
    return f"{number:,} {of}{'' if number == 1 else 's'}"
