"""`evaluate MODEL CSV`: how good the model is on labelled rows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from torch_impl.base.modes import inference
from torch_impl.base.replacing import replace_file
from torch_impl.commands.measuring import AS_TRAINED, CORRECTED, Measuring, metric_table
from torch_impl.commands.options import (
    add_base_rate,
    add_model_and_table,
    add_parser,
    add_shown,
    logged,
    set_base_rate,
    share,
)
from torch_impl.commands.outputs import check_drawing, check_output
from torch_impl.commands.tables import read_blocks
from torch_impl.commands.telling import tell, tell_json
from torch_impl.keras.metrics import METRIC_NAMES
from torch_impl.pages.evaluation import Evaluation, evaluation_page
from torch_impl.pipeline.file import load_pipeline
from torch_impl.pipeline.threshold import Ranking

__all__ = ["add_to"]

_DESCRIPTION = """\
Measures the model on rows with a column Class (0 or 1), best on rows that it
was not trained on: the tutorial's eleven metrics as Keras measures them (those
that need a threshold at one half), how many frauds the probabilities let
expect, and what the model's own threshold calls fraud. Where the log-odds are
shifted, to correct for class weights, oversampling or another base rate, all
but the last is told without the correction and with it."""

_EXAMPLES = """\
  python -m torch_impl evaluate model.safetensors held_out.csv
  python -m torch_impl evaluate model.safetensors held_out.csv --page page.html
  python -m torch_impl evaluate model.safetensors held_out.csv \\
      --base-rate 0.002 --json
"""


def add_to(commands: Any) -> None:
    """Adds the command to argparse's sub-parsers."""
    parser = add_parser(
        commands, "evaluate", "metrics, curves and calibration on labelled rows",
        _DESCRIPTION, _EXAMPLES,
    )  # fmt: skip
    add_model_and_table(parser)
    parser.add_argument(
        "--page", metavar="FILE", type=Path, help="write curves and calibration as an HTML page"
    )
    add_base_rate(parser)
    add_shown(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Evaluates and tells."""
    if options.page is not None:
        check_output(options.page, [options.model, options.table])
        check_drawing()
    pipeline = load_pipeline(options.model)
    set_base_rate(pipeline, options.base_rate)
    measuring = Measuring(pipeline.log_odds_shift)
    probabilities, labels = [], []
    blocks = read_blocks(
        options.table, pipeline.columns, ["Class"],
        above=logged(pipeline.transform, pipeline.columns), progress=not options.no_progress,
    )  # fmt: skip
    with inference(pipeline):
        for block in blocks:
            own = block.labels(options.table).to(pipeline.classifier.hidden.weight.dtype)
            measuring.update(pipeline.classifier(pipeline.transform(block.rows)), own)
            # As `score` computes them, so that alerts are the same to the last row.
            probabilities.append(pipeline.predict_proba(block.rows))
            labels.append(own)
    measured = measuring.result()
    ranking = Ranking(torch.cat(probabilities).numpy(), torch.cat(labels).numpy())
    at = ranking.at(pipeline.threshold)
    if options.page is not None:
        of_pipeline = measured.get(CORRECTED, measured[AS_TRAINED])
        shown = Evaluation(
            options.model.name, options.table.name,
            {name: of_pipeline[name] for name in METRIC_NAMES},
            ranking, pipeline.threshold, pipeline.log_odds_shift,
        )  # fmt: skip
        replace_file(options.page, evaluation_page(shown).encode())
    if options.json:
        tell_json({
            "rows": at.rows, "positives": at.positives,
            "log_odds_shift": pipeline.log_odds_shift, "metrics": measured,
            "threshold": pipeline.threshold, "alerts": at.alerts,
            "true_positives": at.true_positives, "false_positives": at.false_positives,
            "precision": at.precision, "recall": at.recall,
        })  # fmt: skip
        return
    remarks = [
        f"Above the model's threshold {at.threshold:.6g}: {at.alerts:,} alerts, "
        f"{at.true_positives:,} of them right ({share(at.true_positives, at.alerts)}); "
        f"{share(at.true_positives, at.positives)} of the frauds found"
    ]
    if CORRECTED in measured:
        remarks.insert(0, f"Corrected by a shift of the log-odds by {pipeline.log_odds_shift:+.6g}")
    tell(
        f"{options.model} on {options.table}: {at.rows:,} rows, {at.positives:,} frauds",
        *metric_table(measured),
        remarks,
    )
