"""`ModelCheckpoint`: which epochs it writes, where, and what stands there."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from parity_tests.reference.keras_process import KerasProcess
from parity_tests.training.rates.watched_runs import resumed
from parity_tests.training.small_runs import FEATURES, X, Y, assert_same
from torch_impl import FraudClassifier, KerasAdam, fit, load_keras, load_keras_optimizer, save_keras
from torch_impl.keras_files.model_checkpoint import ModelCheckpoint

CHECKPOINTS_OF_TODAY = pytest.mark.reference(
    "ModelCheckpoint compared in float64", keras=">=3.11", backend="tensorflow"
)

NAN, INF = math.nan, math.inf
# Options, and what is monitored in the epochs of one run and of another behind it.
COURSES: dict[str, tuple[dict[str, Any], list[list[float]]]] = {
    "every": ({}, [[3.0, 4.0, 2.0], [1.0]]),
    "best": ({"save_best_only": True}, [[3.0, 4.0, 2.0, 2.0], [2.5, 1.0, 3.0]]),
    "best-upwards": ({"save_best_only": True, "mode": "max"}, [[3.0, 4.0, 2.0, 4.5], [4.25, 5.0]]),
    "threshold": (
        {"save_best_only": True, "initial_value_threshold": 2.5}, [[3.0, 2.5, 2.0, 2.25]],
    ),
    "less-than-an-ulp": (
        {"save_best_only": True}, [[0.5 - 2.0**-35 * epoch for epoch in range(4)]],
    ),
    "an-ulp": ({"save_best_only": True}, [[0.5 - 2.0**-25 * epoch for epoch in range(4)]]),
    "not-a-number": ({"save_best_only": True}, [[NAN, 1.0], [0.5]]),
    "not-a-number-later": ({"save_best_only": True}, [[2.0, NAN, 1.0], [INF, -INF]]),
}  # fmt: skip


def written(path: str, runs: list[list[float]], **options: Any) -> list[list[str]]:
    """What ours writes, as `keras_ref.callbacks.checkpoints` tells it."""
    files: list[str] = []
    callback = ModelCheckpoint(path, **options, save=lambda model, path: files.append(path))
    found, model = [], nn.Linear(1, 1)
    for run in runs:
        callback.on_train_begin(model)
        for epoch, value in enumerate(run):
            callback.on_epoch_begin(epoch, model)
            callback.on_epoch_end(epoch, {"loss": value + 1, "val_loss": value}, model)
            found.append(list(files))
            files.clear()
    return found


@CHECKPOINTS_OF_TODAY
def test_files_are_written_when_and_where_keras_writes_them(
    keras: KerasProcess, tmp_path: Path
) -> None:
    """Epoch for epoch, of the second run too."""
    path = str(tmp_path / "{epoch:02d}" / "{loss:.3e} {val_loss:.4f}.keras")
    for name, (options, runs) in COURSES.items():
        options = {"mode": "min", **options}
        assert written(path, runs, **options) == keras.call(
            "callbacks.checkpoints", path, runs, **options
        ), name


WRITTEN_DOWN = {
    "every": [1, 2, 3, 1],
    "best": [1, 0, 3, 0, 0, 2, 0],
    "best-upwards": [1, 2, 0, 4, 0, 2],
    "threshold": [0, 0, 3, 0],
    "less-than-an-ulp": [1, 0, 0, 0],
    "an-ulp": [1, 2, 3, 4],
    "not-a-number": [1, 0, 0],
    "not-a-number-later": [1, 0, 3, 0, 2],
}  # number of the epoch that is written, 0 for none


@pytest.mark.parametrize("case", COURSES)
def test_the_epochs_written_are_those_written_down(case: str) -> None:
    """Numbered from 1, with the best of an earlier run in mind."""
    options, runs = COURSES[case]
    found = written("{epoch}.keras", runs, **options)
    assert found == [[f"{n}.keras"] if n else [] for n in WRITTEN_DOWN[case]]


@pytest.mark.filterwarnings("ignore:.*the file holds weights alone")
@pytest.mark.parametrize("ending", [".safetensors", ".keras", ".h5", ".weights.h5"])
def test_what_is_written_is_the_model_after_its_epoch(ending: str, tmp_path: Path) -> None:
    """In folders that are made on the way, and a file there is replaced."""
    model = FraudClassifier(FEATURES, 8, seed=3)
    optimizer = KerasAdam(model.parameters())
    states = []

    def seen(model: nn.Module, _: str) -> None:
        states.append({name: value.clone() for name, value in model.state_dict().items()})

    callbacks = [
        ModelCheckpoint("x", save=seen),
        ModelCheckpoint(tmp_path / "a" / f"{{epoch:02d}}{ending}"),
        ModelCheckpoint(str(tmp_path / f"last{ending}")),
    ]
    fit(model, X, Y, epochs=2, optimizer=optimizer, callbacks=callbacks, progress=False)
    assert not torch.equal(states[0]["hidden.weight"], states[1]["hidden.weight"])
    names = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert names == [f"a/01{ending}", f"a/02{ending}", f"last{ending}"]
    for name, state in zip(names, [states[0], states[1], states[1]], strict=True):
        if ending == ".safetensors":
            assert_same(load_file(tmp_path / name), state)
        else:
            found = load_keras(tmp_path / name).state_dict()
            weights = [key for key in state if key.endswith(("weight", "bias"))]
            assert_same({k: found[k] for k in weights}, {k: state[k] for k in weights})


def test_any_module_is_written_as_its_state_dict(tmp_path: Path) -> None:
    """Weights that lie anywhere in memory, or are shared, too."""
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    first.bias = nn.Parameter(torch.arange(6.0)[::2])
    model = nn.Sequential(first, nn.BatchNorm1d(3), second)
    ModelCheckpoint(tmp_path / "x.safetensors").on_epoch_end(0, {}, model)
    assert_same(load_file(tmp_path / "x.safetensors"), model.state_dict())


def test_an_optimizer_is_written_by_a_save_of_ones_own(tmp_path: Path) -> None:
    """As the docstring says."""
    model = FraudClassifier(FEATURES, 8, seed=3)
    optimizer = KerasAdam(model.parameters())
    saving = ModelCheckpoint(
        tmp_path / "x.keras", save=lambda model, path: save_keras(model, path, optimizer)
    )
    fit(model, X, Y, optimizer=optimizer, callbacks=[saving], batch_size=100, progress=False)
    loaded = load_keras(tmp_path / "x.keras")
    assert load_keras_optimizer(tmp_path / "x.keras", loaded).state_dict()["state"][0]["step"] == 3


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """Of a module that the ending does not fit."""
    path = tmp_path / "x.keras"
    path.write_text("old")
    with pytest.raises(ValueError, match="Linear"):
        ModelCheckpoint(path).on_epoch_end(0, {}, nn.Linear(1, 1))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.keras"]


@pytest.mark.parametrize(("path", "key"), [("{val_auc}.h5", "'val_auc'"), ("{}.h5", "Repl")])
def test_a_path_that_asks_for_what_is_not_there_is_refused(path: str, key: str) -> None:
    """With what there is."""
    message = re.escape(f"ModelCheckpoint: filepath='{path}' asks for {key}")
    with pytest.raises(ValueError, match=rf"^{message}.*; there are loss, epoch$"):
        ModelCheckpoint(path).on_epoch_end(0, {"loss": 1.0}, nn.Linear(1, 1))


def test_a_resumed_run_writes_what_a_whole_one_writes(tmp_path: Path) -> None:
    """And knows the best of before: of a loss that falls, the greatest is the first."""
    files: list[str] = []

    def saving(_: torch.optim.Optimizer) -> dict[str, Any]:
        modes: list[Literal["min", "max"]] = ["min", "max"]
        return {
            "callbacks": [
                ModelCheckpoint(
                    f"{{epoch}} {mode}", "loss", True, mode, save=lambda _, path: files.append(path)
                )
                for mode in modes
            ]
        }

    straight, interrupted = resumed(tmp_path, saving)
    assert straight == interrupted
    losses = straight["history"].history["loss"]
    falls = [n for n in range(2, 7) if losses[n - 1] < min(losses[: n - 1])]
    assert max(losses) == losses[0]
    assert files == ["1 min", "1 max", *(f"{epoch} min" for epoch in falls)] * 2
