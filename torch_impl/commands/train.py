"""`train CSV MODEL`: the tutorial's run, from raw rows to a pipeline in one file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_impl.base.arguments import whole
from torch_impl.base.replacing import check_folder, replace_file
from torch_impl.commands.options import add_parser, add_shown
from torch_impl.commands.tables import Block, TableError, read_table
from torch_impl.commands.telling import tell, tell_json
from torch_impl.features import FeatureTransform
from torch_impl.keras.callbacks.watching import EarlyStopping
from torch_impl.keras.metrics import METRIC_NAMES
from torch_impl.model import FraudClassifier, prior_log_odds
from torch_impl.pipeline.file import save_pipeline
from torch_impl.pipeline.pipeline import COLUMNS, FraudPipeline, TrainedOn
from torch_impl.training.fit import evaluate, fit
from torch_impl.training.history import History
from torch_impl.training.sampling import oversample
from torch_impl.training.splits import split_rows

__all__ = ["add_to"]

_DESCRIPTION = """\
Trains as the tutorial does: three splits (64, 16 and 20 of a hundred rows), features
scaled on the training rows, the output bias at the prior log-odds, the tutorial's
class weights or oversampling if wanted, and early stopping on the validation rows'
area under precision and recall, whose best weights are kept. The run goes on where it
was stopped or killed: MODEL.checkpoint stands beside MODEL until it is done.

With class weights or oversampling the model's probabilities are corrected for the
training rows' own base rate, by a shift of the log-odds that its file holds."""

_EXAMPLES = """\
  python -m torch_impl train creditcard.csv model.safetensors
  python -m torch_impl train creditcard.csv model.safetensors --balance class-weights
  python -m torch_impl train rows.parquet model.safetensors --epochs 20 --seed 7 \\
      --history history.json --page training.html
"""

_OVERSAMPLED_STEPS = 20  # an epoch, for ten times as many epochs: the tutorial's


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
    parser.add_argument("--epochs", type=int, default=100, help="at most (default 100)")
    parser.add_argument(
        "--seed", type=int, default=0,
        help="of splits, weights, dropout and the order of rows, 0 to 2**32 - 1 (default 0)",
    )  # fmt: skip
    parser.add_argument(
        "--balance", choices=("none", "class-weights", "oversample"), default="none",
        help="what makes the frauds count more (default none)",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=2048, help="rows a step (default 2048)")
    parser.add_argument(
        "--patience", type=int, default=10,
        help="epochs without a better one after which it stops (default 10)",
    )  # fmt: skip
    parser.add_argument("--history", metavar="FILE", type=Path, help="write Keras's history, JSON")
    parser.add_argument("--page", metavar="FILE", type=Path, help="write plots as an HTML page")
    add_shown(parser)
    parser.set_defaults(run=run)


class _Part(NamedTuple):
    """The rows of one split."""

    raw: Tensor
    features: Tensor
    labels: Tensor


def run(options: argparse.Namespace) -> None:
    """Trains, writes and tells."""
    epochs = whole("--epochs", options.epochs, 1)
    seed = whole("--seed", options.seed, 0, 2**32 - 1)
    for path in (options.model, options.history, options.page):
        if path is not None:
            check_folder(path)
    block = read_table(options.table, COLUMNS, ["Class"], progress=not options.no_progress)
    train, validation, test = _prepared(block, options.table, seed)
    positives = int(train.labels.sum())
    model, factor, how = _start(options.balance, block.labels(options.table), train, seed)
    best = EarlyStopping(
        "val_prc", mode="max", patience=options.patience, restore_best_weights=True
    )
    checkpoint = options.model.with_name(f"{options.model.name}.checkpoint")
    x, y = how.pop("rows")
    history = fit(
        model, x, y, batch_size=options.batch_size, epochs=epochs * how.pop("epochs"), seed=seed,
        validation_data=(validation.features, validation.labels), callbacks=[best],
        checkpoint=checkpoint, progress=not options.no_progress, **how,
    )  # fmt: skip
    pipeline = FraudPipeline(
        transform=FeatureTransform.fit(train.raw),
        classifier=model,
        trained_on=TrainedOn(positives, len(train.labels) - positives, factor),
    ).set_base_rate()
    save_pipeline(pipeline, options.model)
    if options.history is not None:
        replace_file(options.history, (json.dumps(history.history, indent=2) + "\n").encode())
    checkpoint.unlink(missing_ok=True)
    _tell(options, history, pipeline, test)


def _prepared(block: Block, path: Path, seed: int) -> tuple[_Part, _Part, _Part]:
    labels = block.labels(path)
    if not 0 < int(labels.sum()) < len(labels):
        raise TableError(f"{path}: column 'Class' is the same in all rows; expected both 0 and 1")
    splits = split_rows(len(labels), seed)
    train, *others = (torch.from_numpy(places) for places in splits)
    transform = FeatureTransform.fit(block.rows[train])
    parts = []
    for places in (train, *others):
        raw = block.rows[places]
        parts.append(_Part(raw, transform(raw), labels[places]))
    if not 0 < int(parts[0].labels.sum()) < len(train):
        raise TableError(
            f"{path}: the {len(train)} rows trained on are all of one class; expected both"
        )
    return parts[0], parts[1], parts[2]


def _start(
    balance: str, labels: Tensor, train: _Part, seed: int
) -> tuple[FraudClassifier, float, dict[str, Any]]:
    """The untrained model, by how much the odds of fraud are multiplied, and `fit`'s arguments.

    Counts for bias and weights are those of all rows, as the tutorial takes them.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    rows = train.features, train.labels
    if balance == "oversample":
        x, y = oversample(*rows, seed=seed)
        drawn_from = int(train.labels.sum())
        how = {"rows": (x, y), "steps_per_epoch": _OVERSAMPLED_STEPS, "epochs": 10}
        return FraudClassifier(seed=seed), (len(train.labels) - drawn_from) / drawn_from, how
    model = FraudClassifier(output_bias=prior_log_odds(positives, negatives), seed=seed)
    if balance == "none":
        return model, 1.0, {"rows": rows, "epochs": 1}
    total = positives + negatives
    weights = {0: total / 2 / negatives, 1: total / 2 / positives}
    return model, weights[1] / weights[0], {"rows": rows, "epochs": 1, "class_weight": weights}


def _tell(
    options: argparse.Namespace, history: History, pipeline: FraudPipeline, test: _Part
) -> None:
    scores = history.history["val_prc"]
    best = max(range(len(scores)), key=scores.__getitem__)
    measured = evaluate(pipeline.classifier, test.features, test.labels)
    facts = {
        "epochs": len(history.epoch),
        "best_epoch": best + 1,
        "val_prc": scores[best],
        "trained_on": dict(pipeline.trained_on._asdict()) if pipeline.trained_on else None,
        "log_odds_shift": pipeline.log_odds_shift,
        "test": measured,
    }
    if options.json:
        tell_json(facts)
        return
    tell(
        f"{options.table} → {options.model}: {len(history.epoch)} epochs, the weights of epoch "
        f"{best + 1}",
        ("metric", f"test rows ({len(test.labels):,})"),
        [(name, f"{measured[name]:.6g}") for name in METRIC_NAMES],
    )
