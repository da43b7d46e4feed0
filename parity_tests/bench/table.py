"""The figures as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from parity_tests.bench.growth import Grown
from parity_tests.bench.race import Comparison

__all__ = [
    "GROWTH_HEADS",
    "HEADS",
    "growth_rows",
    "print_comparison",
    "print_growth",
    "standing_rows",
]

HEADS = ("ms", "× ours", "smallest", "largest")
"""Of `standing_rows`, behind the contestant's name."""

GROWTH_HEADS = ("rows", "ns a row", "s", "MB")
"""Of `growth_rows`, behind the work's name."""


def standing_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Who, milliseconds, and how many times as long as `torch_impl`: median, smallest, largest."""
    facts: dict[str, Any] = comparison.facts()
    ours = facts["standings"][0]["ms"]
    rows = []
    for found in facts["standings"]:
        if "missing" in found:
            rows.append((found["who"], found["missing"], "", "", ""))
            continue
        ratios = [number(found[name]) for name in ("ratio", "smallest", "largest")]
        rows.append((found["who"], number(found["ms"]), *ratios))
    rows += [
        (f"{name} alone", number(ms), number(ms / ours), "", "")
        for name, ms in facts["alone_ms"].items()
    ]
    return rows


def number(value: float) -> str:
    """Three digits, more where they stand before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def growth_rows(grown: Sequence[Grown]) -> list[tuple[str, ...]]:
    """Work, rows, nanoseconds a row, seconds and megabytes."""
    return [
        (
            of.work,
            f"{of.rows:,}",
            number(1e9 * of.seconds / of.rows),
            number(of.seconds),
            number(of.bytes / 1e6),
        )
        for of in grown
    ]


def print_comparison(comparison: Comparison, console: Console) -> None:
    """One kind of work."""
    _print((comparison.what, *HEADS), standing_rows(comparison), console)


def print_growth(grown: Sequence[Grown], console: Console) -> None:
    """All sizes."""
    _print(("growth", *GROWTH_HEADS), growth_rows(grown), console)


def _print(heads: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, heading in enumerate(heads):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print()
