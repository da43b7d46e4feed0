"""The table of verdicts by environment, from the tallies that `pytest --tally=FILE` wrote.

`python -m parity_tests.versions.matrix FOLDER` prints it; `nox` does so at its end.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["HEAD", "table"]

HEAD = (
    "environment", "Python", "torch", "Keras", "passed", "failed", "not applicable", "verdict",
)  # fmt: skip

Tally = Mapping[str, Any]


def table(tallies: Mapping[str, Tally]) -> list[str]:
    """Lines of Markdown: whole suites, then Keras's versions, TensorFlow before other backends.

    Args:
        tallies: by the name of their environment.
    """
    rows = [HEAD, ("---",) * len(HEAD)]
    for name, tally in sorted(tallies.items(), key=_order):
        verdict = "agree" if tally["passed"] and not tally["failed"] else "differ"
        keras = f"{tally['keras']}, {tally['backend']} {tally['backend_version']}"
        left_out = sum(tally["not_applicable"].values())
        counts = (tally["passed"], tally["failed"], left_out)
        rows.append((name, tally["python"], tally["torch"], keras, *map(str, counts), verdict))
    return [f"| {' | '.join(row)} |" for row in rows]


def _order(named: tuple[str, Tally]) -> tuple[bool, bool, list[int], str]:
    name, tally = named
    of_keras = name.startswith("keras-")
    numbers = re.findall(r"\d+", tally["keras"] if of_keras else name)
    return of_keras, tally["backend"] != "tensorflow", [int(n) for n in numbers], name


def main(arguments: list[str] | None = None) -> None:
    """Prints the table of a folder, and below it what was not applicable, and why."""
    parser = argparse.ArgumentParser(
        prog="python -m parity_tests.versions.matrix", description=__doc__
    )
    parser.add_argument("folder", type=Path, help="of tallies")
    folder = parser.parse_args(arguments).folder
    paths = sorted(folder.glob("*.json"))
    if not paths:
        parser.error(f"{folder}: holds no tally; expected files of pytest --tally")
    tallies = {path.stem: json.loads(path.read_text("utf-8")) for path in paths}
    print("\n".join(table(tallies)))
    for name, tally in sorted(tallies.items(), key=_order):
        for reason, count in sorted(tally["not_applicable"].items()):
            print(f"{name}: {count} not applicable: {reason}")


if __name__ == "__main__":
    main()
