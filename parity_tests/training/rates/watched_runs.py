"""Runs of `fit` in which the learning rate changes: beside Keras's, and continued."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from parity_tests.judge.agreement import exact, no_farther, ulp_off
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.training.small_runs import FEATURES, rows_and_labels
from torch_impl import FraudClassifier, History, KerasAdam, fit, to_keras_weights

__all__ = ["Options", "assert_same_run", "fitted", "resumed"]

Options = Callable[[torch.optim.Optimizer], dict[str, Any]]
"""Arguments of `fit`, of objects that belong to its optimizer."""

_ROWS, _BATCH, _EPOCHS, _SEED, _UNITS = 320, 64, 12, 5, 8
_X, _Y = rows_and_labels(_ROWS + 100)
_TRAIN, _HELD_OUT = (_X[:_ROWS], _Y[:_ROWS]), (_X[_ROWS:], _Y[_ROWS:])


def _theirs(keras: KerasProcess, *, rate: Any, callbacks: list[Any]) -> dict[str, Any]:
    """Keras's run of 60 steps, as `keras_ref.callbacks.fits` gives it."""
    return keras.call(
        "callbacks.fits", *_TRAIN, _HELD_OUT, seed=_SEED, hidden_units=_UNITS, rate=rate,
        callbacks=callbacks, batch_size=_BATCH, epochs=_EPOCHS,
    )  # fmt: skip


def _ours(options: Options, rate: float = 1e-3) -> tuple[FraudClassifier, History]:
    """The same run in float64."""
    model = FraudClassifier(FEATURES, _UNITS, seed=_SEED).double()
    optimizer = KerasAdam(model.parameters(), lr=rate)
    history = fit(
        model, *_TRAIN, validation_data=_HELD_OUT, seed=_SEED, batch_size=_BATCH, epochs=_EPOCHS,
        optimizer=optimizer, metrics=False, progress=False, **options(optimizer),
    )  # fmt: skip
    return model, history


fitted = SimpleNamespace(ours=_ours, theirs=_theirs)
"""The same run on both sides."""


def assert_same_run(ours: tuple[FraudClassifier, History], theirs: dict[str, Any]) -> None:
    """Weights and losses agree in double; the rates that were logged are the same bits."""
    model, history = ours
    narrow, wide = theirs["float32"], theirs["float64"]
    assert history.history.keys() == wide["history"].keys()
    weights = to_keras_weights(model)
    # One array alone may be near by chance: each is off by what all are.
    off = max(ulp_off(narrow["weights"][name], wide["weights"][name]) for name in weights)
    for name, array in weights.items():
        result = no_farther(name, "double", array, wide["weights"][name], off, _BATCH)
        assert result.agree, (name, result.detail)
    for name, values in history.history.items():
        mine, other = np.array(values), np.array(wide["history"][name])
        if name == "learning_rate":
            result = exact(name, mine, other)
        else:
            off = ulp_off(np.float32(narrow["history"][name]), other)
            result = no_farther(name, "double", mine, other, off, _ROWS)
        assert result.agree, (name, result.detail)


def resumed(folder: Path, options: Options) -> list[dict[str, Any]]:
    """What is left of a run of six epochs, and of one of three that another three continue."""
    found = []
    for path, runs in ((folder / "straight", [6]), (folder / "interrupted", [3, 6])):
        for epochs in runs:
            model = FraudClassifier(FEATURES, _UNITS, seed=_SEED)
            optimizer = KerasAdam(model.parameters())
            watching = options(optimizer)
            history = fit(
                model, *_TRAIN, validation_data=_HELD_OUT, seed=_SEED, batch_size=_BATCH,
                epochs=epochs, optimizer=optimizer, checkpoint=path, progress=False, **watching,
            )  # fmt: skip
        scheduler = watching.get("scheduler")
        found.append({
            "weights": {name: value.tolist() for name, value in model.state_dict().items()},
            "rates": [group["lr"] for group in optimizer.param_groups],
            "history": history,
            "scheduler": scheduler and repr(scheduler.state_dict()),
            "callbacks": [_told(c.state_dict()) for c in watching.get("callbacks", ())],
        })  # fmt: skip
    return found


def _told(state: dict[str, Any]) -> dict[str, Any]:
    tensors = state.get("tensors", {})
    return state | {"tensors": {name: tensor.tolist() for name, tensor in tensors.items()}}
