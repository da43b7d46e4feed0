"""Any module can be trained, and finds its mode again."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import count, groupby

import pytest
import torch
from torch import nn

from parity_tests.training.small_runs import FEATURES, X, Y
from torch_impl import Callback, FraudClassifier, evaluate, fit, predict
from torch_impl.keras.layers.dropout import KerasDropout


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
def test_fit_leaves_the_mode_of_the_module_as_it_was(training: bool, compiled: bool) -> None:
    """Whichever it was; a module within it may be in another."""
    model = FraudClassifier(FEATURES, 8, seed=3).train(training)
    model.output.train(not training)
    fit(model, X, Y, batch_size=64, validation_data=(X, Y), progress=False, compiled=compiled)
    assert model.training is training
    assert model.hidden.training is training
    assert model.output.training is not training


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def many_modes(outer: bool) -> nn.Sequential:
    """Modules within modules within a module, each in the other mode than the one before."""
    inner = nn.Sequential(KerasDropout(0.5, seed=1), nn.Linear(4, 1))
    model = nn.Sequential(nn.Linear(FEATURES, 4), nn.Sequential(nn.ReLU(), inner))
    for number, module in enumerate(model.modules()):
        module.training = outer == (number % 2 == 0)
    return model


# The modes that are seen in batches, in those of validation, after the epoch and after the run.
SEEN = {
    "predict": [{False}],
    "evaluate": [{False}],
    "fit": [{True}, {False}, {True}, {True, False}],
}


# How many of them, where a call of the model raises, the first of validation, or a callback.
UNTIL = {None: 4, 3: 1, 8: 2, "epoch end": 3, "train end": 4}


@pytest.mark.parametrize("outer", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize(
    ("function", "broken_at"),
    [
        ("predict", None), ("predict", 3), ("evaluate", None), ("evaluate", 3),
        *(("fit", at) for at in UNTIL),
    ],
)  # fmt: skip
def test_every_module_runs_in_the_mode_due_and_gets_its_own_back(
    function: str, broken_at: int | str | None, outer: bool
) -> None:
    """However deep it lies, and whichever call of the model or of a callback raises.

    That the run has ended is told when the modes are back.
    """
    model = many_modes(outer)
    before, seen = modes(model), []

    def see(at: int | str) -> None:
        seen.append(set(modes(model)))
        if at == broken_at:
            raise RuntimeError("broken")

    watching, calls = Callback(), count(1)
    watching.on_epoch_end = lambda *_: see("epoch end")
    watching.on_train_end = lambda _: see("train end")
    model[1][1][1].register_forward_hook(lambda *_: see(next(calls)))
    fails = nullcontext() if broken_at is None else pytest.raises(RuntimeError, match="broken")
    with fails:
        if function == "predict":
            predict(model, X, batch_size=60, from_logits=True)
        elif function == "evaluate":
            evaluate(model, X, Y, batch_size=60)
        else:
            fit(
                model, X, Y, batch_size=60, validation_data=(X, Y), callbacks=[watching],
                progress=False,
            )  # fmt: skip
    assert [mode for mode, _ in groupby(seen)] == SEEN[function][: UNTIL[broken_at]]
    assert modes(model) == before


def test_any_module_and_optimizer_can_be_trained() -> None:
    """With torch's own layers, its own generator, and its own SGD."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 4), nn.Tanh(), nn.Dropout(0.1), nn.Linear(4, 1))
    model.double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    history = fit(model, X, Y, batch_size=64, epochs=5, optimizer=optimizer, progress=False)
    losses = history.history["loss"]
    assert losses[-1] < losses[0]
    assert history.epoch == [0, 1, 2, 3, 4]
