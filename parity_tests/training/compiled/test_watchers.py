"""Whoever waits to be called, or would compute something else, is noticed by the compiled path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from parity_tests.sides.compiler import needs_compiler
from parity_tests.training.compiled.epoch_case import NAMES, Case
from torch_impl import Callback, FraudClassifier, KerasAdam, fit
from torch_impl.training.native import NativeEpoch

pytestmark = needs_compiler

Change = Callable[[FraudClassifier, KerasAdam, list[object]], Any]
"""Hangs what notes its calls on a model or an optimizer; what it gives can be removed."""


def _replaced(method: str, of: Callable[[FraudClassifier, KerasAdam], Any]) -> Change:
    def replace(model: FraudClassifier, optimizer: KerasAdam, calls: list[object]) -> None:
        thing = of(model, optimizer)
        plain = getattr(thing, method)
        setattr(thing, method, lambda *a, **k: (calls.append(thing), plain(*a, **k))[1])

    return replace


def _noting(calls: list[object]) -> Callable[..., None]:
    return lambda *_: calls.append(_)


WATCHERS: dict[str, Change] = {
    "forward-of-the-model": lambda m, _, c: m.register_forward_hook(_noting(c)),
    "forward-of-a-layer": lambda m, _, c: m.output.register_forward_hook(_noting(c)),
    "forward-with-keywords": lambda m, _, c: m.activation.register_forward_hook(
        lambda *_: c.append(_), with_kwargs=True
    ),
    "forward-whatever-happens": lambda m, _, c: m.dropout.register_forward_hook(
        _noting(c), always_call=True
    ),
    "before-forward": lambda m, _, c: m.hidden.register_forward_pre_hook(_noting(c)),
    "backward-of-a-layer": lambda m, _, c: m.output.register_full_backward_hook(_noting(c)),
    "backward-of-the-old-kind": lambda m, _, c: m.output.register_backward_hook(_noting(c)),
    "before-backward": lambda m, _, c: m.dropout.register_full_backward_pre_hook(_noting(c)),
    "forward-of-all-modules": lambda _m, _o, c: torch_module.register_module_forward_hook(
        _noting(c)
    ),
    "before-forward-of-all-modules": lambda _m, _o, c: (
        torch_module.register_module_forward_pre_hook(_noting(c))
    ),
    "backward-of-all-modules": lambda _m, _o, c: torch_module.register_module_full_backward_hook(
        _noting(c)
    ),
    "before-backward-of-all-modules": lambda _m, _o, c: (
        torch_module.register_module_full_backward_pre_hook(_noting(c))
    ),
    "gradient-of-a-kernel": lambda m, _, c: m.hidden.weight.register_hook(_noting(c)),
    "gradient-of-a-bias": lambda m, _, c: m.output.bias.register_hook(_noting(c)),
    "gradient-added-up": lambda m, _, c: m.output.weight.register_post_accumulate_grad_hook(
        _noting(c)
    ),
    "before-a-step": lambda _, o, c: o.register_step_pre_hook(_noting(c)),
    "after-a-step": lambda _, o, c: o.register_step_post_hook(_noting(c)),
    "before-any-optimizers-step": lambda _m, _o, c: register_optimizer_step_pre_hook(_noting(c)),
    "after-any-optimizers-step": lambda _m, _o, c: register_optimizer_step_post_hook(_noting(c)),
    "another-forward-of-the-model": _replaced("forward", lambda m, _: m),
    "another-forward-of-a-layer": _replaced("forward", lambda m, _: m.activation),
    "other-activations-of-the-model": _replaced("_hidden_activations", lambda m, _: m),
    "another-step": _replaced("step", lambda _, o: o),
}  # fmt: skip


class AfterOne(Callback):
    """Does something when the first epoch has ended."""

    def __init__(self, change: Callable[[], object]) -> None:
        self.change = change

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
        if epoch == 0:
            self.change()


@pytest.fixture
def plain() -> tuple[FraudClassifier, KerasAdam, dict[str, Any]]:
    """A model, its optimizer and what `fit` needs for two epochs of two steps."""
    model = FraudClassifier(5, 8, seed=3)
    optimizer = KerasAdam(model.parameters())
    x, y, _ = Case(rows=12).data()
    options = {"x": x, "y": y, "batch_size": 6, "optimizer": optimizer, "progress": False}
    return model, optimizer, options


@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize("kind", WATCHERS)
@pytest.mark.filterwarnings("ignore:Using a non-full backward hook:FutureWarning")
@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_whoever_waits_to_be_called_is_called(kind: str, when: str, plain: Any) -> None:
    """A hook of any kind, on anything, and a method put in place of another's.

    At each of two steps, be it there from the start or since the first epoch.
    """
    model, optimizer, options = plain
    calls: list[object] = []
    handles: list[Any] = []

    def hang() -> None:
        handles.append(WATCHERS[kind](model, optimizer, calls))

    try:
        if when == "before":
            hang()
            fit(model, **options)
        else:
            fit(model, **options, epochs=2, callbacks=[AfterOne(hang)])
    finally:
        for handle in filter(None, handles):
            handle.remove()
    assert len(calls) >= 2
    rows = torch.from_numpy(options["x"])
    watched = NativeEpoch.create(model, optimizer, rows) is None
    assert watched is (handles == [None]), "with the hook removed it is the plain recipe again"


def test_a_learning_rate_scheduler_sees_the_steps(plain: Any) -> None:
    """It warns where its optimizer took none, and here every warning is an error."""
    model, optimizer, options = plain
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    fit(model, **options, callbacks=[AfterOne(scheduler.step)])
    assert optimizer.param_groups[0]["lr"] == 0.5e-3


class Other(FraudClassifier):
    """Of the plain model's parameters."""


