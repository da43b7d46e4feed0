"""What the callbacks that watch a number have in common: state, names, warnings, refusals."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from torch import nn

from torch_impl import Callback, EarlyStopping, KerasAdam
from torch_impl.keras.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from torch_impl.keras_files.model_checkpoint import ModelCheckpoint

MODEL = nn.Linear(1, 1)
OPTIMIZER = KerasAdam(MODEL.parameters())
WRITTEN: list[str] = []


def note(_: nn.Module, path: str) -> None:
    WRITTEN.append(path)


def reducing(*monitor: str, **options: Any) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(OPTIMIZER, *monitor, **options)


MADE: dict[str, Callable[[], Callback]] = {
    "stopping": lambda: EarlyStopping(patience=5),
    "reducing": lambda: reducing(mode="min", patience=2, cooldown=5),
    "saving": lambda: ModelCheckpoint("{epoch}.keras", save_best_only=True, save=note),
}


def watched(callback: Callback, values: Sequence[float]) -> Callback:
    for epoch, value in enumerate(values):
        callback.on_epoch_begin(epoch, MODEL)
        callback.on_epoch_end(epoch, {"val_loss": value}, MODEL)
    return callback


@pytest.mark.parametrize(
    "values", [[], [0.5] * 2, [0.5] * 4, [math.nan] * 4], ids=["none", "waiting", "cooling", "nan"]
)
@pytest.mark.parametrize("kind", MADE)
def test_its_state_is_plain_json_and_comes_back(kind: str, values: list[float]) -> None:
    """With a best of NaN too, which JSON lacks."""
    before, after = watched(MADE[kind](), values), MADE[kind]()
    after.load_state_dict(json.loads(json.dumps(before.state_dict(), allow_nan=False)))
    assert repr(vars(after)) == repr(vars(before))
    assert (repr(vars(before)) == repr(vars(MADE[kind]()))) == (not values)


RESTORING = {"restoring": lambda: EarlyStopping(patience=5, restore_best_weights=True)}


@pytest.mark.parametrize(
    ("kind", "values", "falls"),
    [
        ("restoring", [2.0, 1.0, 3.0], False),
        ("reducing", [2.0, 1.0, 3.0], False),
        ("reducing", [2.0, 1.0, 3.0, 3.0, 3.0], True),
    ],
)
def test_a_new_run_starts_from_nothing(kind: str, values: list[float], falls: bool) -> None:
    """But for the rate: what an earlier run came to is forgotten, in its cooldown too."""
    rate = OPTIMIZER.param_groups[0]["lr"]
    make = (MADE | RESTORING)[kind]
    callback = watched(make(), values)
    lower = OPTIMIZER.param_groups[0]["lr"]
    assert (lower < rate) == falls
    callback.on_train_begin(MODEL)
    assert repr(vars(callback)) == repr(vars(make()))
    assert OPTIMIZER.param_groups[0]["lr"] == lower


@pytest.mark.parametrize(
    ("kind", "doing", "there"),
    [
        ("stopping", "early stopping on", "loss, auc"),
        ("reducing", "reducing the learning rate on", "loss, auc, learning_rate"),
        ("saving", "saving the best model by", "loss, auc"),
    ],
)
def test_a_key_that_is_not_there_is_named_beside_those_that_are(
    kind: str, doing: str, there: str
) -> None:
    """Once for each epoch, and the run goes on; the model is written, as Keras does."""
    callback = MADE[kind]()
    WRITTEN.clear()
    with pytest.warns(UserWarning, match="not there") as caught:
        callback.on_epoch_end(0, {"loss": 1.0, "auc": 0.5}, MODEL)
    message = f"{doing} 'val_loss', which is not there; there are {there}"
    assert [str(warning.message) for warning in caught] == [message]
    assert not callback.stop_training
    assert ["1.keras"] * (kind == "saving") == WRITTEN


def test_a_checkpoint_tells_them_by_how_they_judge() -> None:
    """Every option, and of a schedule its name."""
    assert reducing("auc", factor=0.5, patience=3, min_delta=-0.25, cooldown=2).kind == (
        "ReduceLROnPlateau('auc', min_delta=0.25, mode='max', factor=0.5, patience=3, "
        "cooldown=2, min_lr=0.0)"
    )
    assert LearningRateScheduler(reducing, OPTIMIZER).kind == "LearningRateScheduler(reducing)"
    assert ModelCheckpoint("x.keras", initial_value_threshold=9.0).kind == (
        "ModelCheckpoint('val_loss', min_delta=0.0, mode='min', save_best_only=False, "
        "initial_value_threshold=9.0)"
    )


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (reducing, {"factor": 1.0}, "ReduceLROnPlateau: factor=1.0; expected it to be below 1"),
        (reducing, {"mode": "down"}, "ReduceLROnPlateau: mode='down'; expected 'auto', 'min' or"),
        (reducing, {"monitor": "tp"}, "ReduceLROnPlateau: monitor='tp' has no direction of its"),
        (reducing, {"patience": -1}, "ReduceLROnPlateau: patience=-1; expected a whole number"),
        (reducing, {"cooldown": 0.5}, "ReduceLROnPlateau: cooldown=0.5; expected a whole number"),
        (ModelCheckpoint, {"filepath": "model.pt"},
         "ModelCheckpoint: filepath='model.pt'; expected it to end in one of .safetensors, "),
        (ModelCheckpoint, {"filepath": "x.keras", "monitor": "tp"},
         "ModelCheckpoint: monitor='tp' has no dir"),
        (ModelCheckpoint, {"filepath": "x.keras", "mode": "up"},
         "ModelCheckpoint: mode='up'; expected 'auto',"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(
    make: Callable[..., Callback], options: dict[str, Any], message: str
) -> None:
    """In one line."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        make(**options)
