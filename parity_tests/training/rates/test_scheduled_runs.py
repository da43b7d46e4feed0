"""`fit` with a learning-rate scheduler, Keras's or torch's: alone, beside Keras, and continued."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.optim import lr_scheduler as torchs

from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import EPOCH_LOSS, RANDOM_STREAM
from parity_tests.training.rates.watched_runs import assert_same_run, fitted, resumed
from parity_tests.training.small_runs import FEATURES, X, Y, assert_same, trained
from torch_impl import CheckpointError, FraudClassifier, KerasAdam, fit
from torch_impl.keras.callbacks import schedules
from torch_impl.keras.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau

Made = Callable[[torch.optim.Optimizer], torchs.LRScheduler]
RESTARTS = {"initial_learning_rate": 0.02, "first_decay_steps": 41, "m_mul": 0.7, "t_mul": 1.0}


@RANDOM_STREAM
@EPOCH_LOSS
def test_a_run_with_a_schedule_is_keras_run(keras: KerasProcess) -> None:
    """60 steps of Adam in double, with a restart that comes one step late."""
    theirs = fitted.theirs(keras, rate=("CosineDecayRestarts", RESTARTS), callbacks=[])
    ours = fitted.ours(
        lambda optimizer: {"scheduler": schedules.CosineDecayRestarts(optimizer, **RESTARTS)}
    )
    assert_same_run(ours, theirs)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_a_schedule_is_stepped_after_each_batch(compiled: bool) -> None:
    """Five a epoch; the compiled path steps aside, as it would not call it."""
    model = FraudClassifier(FEATURES, 8, seed=3)
    optimizer = KerasAdam(model.parameters())
    schedule = schedules.PiecewiseConstantDecay(optimizer, [4], [0.25, 0.0])
    stepped = []
    optimizer.register_step_post_hook(lambda *_: stepped.append(optimizer.param_groups[0]["lr"]))
    fit(
        model, X, Y, batch_size=64, epochs=2, optimizer=optimizer, scheduler=schedule,
        compiled=compiled, progress=False,
    )  # fmt: skip
    assert stepped == [0.25] * 5 + [0.0] * 5
    assert schedule.last_epoch == 10


def test_a_schedule_that_never_changes_changes_nothing() -> None:
    """To the bit, on the path that the compiled epoch takes otherwise, but for its last digits."""
    model = FraudClassifier(FEATURES, 8, seed=3)
    optimizer = KerasAdam(model.parameters())
    schedule = schedules.PiecewiseConstantDecay(optimizer, [4], [1e-3, 1e-3])
    options = {"batch_size": 64, "epochs": 2, "seed": 3, "progress": False}
    fit(model, X, Y, optimizer=optimizer, scheduler=schedule, **options)
    assert_same(model.state_dict(), trained(X, Y, compiled=False)[0])


COSINE = {"initial_learning_rate": 0.02, "decay_steps": 20, "alpha": 0.1}
SCHEDULERS: dict[str, Made] = {
    "CosineDecay": lambda o: schedules.CosineDecay(o, **COSINE),
    "PiecewiseConstantDecay": lambda o: schedules.PiecewiseConstantDecay(
        o, [7, 17], [0.01, 0.002, 0.001]
    ),
    "StepLR": lambda o: torchs.StepLR(o, 4, 0.5),
    "MultiStepLR": lambda o: torchs.MultiStepLR(o, [3, 3, 17], 0.5),
    "ExponentialLR": lambda o: torchs.ExponentialLR(o, 0.9),
    "LambdaLR": lambda o: torchs.LambdaLR(o, lambda step: 1 / (1 + step)),
    "CosineAnnealingLR": lambda o: torchs.CosineAnnealingLR(o, 13),
    "CosineAnnealingWarmRestarts": lambda o: torchs.CosineAnnealingWarmRestarts(o, 7, 2),
    "OneCycleLR": lambda o: torchs.OneCycleLR(o, 0.1, total_steps=31, cycle_momentum=False),
    "SequentialLR": lambda o: torchs.SequentialLR(
        o, [torchs.ConstantLR(o, 0.1, 4), torchs.MultiStepLR(o, [4, 9], 0.5)], [6]
    ),
    "ChainedScheduler": lambda o: torchs.ChainedScheduler(
        [torchs.LinearLR(o, 0.1, total_iters=9), torchs.StepLR(o, 5, 0.5)]
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", SCHEDULERS)
def test_a_resumed_run_goes_on_with_the_same_rates(kind: str, tmp_path: Path) -> None:
    """Six epochs, and three and three: weights, rates and the scheduler's own state."""
    runs = resumed(tmp_path, lambda optimizer: {"scheduler": SCHEDULERS[kind](optimizer)})
    assert runs[0] == runs[1]
    assert runs[0]["rates"] != [1e-3], "it changes the rate"


