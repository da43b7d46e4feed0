"""`train` is the tutorial's run: splits, features, weights, history, and the epoch it stops at."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import train_test_split

from parity_tests import ROOT
from parity_tests.decisions.commands.trained_models import (
    BALANCES,
    BATCH,
    EPOCHS,
    PATIENCE,
    SEED,
    Spoken,
    Table,
    Trained,
    arguments,
    content,
)
from parity_tests.sides.compiler import needs_compiler
from parity_tests.sides.training_pair import torch_fit
from torch_impl import oversample, prior_log_odds, to_keras_weights
from torch_impl.commands import train
from torch_impl.training.splits import split_rows


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
def test_the_splits_are_those_of_scikit_learn(seed: int) -> None:
    """Row for row and in order, each row in one of them, as `data.prepare` calls it."""
    for rows in (3, 4, 5, 6, 7, 16, 999, 10_000):
        kept, test = train_test_split(pd.RangeIndex(rows), test_size=0.2, random_state=seed)
        train_rows, validation = train_test_split(kept, test_size=0.2, random_state=seed)
        ours = split_rows(rows, seed)
        for mine, theirs in zip(ours, (train_rows, validation, test), strict=True):
            np.testing.assert_array_equal(mine, theirs, strict=True)
        assert sorted(np.concatenate(ours)) == list(range(rows))


def run_of(balance: str, table: Table) -> tuple[tuple[Any, Any], dict[str, Any]]:
    """The tutorial's run, of the data room's splits: rows, and arguments of `fit`."""
    rows = table.prepared
    data = rows.train.features, rows.train.labels
    options: dict[str, Any] = {
        "seed": SEED, "batch_size": BATCH, "epochs": EPOCHS[balance],
        "validation_data": (rows.validation.features, rows.validation.labels),
        "output_bias": prior_log_odds(rows.positives, rows.negatives),
        "early_stopping": {
            "monitor": "val_prc", "mode": "max", "patience": PATIENCE,
            "restore_best_weights": True,
        },
    }  # fmt: skip
    if balance == "class-weights":
        total = rows.positives + rows.negatives
        options["class_weight"] = {0: total / 2 / rows.negatives, 1: total / 2 / rows.positives}
    if balance == "oversample":
        data = oversample(*data, seed=SEED)
        options |= {"output_bias": None, "steps_per_epoch": 20, "epochs": 10 * EPOCHS[balance]}
    return data, options


def assert_same_run(mine: Trained, run: Mapping[str, Any]) -> None:
    """Weights and history, to the bit."""
    weights = to_keras_weights(mine.pipeline().classifier)
    assert weights.keys() == run["final"].keys()
    for name, array in run["final"].items():
        np.testing.assert_array_equal(weights[name], array, strict=True)
    assert mine.history == run["history"]


@pytest.mark.parametrize("balance", BALANCES)
def test_train_is_fit_on_what_the_data_room_prepares(
    balance: str, table: Table, trained: dict[str, Trained]
) -> None:
    """The same bits from the same file: weights, every number of the history, and its length."""
    data, options = run_of(balance, table)
    assert_same_run(trained[balance], torch_fit(*data, **options))


def test_the_run_that_stops_early_keeps_earlier_weights(trained: dict[str, Trained]) -> None:
    """The oversampled one does; all tell the epoch whose weights they have."""
    told = trained["oversample"].told
    assert told["epochs"] == told["best_epoch"] + PATIENCE < 10 * EPOCHS["oversample"]
    for run in trained.values():
        scores = run.history["val_prc"]
        assert scores[run.told["best_epoch"] - 1] == max(scores) == run.told["val_prc"]


@pytest.mark.parametrize("balance", BALANCES)
def test_the_models_features_are_the_data_rooms(
    balance: str, table: Table, trained: dict[str, Trained]
) -> None:
    """Of all three splits: what was measured on the training rows alone scales the others."""
    transform = trained[balance].pipeline().transform
    for split in (table.prepared.train, table.prepared.validation, table.prepared.test):
        np.testing.assert_array_equal(transform(split.raw).numpy(), split.features, strict=True)


@pytest.mark.parametrize("balance", BALANCES)
def test_probabilities_are_corrected_for_the_training_rows_base_rate(
    balance: str, table: Table, trained: dict[str, Trained]
) -> None:
    """By the logarithm of what balancing multiplied the odds by, worked out in NumPy."""
    rows, pipeline = table.prepared, trained[balance].pipeline()
    positives = int(rows.train.labels.sum())
    negatives = len(rows.train.labels) - positives
    factor = {
        "none": 1.0,
        "class-weights": rows.negatives / rows.positives,
        "oversample": negatives / positives,
    }[balance]
    shift = np.float32(-np.log(factor))
    assert pipeline.log_odds_shift == trained[balance].told["log_odds_shift"] == shift
    assert pipeline.trained_on is not None
    assert pipeline.trained_on[:2] == (positives, negatives)
    with torch.no_grad():
        logits = pipeline.classifier(torch.from_numpy(rows.test.features)).numpy()
    expected = torch.sigmoid(torch.from_numpy(logits + shift))
    assert torch.equal(pipeline.predict_proba(rows.test.raw), expected)


def test_nothing_is_left_but_what_was_asked_for(trained: dict[str, Trained]) -> None:
    """The checkpoint is gone when the run is done; the lock of `fit` stays, hidden and empty."""
    left = sorted(path.name for path in trained["none"].model.parent.iterdir())
    assert [name for name in left if not name.startswith(".")] == sorted(
        f"{balance}{ending}" for balance in BALANCES for ending in (".json", ".safetensors")
    )
    assert all(name.endswith(".checkpoint.lock") for name in left if name.startswith("."))


def stopped_after(epochs: int, patch: pytest.MonkeyPatch) -> None:
    """Lets a person press Ctrl-C at the beginning of an epoch."""

    class Stopping(train._Resumed):
        def on_epoch_begin(self, epoch: int, model: torch.nn.Module) -> None:
            super().on_epoch_begin(epoch, model)
            if epoch == epochs:
                raise KeyboardInterrupt

        kind = "_Resumed"

    patch.setattr(train, "_Resumed", Stopping)


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    table: Table, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken
) -> None:
    """Stopped twice; it says where it goes on, and what is left to do."""
    model = tmp_path / "m.safetensors"
    command = arguments(table.path, model, "class-weights")
    said = ["error: stopped; the same command goes on from there"]
    for epoch, before in ((2, []), (4, [f"{model}.checkpoint: goes on after epoch 2"])):
        with pytest.MonkeyPatch.context() as patch:
            stopped_after(epoch, patch)
            assert spoken(*command) == (2, "", [*before, *said])
        assert not model.exists()
    status, out, error = spoken(*command)
    assert (status, error) == (0, [f"{model}.checkpoint: goes on after epoch 4"])
    assert json.loads(out) == trained["class-weights"].told | {"resumed_after": 4}
    assert content(model) == content(trained["class-weights"].model)
    assert json.loads(model.with_suffix(".json").read_text()) == trained["class-weights"].history
    assert not Path(f"{model}.checkpoint").exists()


@pytest.mark.slow
@needs_compiler
def test_processes_of_torchrun_train_the_model_of_one(
    table: Table, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """Two of them: its bits and history; one writes and tells."""
    model = tmp_path / "m.safetensors"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = arguments(table.path, model, "class-weights")
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "torch_impl", *command],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one = trained["class-weights"]
    assert json.loads(done.stdout) == one.told
    assert content(model) == content(one.model)
    assert json.loads(model.with_suffix(".json").read_text("utf-8")) == one.history


def test_another_run_does_not_go_on_from_a_checkpoint(
    table: Table, tmp_path: Path, spoken: Spoken
) -> None:
    """It is refused, with what differs and what to do; the checkpoint stays."""
    model = tmp_path / "m.safetensors"
    command = arguments(table.path, model, "none")
    with pytest.MonkeyPatch.context() as patch:
        stopped_after(1, patch)
        spoken(*command)
    kept = Path(f"{model}.checkpoint").read_bytes()
    status, _, (line,) = spoken(*command, "--batch-size", "64")
    told = f"error: {model}.checkpoint: is of another run (delete it to start anew): batch_size"
    assert (status, line) == (2, f"{told} was 128, now 64")
    assert Path(f"{model}.checkpoint").read_bytes() == kept
