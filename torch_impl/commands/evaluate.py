"""`evaluate MODEL CSV`: how good the model is on labelled rows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from torch_impl.base.modes import inference
from torch_impl.commands.options import add_base_rate, add_parser, add_shown, set_base_rate
from torch_impl.commands.tables import read_blocks
from torch_impl.commands.telling import tell, tell_json
from torch_impl.keras.metrics import METRIC_NAMES, KerasMetrics
from torch_impl.pipeline.file import load_pipeline
from torch_impl.pipeline.threshold import Ranking

__all__ = ["add_to"]

_DESCRIPTION = """\
Measures the model on rows with a column Class (0 or 1), best on such that it was not
trained on: the tutorial's eleven metrics as Keras measures them (those that need a
threshold at one half), and what the model's own threshold calls fraud."""

_EXAMPLES = """\
  python -m torch_impl evaluate model.safetensors held_out.csv
  python -m torch_impl evaluate model.safetensors held_out.csv --page evaluation.html
  python -m torch_impl evaluate model.safetensors held_out.csv --json --base-rate as-trained
"""


def add_to(commands: Any) -> None:
    """Adds the command to argparse's sub-parsers."""
    parser = add_parser(
        commands, "evaluate", "metrics, curves and calibration on labelled rows",
        _DESCRIPTION, _EXAMPLES,
    )  # fmt: skip
    parser.add_argument("model", metavar="MODEL", type=Path, help="what `train` wrote")
    parser.add_argument("table", metavar="CSV", type=Path, help="rows: CSV, .gz or .parquet")
    parser.add_argument(
        "--page", metavar="FILE", type=Path, help="write curves and calibration as an HTML page"
    )
    add_base_rate(parser)
    add_shown(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Evaluates and tells."""
    pipeline = load_pipeline(options.model)
    set_base_rate(pipeline, options.base_rate)
    metrics = KerasMetrics()
    logits, labels = [], []
    blocks = read_blocks(
        options.table, pipeline.columns, ["Class"], progress=not options.no_progress
    )
    with inference(pipeline):
        for block in blocks:
            labels.append(block.labels(options.table).to(pipeline.classifier.hidden.weight.dtype))
            logits.append(pipeline.logits(block.rows))
            metrics.update(logits[-1], labels[-1])
    measured = metrics.result()
    ranking = Ranking(torch.sigmoid(torch.cat(logits)).numpy(), torch.cat(labels).numpy())
    at = ranking.at(pipeline.threshold)
    if options.json:
        tell_json({
            "rows": at.rows, "positives": at.positives, "metrics": measured,
            "log_odds_shift": pipeline.log_odds_shift, "threshold": pipeline.threshold,
            "alerts": at.alerts, "true_positives": at.true_positives,
            "false_positives": at.false_positives, "precision": at.precision, "recall": at.recall,
        })  # fmt: skip
        return
    cells = [(name, _number(measured[name])) for name in METRIC_NAMES]
    tell(
        f"{options.model} on {options.table}: {at.rows:,} rows, {at.positives:,} frauds",
        ("metric", "value"),
        cells,
        [
            f"Above the model's threshold {at.threshold:.6g}: {at.alerts:,} alerts, "
            f"{at.true_positives:,} of them right ({at.precision:.2%}); "
            f"{at.recall:.2%} of the frauds found"
        ],
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 and value == int(value) else f"{value:.6g}"
