"""What callbacks are told, and what they may change."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest
import torch
from torch import nn

from parity_tests.training.small_runs import (
    FEATURES,
    X,
    Y,
    trained,
)
from torch_impl import (
    Callback,
    FraudClassifier,
    KerasAdam,
    fit,
)


class Recorder(Callback):
    def __init__(self, stop_at: int) -> None:
        self.calls: list[str] = []
        self.stop_at = stop_at

    def on_train_begin(self, model: nn.Module) -> None:
        self.calls.append("begin")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
        self.calls.append(f"{epoch}: {', '.join(logs)}")
        self.stop_training = epoch == self.stop_at

    def on_train_end(self, model: nn.Module) -> None:
        self.calls.append("end")


def test_callbacks_see_every_epoch_and_may_stop_the_run() -> None:
    """Begin, each epoch with its logs, end."""
    recorder = Recorder(stop_at=1)
    trained(X, Y, epochs=9, metrics=False, validation_data=(X, Y), callbacks=[recorder])
    assert recorder.calls == ["begin", "0: loss, val_loss", "1: loss, val_loss", "end"]


@pytest.mark.parametrize("epochs", [0, 2])
def test_callbacks_are_told_of_everything_in_their_order(epochs: int) -> None:
    """Of a run without epochs too, and of the end whoever wanted to stop."""
    calls: list[tuple[str, int, int]] = []

    class Noting(Callback):
        def __init__(self, place: int) -> None:
            self.place = place

        def on_train_begin(self, model: nn.Module) -> None:
            calls.append(("begin", 0, self.place))

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
            calls.append(("epoch", epoch, self.place))
            self.stop_training = (epoch, self.place) == (1, 0)

        def on_train_end(self, model: nn.Module) -> None:
            calls.append(("end", 0, self.place))

    trained(X, Y, epochs=2 * epochs, callbacks=[Noting(0), Noting(1)])
    told = [("begin", 0), *(("epoch", epoch) for epoch in range(epochs)), ("end", 0)]
    assert calls == [(*what, place) for what in told for place in (0, 1)]


@pytest.mark.parametrize("stopping", [0, 1, 2, None])
def test_any_one_of_several_callbacks_may_stop_the_run(stopping: int | None) -> None:
    """Whatever its place; all of them see the last epoch."""
    recorders = [Recorder(stop_at=1 if place == stopping else 9) for place in range(3)]
    epochs = 4 if stopping is None else 2
    assert trained(X, Y, epochs=4, callbacks=recorders)[1].epoch == [*range(epochs)]
    assert {len(recorder.calls) for recorder in recorders} == {epochs + 2}


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_a_learning_rate_set_between_epochs_is_the_next_epochs(compiled: bool) -> None:
    """At a rate of 0 the weights stand still, and at the next they move on."""
    model = FraudClassifier(FEATURES, 8, seed=3)
    optimizer = KerasAdam(model.parameters(), lr=0.25)
    weights = [model.hidden.weight.detach().clone()]

    class Rates(Callback):
        def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
            weights.append(model.get_parameter("hidden.weight").detach().clone())
            optimizer.param_groups[0]["lr"] = [0.0, 0.0, 0.25, 0.0][epoch]

    fit(
        model, X, Y, batch_size=64, epochs=4, optimizer=optimizer, callbacks=[Rates()],
        compiled=compiled, progress=False,
    )  # fmt: skip
    moved = [not torch.equal(one, other) for one, other in pairwise(weights)]
    assert moved == [True, False, False, True]
