"""The report as a person reads it, and as data."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from parity_tests.judge.agreement import StageResult

__all__ = [
    "as_json",
    "count_text",
    "print_report",
    "row_texts",
    "share_text",
    "verdict_text",
]


def as_json(
    results: list[StageResult], data: dict[str, Any], versions: dict[str, str]
) -> dict[str, Any]:
    """The report as plain data; numbers that JSON lacks (NaN, infinity) become null."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return {
        "verdict": "agree" if all(result.agree for result in results) else "differ",
        "data": data,
        "versions": versions,
        "stages": [
            {name: plain(value) for name, value in result.as_json().items()} for result in results
        ],
    }


def print_report(
    results: list[StageResult],
    data: dict[str, Any],
    versions: dict[str, str],
    console: Console | None = None,
) -> None:
    """Prints the table, then where it breaks, then the verdict in one line."""
    console = console or Console()
    positives = f", {data['positives']:,} positives" if "positives" in data else ""
    console.print(f"{data['source']}: {data['rows']:,} rows{positives}", highlight=False)
    for note in data.get("notes", ()):
        console.print(f"note: {note}", highlight=False, markup=False)
    console.print(", ".join(f"{k} {v}" for k, v in versions.items()), style="dim", highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("stage", overflow="fold")
    table.add_column("kind")
    for heading in ("max |Δ|", "ULP", "bitwise =", "allowance"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    heading = ""
    for result in results:
        group, colon, stage = result.stage.rpartition(": ")
        if group and group != heading:
            table.add_row(Text(group, "bold"))
        heading = group
        table.add_row(
            f"  {stage}" if colon else stage,
            *row_texts(result),
            Text("agree", "green") if result.agree else Text("DIFFER", "bold red"),
        )
    console.print(table)
    broken = [result for result in results if not result.agree]
    for result in broken:
        console.print(f"{result.stage}: {result.detail}", style="red", highlight=False)
    console.print(verdict_text(results), style="bold red" if broken else "bold green")


def verdict_text(results: list[StageResult]) -> str:
    """The verdict in one sentence."""
    broken = sum(not result.agree for result in results)
    if broken:
        return f"The frameworks differ in {broken} of {len(results)} stages."
    return f"The frameworks agree in all {len(results)} stages."


def row_texts(result: StageResult) -> tuple[str, str, str, str, str]:
    """Kind, max |Δ|, ULP, bitwise equal and allowance of a row, as table and page show them."""
    return (
        result.kind,
        f"{result.max_abs:.1e}" if result.max_abs else "0",
        count_text(result.max_ulp),
        share_text(result.bitwise_equal),
        "" if result.allowance_used is None else share_text(result.allowance_used),
    )


def count_text(n: int) -> str:
    """A count of ULP, in at most six characters where it can be."""
    return "∞" if n == np.iinfo(np.int64).max else f"{n:,}" if n < 10**7 else f"{n:.0e}"


def share_text(share: float) -> str:
    """A share as percent; many times one as a factor."""
    if not np.isfinite(share):
        return "∞"
    # Rounded towards the middle: 100 % and 0 % mean just that.
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 <= share < 1:
        return ">99.9 %"
    return f"{share:.1%}".replace("%", " %") if share < 100 else f"{share:.1e} ×"
