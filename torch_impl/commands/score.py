"""`score MODEL CSV OUT`: a probability for each row of a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

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
from torch_impl.commands.tables import read_blocks
from torch_impl.commands.telling import tell, tell_json
from torch_impl.pipeline.file import load_pipeline

__all__ = ["add_to"]

_DESCRIPTION = """\
Reads raw rows (V1 … V28 and Amount in euros, or what columns the model has,
among others in any order), and writes a row for each row, in order:
`probability` of fraud, and `decision`, 1 where that is above the model's
threshold. Memory does not grow with the table."""

_EXAMPLES = """\
  python -m torch_impl score model.safetensors new.csv scores.csv
  python -m torch_impl score model.safetensors new.csv scores.parquet \\
      --keep Time,Amount
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
    add_base_rate(parser)
    add_shown(parser)
    parser.set_defaults(run=run, shares_out=True)


def run(options: argparse.Namespace) -> None:
    """Scores."""
    check_output(options.output, [options.model, options.table], TABLES)
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
    blocks = read_blocks(
        options.table, pipeline.columns, keep,
        above=logged(pipeline.transform, pipeline.columns), progress=not options.no_progress,
    )  # fmt: skip
    rows = alerts = 0
    with writer(options.output, names) as write:
        for block in blocks:
            probabilities = pipeline.predict_proba(block.rows)
            decisions = probabilities > pipeline.threshold
            kept = [block.others[name] for name in keep]
            write(*kept, probabilities.numpy().ravel(), decisions.numpy().ravel().astype(np.int8))
            rows += len(decisions)
            alerts += int(decisions.sum())
    if options.json:
        tell_json({
            "rows": rows, "alerts": alerts, "threshold": pipeline.threshold,
            "log_odds_shift": pipeline.log_odds_shift, "output": str(options.output),
        })  # fmt: skip
    else:
        tell(
            f"{options.table} → {options.output}",
            ("rows", "alerts", "above"),
            [(f"{rows:,}", f"{alerts:,} ({share(alerts, rows)})", f"{pipeline.threshold:.6g}")],
        )
