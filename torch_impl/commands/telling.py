"""What a command prints, in the first of its processes: a table for people, or JSON."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from torch_impl.base.processes import processes

__all__ = ["tell", "tell_json"]


def tell(
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    remarks: Sequence[str] = (),
) -> None:
    """Prints a table, by rich where that is there; what the terminal cannot show becomes `?`.

    Args:
        title: the line above.
        headings: of the columns; the first one stays on the left.
        rows: cells, which may have several lines.
        remarks: lines below.
    """
    if not processes().first:
        return
    with _Output():
        try:
            from rich.console import Console
            from rich.markup import escape
            from rich.table import Table
        except ModuleNotFoundError:
            cells = ["  ".join(cell.replace("\n", ", ") for cell in row) for row in rows]
            print(title, *cells, *remarks, sep="\n", flush=True)
            return
        console = Console()
        console.print(escape(title), highlight=False)
        if rows:
            table = Table(box=None, pad_edge=False)
            for heading in headings:
                table.add_column(heading, overflow="fold")
            for row in rows:
                table.add_row(*(escape(cell) for cell in row))
            console.print(table, highlight=False)
        for remark in remarks:
            console.print(escape(remark), highlight=False)


def tell_json(facts: Mapping[str, Any]) -> None:
    """Prints an object, with null for what JSON has no number for."""
    if not processes().first:
        return
    with _Output():
        print(json.dumps(_plain(facts), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value


class _Output:
    """Standard output that may be closed or full: what was done is done all the same."""

    def __enter__(self) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> bool:
        lost = kind is not None and issubclass(kind, (OSError, SystemExit))
        try:
            if not lost:
                sys.stdout.flush()
        except OSError:
            lost = True
        if lost:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (what is left is flushed at the end)
        return kind is None or lost
