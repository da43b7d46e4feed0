"""`train CSV MODEL`: the tutorial's run, from raw rows to a pipeline in one file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torch_impl.base.arguments import whole
from torch_impl.base.modes import inference
from torch_impl.base.processes import processes
from torch_impl.base.replacing import replace_file
from torch_impl.commands.measuring import CORRECTED, Measuring, metric_table
from torch_impl.commands.options import add_parser, add_shown, logged
from torch_impl.commands.outputs import check_drawing, check_output
from torch_impl.commands.tables import read_table
from torch_impl.commands.telling import tell, tell_json
from torch_impl.commands.tutorial_run import Part, Prepared, prepared, started
from torch_impl.features import FeatureTransform
from torch_impl.keras.callbacks.watching import Callback, EarlyStopping
from torch_impl.pages.training import Counts, Training, training_page
from torch_impl.pipeline.file import save_pipeline
from torch_impl.pipeline.pipeline import COLUMNS, FraudPipeline
from torch_impl.training.fit import fit
from torch_impl.training.history import History
from torch_impl.training.splits import split_rows

__all__ = ["add_to"]

_DESCRIPTION = """\
Trains as the tutorial does: three splits (64, 16 and 20 of a hundred rows),
features scaled on the training rows, the output bias at the prior log-odds, the
tutorial's class weights or oversampling if wanted, and early stopping on the
validation rows' area under precision and recall, whose best weights are kept.
A run that was stopped or killed goes on where it was when the same command is
given again: MODEL.checkpoint stands beside MODEL until it is done. Started by
torchrun, several processes share out each batch; where a compiler is, the model
has the same bits.

With class weights or oversampling the probabilities are corrected for the share
of frauds in the training rows, by a shift of the log-odds that MODEL holds."""

_EXAMPLES = """\
  python -m torch_impl train creditcard.csv model.safetensors
  python -m torch_impl train creditcard.csv model.safetensors \\
      --balance class-weights
  python -m torch_impl train rows.parquet model.safetensors --epochs 20 \\
      --seed 7 --history history.json --page training.html
"""


def add_to(commands: Any) -> None:
    """Adds the command to argparse's sub-parsers."""
    parser = add_parser(
        commands, "train", "the tutorial's run, from raw rows to a model's file",
        _DESCRIPTION, _EXAMPLES,
    )  # fmt: skip
    parser.add_argument(
        "table", metavar="CSV", type=Path,
        help="rows with V1 … V28, Amount and Class: CSV, .gz or .parquet",
    )  # fmt: skip
    parser.add_argument("model", metavar="MODEL", type=Path, help="file to write (safetensors)")
    parser.add_argument(
        "--epochs", metavar="N", type=int, default=100,
        help="at most; with oversampling ten times as many of 20 steps (default 100)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", metavar="N", type=int, default=0,
        help="of splits, weights, dropout and the order of rows, 0 to 2**32 - 1 (default 0)",
    )  # fmt: skip
    parser.add_argument(
        "--balance", choices=("none", "class-weights", "oversample"), default="none",
        help="what makes the frauds count more (default none)",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", metavar="N", type=int, default=2048, help="rows a step (default 2048)"
    )
    parser.add_argument(
        "--patience", metavar="N", type=int, default=10,
        help="epochs without a better one after which it stops (default 10)",
    )  # fmt: skip
    parser.add_argument("--history", metavar="FILE", type=Path, help="write Keras's history, JSON")
    parser.add_argument("--page", metavar="FILE", type=Path, help="write plots as an HTML page")
    add_shown(parser)
    parser.set_defaults(run=run, shares_out=True)


