"""The figures as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from parity_tests.bench.growth.by_processes import NETWORK, PLANNED, Shared
from parity_tests.bench.growth.by_rows import Grown
from parity_tests.bench.growth.cost import Cost
from parity_tests.bench.race import Comparison

__all__ = [
    "GROWTH_HEADS",
    "HEADS",
    "growth_rows",
    "print_comparison",
    "print_growth",
    "print_shared",
    "shared_tables",
    "standing_rows",
]

HEADS = ("ms", "× ours", "smallest", "largest")
"""Of `standing_rows`, behind the contestant's name."""

GROWTH_HEADS = ("rows", "ns a row", "s", "MB")
"""Of `growth_rows`, behind the work's name."""

_PLANNED_BATCHES = (2048, 2**20)
_MANY = 2**32
"""Rows, of which the exchange is no part any more."""
_CORES = 16
_ETHERNET = f"{1e6 * NETWORK[0]:.0f} µs and {8e-9 / NETWORK[1]:.0f} Gbit/s"


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


def shared_tables(shared: Shared) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Heads and rows of: agreement, steps, exchanges, and what many processes would take."""
    agreed = [
        (f"{a.processes}", f"{a.agree} of {a.stages}", number(a.used), f"{a.same_bits} of {a.runs}")
        for a in shared.agreed
    ]
    alone = {(s.path, s.batch): s.seconds for s in shared.steps if s.processes * s.threads == 1}
    steps = [
        (
            f"{s.path}, {s.batch:,} rows",
            f"{s.processes}",
            f"{s.threads}",
            number(1e3 * s.seconds),
            number(s.seconds / alone[s.path, s.batch]),
            f"{s.exchange / s.seconds:.0%}" if s.processes > 1 else "",
            "yes" if s.same_bits else "no",
        )
        for s in shared.steps
    ]
    exchanges = [
        (f"{e.processes} processes", f"{e.bytes:,}", number(1e6 * e.seconds))
        for e in shared.exchanges
    ]
    heads_agreed = ("processes", "stages agree", "of the allowance in double", "runs of equal bits")
    heads_steps = ("a step of", "processes", "threads", "ms", "× one", "exchange", "equal bits")
    return [
        (heads_agreed, agreed),
        (heads_steps, steps),
        (("exchange", "bytes", "µs"), exchanges),
        _planned("computed, with this exchange", shared.cost),
        _planned(f"computed, {_ETHERNET}", shared.cost.over(*NETWORK)),
    ]


def _planned(network: str, cost: Cost) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    heads = (
        network, *(f"ms, {batch:,} rows" for batch in _PLANNED_BATCHES),
        "pays from rows a batch", f"of {_CORES} threads each", "× as fast at most",
    )  # fmt: skip
    rows = []
    for count in (2, *PLANNED):
        paying = [cost.pays_from(count, threads) for threads in (1, _CORES)]
        steps = [number(1e3 * cost.step(batch, count)) for batch in _PLANNED_BATCHES]
        batches = [f"{batch:,}" if batch else "never" for batch in paying]
        most = cost.step(_MANY) / cost.step(_MANY, count)
        rows.append((f"{count} processes", *steps, *batches, number(most)))
    return heads, rows


def print_comparison(comparison: Comparison, console: Console) -> None:
    """One kind of work."""
    _print((comparison.what, *HEADS), standing_rows(comparison), console)


def print_growth(grown: Sequence[Grown], console: Console) -> None:
    """All sizes."""
    _print(("growth", *GROWTH_HEADS), growth_rows(grown), console)


def print_shared(shared: Shared, console: Console) -> None:
    """Training by several processes."""
    for heads, rows in shared_tables(shared):
        _print(heads, rows, console)


def _print(heads: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, heading in enumerate(heads):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print()
