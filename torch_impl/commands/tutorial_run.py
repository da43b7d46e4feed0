"""The tutorial's rows, features and start of a run, from a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_impl.commands.tables import Block
from torch_impl.commands.wanted import TableError
from torch_impl.features import FeatureTransform
from torch_impl.model import FraudClassifier, prior_log_odds
from torch_impl.pipeline.pipeline import COLUMNS, TrainedOn
from torch_impl.training.sampling import oversample
from torch_impl.training.splits import split_rows

__all__ = ["Part", "Prepared", "Start", "prepared", "started"]

_LARGEST = 1e150  # the square of the next power of ten is near float64's end


class Part(NamedTuple):
    """The rows of one split."""

    features: Tensor
    """float32 (N, 29)."""
    labels: Tensor
    """float32 (N, 1), 0 or 1."""


class Prepared(NamedTuple):
    """The three splits, and what was measured on the way."""

    train: Part
    validation: Part
    test: Part
    transform: FeatureTransform
    """Fitted on the training rows alone."""
    positives: int
    """Over all rows, as the tutorial counts them for its bias and class weights."""
    negatives: int


class Start(NamedTuple):
    """What `fit` is given."""

    model: FraudClassifier
    """Untrained."""
    rows: tuple[Any, Any]
    """Features and labels that are trained on."""
    trained_on: TrainedOn
    class_weight: Mapping[int, float] | None = None
    steps: int | None = None
    """Of an epoch; None for all rows."""
    epochs: int = 1
    """For each that was asked for."""


def prepared(block: Block, path: Path, seed: int) -> Prepared:
    """Splits, scales and clips.

    Args:
        block: all rows.
        path: of their table, for errors.
        seed: of the splits, 0 to 2**32 - 1.

    Raises:
        ValueError: there are fewer rows than three, a split that needs both classes has one, or
            numbers are so large that their variance overflows.
    """
    labels = block.labels(path)
    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        raise TableError(f"{path}: column 'Class' is the same in all rows; expected both 0 and 1")
    try:
        train, validation, test = map(torch.from_numpy, split_rows(len(labels), seed))
    except ValueError as error:
        raise TableError(f"{path}: {error}") from None
    for places, used in ((train, "trained on"), (validation, "that early stopping judges by")):
        if not 0 < int(labels[places].sum()) < len(places):
            raise TableError(
                f"{path}: the {len(places)} rows {used} are of one class; expected both"
            )
    _check_range(block.rows[train], path)
    transform = FeatureTransform.fit(block.rows[train])

    def part(places: Tensor) -> Part:
        return Part(transform(block.rows[places]), labels[places])

    return Prepared(
        part(train), part(validation), part(test), transform, positives, len(labels) - positives
    )


def _check_range(rows: Tensor, path: Path) -> None:
    largest = rows.abs().amax(0)
    if largest.max() > _LARGEST:
        name, number = COLUMNS[int(largest.argmax())], float(largest.max())
        raise TableError(
            f"{path}: column {name!r} has numbers up to {number:.3g}; expected at most "
            f"{_LARGEST:g}, for their variance to be finite"
        )


def started(balance: str, rows: Prepared, seed: int) -> Start:
    """The run of the tutorial that is asked for.

    Args:
        balance: `"none"`, `"class-weights"` or `"oversample"`.
        rows: the splits.
        seed: of weights, dropout and oversampling.
    """
    total, train = rows.positives + rows.negatives, rows.train
    positives = int(train.labels.sum())
    negatives = len(train.labels) - positives
    if balance == "oversample":
        # Shorter epochs, and more of them, for early stopping to see the model more often.
        return Start(
            FraudClassifier(seed=seed), oversample(*train, seed=seed),
            TrainedOn(positives, negatives, negatives / positives), steps=20, epochs=10,
        )  # fmt: skip
    model = FraudClassifier(output_bias=prior_log_odds(rows.positives, rows.negatives), seed=seed)
    if balance == "none":
        return Start(model, train, TrainedOn(positives, negatives))
    weights = {0: total / 2 / rows.negatives, 1: total / 2 / rows.positives}
    factor = weights[1] / weights[0]
    return Start(model, train, TrainedOn(positives, negatives, factor), class_weight=weights)
