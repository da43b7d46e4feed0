"""`python -m parity_tests.traps`: how much each difference between the frameworks costs.

PyTorch's own way against Keras's, one part at a time, on the same rows from the same weights.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from parity_tests.report.output_file import fault_of, write_atomically
from parity_tests.traps.plain_loop import BATCH_SIZE, EPOCHS, POSITIVES, ROWS, SEED, Lab, one_thread
from parity_tests.traps.trap import Trap
from parity_tests.traps.trap_table import TRAPS, markdown, measurements
from parity_tests.traps.traps_model import NotMeasuredHereError

__all__ = ["Measured", "measure"]

SETTING = (
    f"{ROWS:,} synthetic rows with {POSITIVES} frauds, {EPOCHS} epochs in batches of "
    f"{BATCH_SIZE:,}, seed {SEED}"
)


class Measured(NamedTuple):
    """What came of a trap."""

    figures: Mapping[str, float]
    says: str
    recorded_because: str = ""
    """Why the figures are another machine's; empty where they were measured."""


def measure(traps: Sequence[Trap] = TRAPS) -> dict[str, Measured]:
    """The figures of each trap, by its name; the same on every run."""
    lab = Lab()
    with one_thread():
        return {trap.name: _measured(trap, lab) for trap in traps}


def _measured(trap: Trap, lab: Lab) -> Measured:
    try:
        figures = trap.measure(lab)
    except NotMeasuredHereError as error:
        if trap.recorded is None:
            raise
        return Measured(trap.recorded, trap.said(trap.recorded), str(error))
    return Measured(figures, trap.said(figures))


def _print(found: Mapping[str, Measured]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", caption=SETTING)
    for heading in ("what differs", "what goes wrong, and by how much"):
        table.add_column(heading, overflow="fold")
    for name, measured in found.items():
        why = measured.recorded_because
        table.add_row(name, f"{measured.says} (recorded: {why})" if why else measured.says)
    Console(highlight=False).print(table)


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints the table, and writes JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m parity_tests.traps", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    parser.add_argument(
        "--markdown", action="store_true", help="print what its page shows of it instead"
    )
    options = parser.parse_args(arguments)
    if options.json and (fault := fault_of(options.json)):
        parser.error(f"--json {options.json}: {fault}")
    found = measure()
    if options.json:
        rows = [{"trap": name, **measured._asdict()} for name, measured in found.items()]
        known = {"setting": SETTING, "torch": torch.__version__, "traps": rows}
        write_atomically(options.json, json.dumps(known, indent=2, ensure_ascii=False) + "\n")
    if options.markdown:
        said = {name: measured.says for name, measured in found.items()}
        print(markdown(said), measurements(), sep="\n", end="")
    else:
        _print(found)


if __name__ == "__main__":
    main()
