"""Recorded cases of training: one step looked at closely, and short whole runs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import nn

from parity_tests.judge.agreement import StageResult
from parity_tests.judge.sigmoid import SIGMOID_ULP
from parity_tests.record.recorded_case import Answers, Case, compare_exactly, grid, rows_and_labels
from parity_tests.sides.training_pair import (
    Runs,
    compare_runs,
    compare_steps,
    torch_fits,
    torch_steps,
)
from torch_impl import EarlyStopping
from torch_impl.keras.random import layer_seeds, uniform

__all__ = ["CASES", "stopped_run"]


def _step(weights: str, rows: int = 300, weighted: bool = False, **options: Any) -> Case:
    def inputs(answers: Answers) -> dict[str, Any]:
        features, labels = rows_and_labels(51, rows)
        chosen = {"weights": answers[weights], "features": features, "labels": labels}
        if weighted:
            chosen["sample_weight"] = np.where(labels == 1, 25.0, 0.5).astype(np.float32)
        return {**chosen, "seed": 5, **options}

    return Case("training.one_step_in_both", inputs, torch_steps, _compare_steps)


def _compare_steps(inputs: dict[str, Any], ours: Any, theirs: Any) -> list[StageResult]:
    return compare_steps("step", ours, theirs, **inputs)


def _run(validated: bool = False, sample_weighted: bool = False, **options: Any) -> Case:
    def inputs(_: Answers) -> dict[str, Any]:
        features, labels = rows_and_labels(61, 700)
        chosen: dict[str, Any] = {"features": features, "labels": labels, "seed": 7}
        if validated:
            chosen["validation_data"] = rows_and_labels(71, 230)
        if sample_weighted:
            chosen["sample_weight"] = np.abs(grid(81, (700,)))
        # 700 rows are five batches of 128 and one of 60.
        return {**chosen, "batch_size": 128, "sigmoid_ulp": SIGMOID_ULP, **options}

    return Case("training.fits", inputs, _fits, _compare_runs)


def _fits(*, sigmoid_ulp: float, compiled: bool = False, **options: Any) -> Runs:
    return torch_fits(compiled=compiled, **options)


def _compare_runs(_: dict[str, Any], ours: Runs, theirs: Runs) -> list[StageResult]:
    return compare_runs("run", ours, theirs)


def stopped_run(*, device: str, values: list[float], **options: Any) -> dict[str, int]:
    """What our `EarlyStopping` makes of it, as `keras_ref.training.early_stopping` tells it."""
    model, callback = nn.Linear(1, 1, device=device), EarlyStopping(**options)
    callback.on_train_begin(model)
    epochs = 0
    for epoch, value in enumerate(values):
        nn.init.constant_(model.weight, epoch)
        callback.on_epoch_end(epoch, {options["monitor"]: value}, model)
        epochs += 1
        if callback.stop_training:
            break
    callback.on_train_end(model)
    return {
        "epochs": epochs,
        "stopped_epoch": callback.stopped_epoch,
        "best_epoch": callback.best_epoch,
        "weights_of": int(model.weight.item()),
    }


# It falls in small steps and in large ones, rises, and has a best epoch in the middle.
_LOSSES = [5.0, 4.0, 3.9, 3.8, 3.85, 2.0, 2.5, 2.4, 2.3, 2.2]


def _stopping(values: list[float] = _LOSSES, monitor: str = "val_loss", **options: Any) -> Case:
    inputs = {"values": values, "monitor": monitor, **options}
    return Case("training.early_stopping", lambda _: inputs, stopped_run, compare_exactly)


_STOPPING = {"monitor": "val_loss", "patience": 1, "restore_best_weights": True}

# Metrics are measured in one run alone; Keras takes most of its time for them.
CASES: dict[str, Case] = {
    "one step, prior bias": _step("initial weights, prior bias"),
    "one step, zero bias": _step("initial weights, zero bias"),
    "one step, no dropout": _step("initial weights, prior bias", dropout=0.0),
    "one step, dropout 0.3": _step("initial weights, prior bias", dropout=0.3),
    "one step, weighted rows": _step("initial weights, prior bias", weighted=True),
    "one step, one row": _step("initial weights, zero bias", rows=1),
    "run, class-weighted": _run(
        validated=True, epochs=3, output_bias=-2.25, class_weight={0: 0.51, 1: 9.0}
    ),
    "run, epochs of three steps, one class weighted": _run(
        epochs=5, steps_per_epoch=3, class_weight={1: 9.0}, metrics=False
    ),
    "run, sample-weighted": _run(sample_weighted=True, epochs=2, hidden_units=24, metrics=False),
    "run, no dropout": _run(epochs=2, dropout=0.0, metrics=False),
    # The first number that the masks' stream draws, taken for the rate: that unit is kept.
    "run, unshuffled, a unit's number is the rate": _run(
        shuffle=False,
        epochs=2,
        hidden_units=8,
        dropout=float(uniform((layer_seeds(7, 2)[1], 0), (1,))),
        metrics=False,
    ),
    "run, odd number of units": _run(epochs=2, hidden_units=13, metrics=False),
    "run, early stopping": _run(
        validated=True, epochs=30, learning_rate=0.05, early_stopping=_STOPPING, metrics=False
    ),
    "early stopping, no patience": _stopping(),
    "early stopping, patience": _stopping(patience=3),
    "early stopping, min_delta": _stopping(patience=2, min_delta=0.15),
    "early stopping, best weights": _stopping(patience=2, restore_best_weights=True),
    "early stopping, best weights without a stop": _stopping(patience=9, restore_best_weights=True),
    "early stopping, baseline": _stopping(patience=3, baseline=2.1),
    "early stopping, start from epoch 4": _stopping(patience=1, start_from_epoch=4),
    "early stopping, upwards": _stopping(
        [-value for value in _LOSSES], "val_prc", mode="max", patience=2, restore_best_weights=True
    ),
    # As a run in float64 may lose: by less than float32 tells apart, and by just as much.
    **{
        f"early stopping, a fall of {fall}": _stopping(
            [0.5 - step * epoch for epoch in range(8)], patience=3, restore_best_weights=True
        )
        for fall, step in (("a thousandth of an ULP", 2.0**-35), ("an ULP", 2.0**-25))
    },
    "early stopping, not a number": _stopping(
        [5.0, math.nan, math.nan, 4.0], patience=2, restore_best_weights=True
    ),
}