def cosine(steps: int) -> Made:
    return lambda o: schedules.CosineDecay(o, 1e-3, steps)


def nested(gamma: float) -> Made:
    return lambda o: torchs.ChainedScheduler([torchs.StepLR(o, 9, gamma)])


OTHERS: dict[str, tuple[Made, list[Made | None]]] = {
    "CosineDecay": (
        cosine(100), [cosine(101), lambda o: schedules.PolynomialDecay(o, 1e-3, 100), None],
    ),
    "ChainedScheduler": (nested(0.5), [nested(0.25)]),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_a_run_goes_on_with_its_very_schedule_alone(kind: str, tmp_path: Path) -> None:
    """Another kind, other options, also of a scheduler within another, are another run."""

    def run(make: Made | None, epochs: int) -> None:
        model = FraudClassifier(FEATURES, 8, seed=3)
        optimizer = KerasAdam(model.parameters())
        fit(
            model, X, Y, epochs=epochs, seed=3, optimizer=optimizer, progress=False,
            checkpoint=tmp_path / "run", scheduler=make and make(optimizer),
        )  # fmt: skip

    first, others = OTHERS[kind]
    run(first, 1)
    for other in others:
        with pytest.raises(CheckpointError, match=rf"the callbacks were {kind}\(.*\), now "):
            run(other, 2)
    run(first, 2)


def test_what_cannot_go_together_is_refused_before_the_run() -> None:
    """A scheduler of nothing that is trained, one that needs a number, two that set the rate."""
    model = FraudClassifier(FEATURES, 8, seed=3)
    mine, others = (KerasAdam(model.parameters()) for _ in range(2))
    decay = schedules.ExponentialDecay(mine, 1e-3, 100, 0.5)
    setters = [
        ReduceLROnPlateau(others), LearningRateScheduler(lambda epoch, rate: rate, mine),
        ReduceLROnPlateau(mine),
    ]  # fmt: skip
    for scheduler, callbacks, message in (
        (schedules.ExponentialDecay(others, 1e-3, 100, 0.5), [], "ExponentialDecay of another op"),
        (torchs.ReduceLROnPlateau(mine), [], "ReduceLROnPlateau, which is stepped with a number"),
        (decay, setters, "LearningRateScheduler, ReduceLROnPlateau beside scheduler=Exponential"),
    ):
        with pytest.raises(ValueError, match=f"^fit: .*{re.escape(message)}.*; expected "):
            fit(model, X, Y, optimizer=mine, scheduler=scheduler, callbacks=callbacks)
    # Of torch's, whose rate follows from the one before, others may set it too.
    options = {"optimizer": mine, "callbacks": setters[1:], "progress": False}
    with pytest.warns(UserWarning, match="reducing the learning rate on 'val_loss', which is not"):
        fit(model, X, Y, scheduler=torchs.ExponentialLR(mine, 0.9), **options)
    assert mine.param_groups[0]["lr"] < 1e-3
