"""One table, and one model of each kind that `train` made of it, for the tests of the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from data import load, prepare, synthetic
from data.prepare import Prepared
from torch_impl import FraudPipeline, load_pipeline
from torch_impl.__main__ import main
from torch_impl.base.sealed import unsealed

BALANCES = ("none", "class-weights", "oversample")
ROWS, FRAUDS = 2400, 90
SEED, BATCH, PATIENCE = 4, 128, 1
EPOCHS = {"none": 6, "class-weights": 15, "oversample": 2}


class Trained(NamedTuple):
    """What `train` left and said."""

    model: Path
    told: dict[str, Any]
    history: dict[str, list[float]]

    def pipeline(self) -> FraudPipeline:
        """A fresh one."""
        return load_pipeline(self.model)


def content(model: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facts and numbers of a file; its bytes hold them in an order that safetensors draws."""
    facts, tensors = unsealed(model, "pipeline", "torch_impl-pipeline-1", ValueError)
    return facts, {name: value.numpy().tobytes() for name, value in tensors.items()}


class Table(NamedTuple):
    """Labelled rows."""

    path: Path
    frame: pd.DataFrame
    """As `data.load` reads them."""
    prepared: Prepared
    """By the data room."""

    def raw(self) -> np.ndarray:
        """(N, 29) float64, in the table's order."""
        return np.array(self.frame.drop(columns=["Time", "Class"]))


def table_in(folder: Path) -> Table:
    """Made-up rows, as a CSV of two parts."""
    path = folder / "rows.csv"
    synthetic(seed=SEED, rows=ROWS, positives=FRAUDS).to_csv(path, index=False)
    frame = load(path)
    return Table(path, frame, prepare(frame, seed=SEED))


def arguments(table: Path, model: Path, balance: str) -> list[str]:
    """The command that the tests train by."""
    return [
        "train", str(table), str(model), "--balance", balance, "--seed", str(SEED),
        "--epochs", str(EPOCHS[balance]), "--batch-size", str(BATCH), "--patience", str(PATIENCE),
        "--history", str(model.with_suffix(".json")), "--json", "--no-progress",
    ]  # fmt: skip


def trained_in(folder: Path, table: Table) -> dict[str, Trained]:
    """A model of each balance, and what `train` said of it."""
    found = {}
    for balance in BALANCES:
        model = folder / f"{balance}.safetensors"
        with pytest.MonkeyPatch.context() as patch:
            told: list[dict[str, Any]] = []
            patch.setattr("torch_impl.commands.train.tell_json", told.append)
            assert main(arguments(table.path, model, balance)) == 0
        history = json.loads(model.with_suffix(".json").read_text(encoding="utf-8"))
        found[balance] = Trained(model, told[0], history)
    return found


Spoken = Callable[..., tuple[int, str, list[str]]]
"""Runs a command in this process: status, standard output, and the lines of the other."""