class OtherAdam(KerasAdam):
    """A step of its own."""


@pytest.mark.parametrize("kinds", [(Other, KerasAdam), (FraudClassifier, OtherAdam)])
def test_a_subclass_is_not_taken_for_what_it_is_derived_from(kinds: tuple[Any, Any]) -> None:
    """It may do anything."""
    model = kinds[0](5, 8, seed=3)
    optimizer = kinds[1](model.parameters())
    assert NativeEpoch.create(model, optimizer, torch.zeros(3, 5)) is None


@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize("place", range(4), ids=NAMES)
def test_a_frozen_parameter_stays_and_the_others_move(place: int, when: str, plain: Any) -> None:
    """Be it frozen from the start or since the first epoch, with its moments."""
    model, optimizer, options = plain
    frozen = list(model.parameters())[place]
    kept = []

    def freeze() -> None:
        frozen.requires_grad_(False)
        state = optimizer.state_of(frozen)
        kept.extend(p.detach().clone() for p in (*model.parameters(), *state.values()))

    if when == "before":
        freeze()
        fit(model, **options)
    else:
        fit(model, **options, epochs=2, callbacks=[AfterOne(freeze)])
    ended = [*model.parameters(), *optimizer.state_of(frozen).values()]
    same = [torch.equal(a, b) for a, b in zip(kept, ended, strict=True)]
    assert same == [i == place or i >= 4 for i in range(7)]


def test_parameters_put_into_a_group_of_their_own_take_its_rate(plain: Any) -> None:
    """Between two epochs too: with a rate of 0 they stay."""
    model, optimizer, options = plain
    kept = []

    def regroup() -> None:
        first = optimizer.param_groups[0]
        first["params"] = [p for p in first["params"] if p is not model.output.bias]
        optimizer.add_param_group({"params": [model.output.bias], "lr": 0.0})
        kept.extend(p.detach().clone() for p in model.parameters())

    fit(model, **options, epochs=2, callbacks=[AfterOne(regroup)])
    same = [torch.equal(a, b) for a, b in zip(kept, model.parameters(), strict=True)]
    assert same == [False, False, False, True]


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_a_callback_finds_the_module_in_training(compiled: bool, plain: Any) -> None:
    """Whichever path the epoch took, and whichever mode the module came in."""
    model, _, options = plain
    seen = []
    note = AfterOne(lambda: seen.append([module.training for module in model.modules()]))
    fit(
        model.eval(),
        **options,
        validation_data=Case().data()[:2],
        compiled=compiled,
        callbacks=[note],
    )
    assert seen == [[True] * 5]
    assert not model.training
