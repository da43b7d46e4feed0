"""What callbacks are told, and what they may change."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest
import torch
from torch import nn

from parity_tests.training.small_runs import FEATURES, X, Y, trained
from torch_impl import Callback, FraudClassifier, KerasAdam, fit


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

        def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
            calls.append(("epoch begins", epoch, self.place))

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
            calls.append(("epoch", epoch, self.place))
            self.stop_training = (epoch, self.place) == (1, 0)

        def on_train_end(self, model: nn.Module) -> None:
            calls.append(("end", 0, self.place))

    trained(X, Y, epochs=2 * epochs, callbacks=[Noting(0), Noting(1)])
    told = [("begin", 0), ("end", 0)]
    told[1:1] = [(what, epoch) for epoch in range(epochs) for what in ("epoch begins", "epoch")]
    assert calls == [(*what, place) for what in told for place in (0, 1)]


def test_what_a_callback_adds_to_the_logs_is_seen_behind_it_and_kept() -> None:
    """Under its own name, one value for each epoch."""

    class Adding(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float], model: nn.Module) -> None:
            logs["place"] = logs.get("place", 0.0) + epoch + 1

    history = trained(X, Y, epochs=3, metrics=False, callbacks=[Adding(), Adding()])[1]
    assert history.history["place"] == [2.0, 4.0, 6.0]
    assert history.history.keys() == {"loss", "place"}


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_what_is_set_as_an_epoch_begins_is_in_force_in_it(compiled: bool) -> None:
    """A rate, and a parameter that is frozen."""
    model = FraudClassifier(FEATURES, 8, seed=3)
    optimizer = KerasAdam(model.parameters(), lr=0.25)
    kernels = []

    class Setting(Callback):
        def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
            kernels.append([p.detach().clone() for p in model.parameters()][::2])
            optimizer.param_groups[0]["lr"] = [0.25, 0.0, 0.25, 0.0][epoch]
            model.get_parameter("hidden.weight").requires_grad_(epoch != 2)

    fit(
        model, X, Y, batch_size=64, epochs=4, optimizer=optimizer, callbacks=[Setting()],
        compiled=compiled, progress=False,
    )  # fmt: skip
    moved = [
        [not torch.equal(*pair) for pair in zip(one, other, strict=True)]
        for one, other in pairwise(kernels)
    ]
    assert moved == [[True, True], [False, False], [False, True]]


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
