"""`score MODEL CSV OUT`: a probability for each row of a table."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torch_impl.base.processes import ProcessLostError, processes
from torch_impl.commands.options import (
    add_base_rate,
    add_model_and_table,
    add_parser,
    add_shown,
    logged,
    set_base_rate,
    share,
)
from torch_impl.commands.outputs import TABLES, check_output, writer
from torch_impl.commands.sharing.kept import KeptParts
from torch_impl.commands.sharing.parts import Work, write_parts
from torch_impl.commands.tables import Block, read_blocks
from torch_impl.commands.telling import tell, tell_json
from torch_impl.commands.wanted import Span
from torch_impl.pipeline.file import load_pipeline
from torch_impl.pipeline.pipeline import FraudPipeline

__all__ = ["add_to"]

_DESCRIPTION = """\
Reads raw rows (V1 … V28 and Amount in euros, or what columns the model has,
among others in any order), and writes a row for each row, in order:
`probability` of fraud, and `decision`, 1 where that is above the model's
threshold. Memory does not grow with the table.

Started by torchrun, processes on one machine or several share out the rows; OUT
is the same. What is done is kept in `.OUT.parts` beside OUT, which all machines
must see, as they must CSV. The same command goes on with a run that was stopped
or killed, with any number of processes; one alone does so with --parts.
Gzip cannot be entered in its middle, nor CSV that has lone quotes within
fields: the first process does such a table alone. A process reads Parquet from
the beginning of a row group."""

_EXAMPLES = """\
  python -m torch_impl score model.safetensors new.csv scores.csv
  python -m torch_impl score model.safetensors new.csv scores.parquet \\
      --keep Time,Amount
  python -m torch_impl score model.safetensors new.csv parts.parquet --parts
"""


def add_to(commands: Any) -> None:
    """Adds the command to argparse's sub-parsers."""
    parser = add_parser(
        commands, "score", "a probability for each row of a table", _DESCRIPTION, _EXAMPLES
    )
    add_model_and_table(parser)
    parser.add_argument(
        "output", metavar="OUT", type=Path, help="file to write: .csv, .csv.gz or .parquet"
    )
    parser.add_argument(
        "--keep", metavar="NAMES", default="",
        help="columns of numbers to copy into OUT, before the probability, with commas between",
    )  # fmt: skip
    parser.add_argument(
        "--parts", action="store_true",
        help="make OUT a folder of files, whose names sort in the rows' order",
    )  # fmt: skip
    add_base_rate(parser)
    add_shown(parser)
    parser.set_defaults(run=run, shares_out=True)


def run(options: argparse.Namespace) -> None:
    """Scores."""
    check_output(options.output, [options.model, options.table], TABLES, options.parts)
    pipeline = load_pipeline(options.model)
    set_base_rate(pipeline, options.base_rate)
    keep = [name.strip() for name in options.keep.split(",") if name.strip()]
    probability = pipeline.predict_proba(np.empty((0, len(pipeline.columns)))).numpy().dtype.type
    names: dict[str, Any] = {
        **dict.fromkeys(keep, np.float64),
        "probability": probability,
        "decision": np.int8,
    }
    if len(names) < len(keep) + 2:
        raise ValueError(f"--keep {options.keep}: a name stands twice, or is one that OUT has")

    def read(span: Span | None = None, progress: bool = False) -> Iterator[Block]:
        return read_blocks(
            options.table, pipeline.columns, keep,
            above=logged(pipeline.transform, pipeline.columns), progress=progress, span=span,
        )  # fmt: skip

    def score(block: Block, write: Any) -> int:
        probabilities = pipeline.predict_proba(block.rows)
        decisions = probabilities > pipeline.threshold
        kept = [block.others[name] for name in keep]
        write(*kept, probabilities.numpy().ravel(), decisions.numpy().ravel().astype(np.int8))
        return int(decisions.sum())

    rows = alerts = 0
    more: dict[str, Any] = {}
    progress = not options.no_progress
    if processes().count > 1 or options.parts or KeptParts(options.output).folder.exists():
        facts = _facts(options.model, pipeline)
        work = Work(options.table, options.output, names, read, score, facts, options.parts)
        try:
            written = write_parts(work, progress)
        except (KeyboardInterrupt, ProcessLostError) as stop:
            line = f"{str(stop) or 'stopped'}; the same command goes on from there"
            raise type(stop)(line) from None
        rows, alerts = written.rows, written.alerts
        more = {"processes": processes().count} | written._asdict()
    else:
        with writer(options.output, names) as write:
            for block in read(progress=progress):
                alerts += score(block, write)
                rows += len(block.rows)
    if options.json:
        tell_json({
            "rows": rows, "alerts": alerts, "threshold": pipeline.threshold,
            "log_odds_shift": pipeline.log_odds_shift, "output": str(options.output),
        } | more)  # fmt: skip
    else:
        tell(
            f"{options.table} → {options.output}",
            ("rows", "alerts", "above"),
            [(f"{rows:,}", f"{alerts:,} ({share(alerts, rows)})", f"{pipeline.threshold:.6g}")],
        )


def _facts(model: Path, pipeline: FraudPipeline) -> dict[str, Any]:
    """What the bits of a row depend on besides the table."""
    return {
        "model": hashlib.sha256(model.read_bytes()).hexdigest(),
        "log_odds_shift": pipeline.log_odds_shift,
        "threshold": pipeline.threshold,
        "torch": torch.__version__,
    }