def run(options: argparse.Namespace) -> None:
    """Trains, writes and tells."""
    epochs = whole("--epochs", options.epochs, 1)
    seed = whole("--seed", options.seed, 0, 2**32 - 1)
    batch_size = whole("--batch-size", options.batch_size, 1)
    patience = whole("--patience", options.patience, 0)
    checkpoint = options.model.with_name(f"{options.model.name}.checkpoint")
    read_and_written = [options.table, options.model, options.history, options.page, checkpoint]
    for place, path in enumerate(read_and_written):
        if place and path is not None:
            check_output(path, read_and_written[:place])
    if options.page is not None:
        check_drawing()
    block = read_table(
        options.table, COLUMNS, ["Class"],
        above=logged(FeatureTransform(torch.zeros(29), torch.ones(29)), COLUMNS),
        progress=not options.no_progress,
    )  # fmt: skip
    rows = prepared(block, options.table, seed)
    start = started(options.balance, rows, seed)
    best = EarlyStopping("val_prc", mode="max", patience=patience, restore_best_weights=True)
    resumed = _Resumed(checkpoint)
    try:
        history = fit(
            start.model, *start.rows, class_weight=start.class_weight, seed=seed,
            batch_size=batch_size, epochs=epochs * start.epochs, steps_per_epoch=start.steps,
            validation_data=rows.validation, callbacks=[best, resumed], checkpoint=checkpoint,
            progress=not options.no_progress,
        )  # fmt: skip
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same command goes on from there") from None
    if not processes().first:
        return
    pipeline = FraudPipeline(
        rows.transform, start.model, trained_on=start.trained_on
    ).set_base_rate()
    save_pipeline(pipeline, options.model)
    if options.history is not None:
        replace_file(options.history, (json.dumps(history.history, indent=2) + "\n").encode())
    if options.page is not None:
        raw = block.rows[torch.from_numpy(split_rows(len(block.rows), seed).train)]
        replace_file(options.page, _page(options, rows, raw, history, best.best_epoch).encode())
    checkpoint.unlink(missing_ok=True)
    _tell(options, history, best.best_epoch, resumed.after, pipeline, rows.test)


class _Resumed(Callback):
    """Tells where a run goes on."""

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.after: int | None = None

    def on_epoch_begin(self, epoch: int, model: torch.nn.Module) -> None:
        """Counts the epochs that were there already."""
        if self.after is None:
            self.after = epoch
            if epoch and processes().first:
                from tqdm import tqdm

                tqdm.write(f"{self.checkpoint}: goes on after epoch {epoch}", file=sys.stderr)


def _page(
    options: argparse.Namespace, rows: Prepared, raw: Tensor, history: History, best: int
) -> str:
    told = ("epochs", "seed", "balance", "batch_size", "patience")
    splits = {"training": rows.train, "validation": rows.validation, "test": rows.test}
    return training_page(
        Training(
            options.model.name,
            options.table.name,
            history.history,
            best,
            {name.replace("_", " "): str(getattr(options, name)) for name in told},
            {name: Counts(len(p.labels), int(p.labels.sum())) for name, p in splits.items()},
            COLUMNS,
            raw.numpy(),
            rows.train.labels.numpy(),
        )
    )


def _tell(
    options: argparse.Namespace, history: History, best: int, resumed_after: int | None,
    pipeline: FraudPipeline, test: Part,
) -> None:  # fmt: skip
    measuring = Measuring(pipeline.log_odds_shift)
    with inference(pipeline):
        measuring.update(pipeline.classifier(test.features), test.labels)
    measured = measuring.result()
    facts = {
        "epochs": len(history.epoch),
        "resumed_after": len(history.epoch) if resumed_after is None else resumed_after,
        "best_epoch": best + 1,
        "val_prc": history.history["val_prc"][best],
        "trained_on": dict(pipeline.trained_on._asdict()) if pipeline.trained_on else None,
        "log_odds_shift": pipeline.log_odds_shift,
        "test": measured,
    }
    if options.json:
        tell_json(facts)
        return
    tell(
        f"{options.table} → {options.model}: {len(history.epoch)} epochs, of which epoch "
        f"{best + 1} was the best\n{len(test.labels):,} test rows, {int(test.labels.sum()):,} "
        "frauds",
        *metric_table(measured),
        [f"{options.model} corrects by a shift of the log-odds by {pipeline.log_odds_shift:+.6g}"]
        if CORRECTED in measured
        else [],
    )
