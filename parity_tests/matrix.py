"""The table of verdicts by reference, from the tallies that `pytest --tally=FILE` wrote.

`python -m parity_tests.matrix FOLDER` prints it; `nox` does so at its end.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["HEAD", "table"]

HEAD = ("Keras", "backend", "passed", "failed", "not applicable", "verdict")


def table(tallies: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lines of Markdown, the oldest Keras first, and TensorFlow before other backends."""
    rows = [HEAD, ("---",) * len(HEAD)]
    for tally in sorted(tallies, key=_order):
        verdict = "agree" if tally["passed"] and not tally["failed"] else "differ"
        backend = f"{tally['backend']} {tally['backend_version']}"
        left_out = sum(tally["not_applicable"].values())
        counts = (tally["passed"], tally["failed"], left_out)
        rows.append((tally["keras"], backend, *map(str, counts), verdict))
    return [f"| {' | '.join(row)} |" for row in rows]


def _order(tally: Mapping[str, Any]) -> tuple[bool, list[int], str]:
    numbers = [int(part) for part in re.findall(r"\d+", tally["keras"])]
    return tally["backend"] != "tensorflow", numbers, tally["backend"]


def main(arguments: list[str] | None = None) -> None:
    """Prints the table of a folder, and below it what was not applicable, and why."""
    parser = argparse.ArgumentParser(prog="python -m parity_tests.matrix", description=__doc__)
    parser.add_argument("folder", type=Path, help="of tallies")
    folder = parser.parse_args(arguments).folder
    tallies = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    if not tallies:
        parser.error(f"{folder}: holds no tally; expected files of pytest --tally")
    print("\n".join(table(tallies)))
    for tally in sorted(tallies, key=_order):
        for reason, count in sorted(tally["not_applicable"].items()):
            print(f"keras {tally['keras']}, {tally['backend']}: {count} not applicable: {reason}")


if __name__ == "__main__":
    main()
