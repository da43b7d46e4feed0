"""Which runs the compiled epoch takes, and that it is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from parity_tests.sides.compiler import needs_compiler
from torch_impl import FraudClassifier, KerasAdam, KerasDropout, fit
from torch_impl.base.compiled import _processor
from torch_impl.training.native import NativeEpoch

pytestmark = needs_compiler

X = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
Y = (X[:, :1] > 0.5).astype(np.float32)


def classifier(hidden_units: int = 8, **options: Any) -> FraudClassifier:
    return FraudClassifier(5, hidden_units, **{"seed": 3, **options})


def created(
    change: Callable[[FraudClassifier, KerasAdam], object] = lambda _model, _adam: None,
    rows: torch.Tensor | None = None,
    **options: Any,
) -> NativeEpoch | None:
    model = classifier(**options)
    optimizer = KerasAdam(model.parameters())
    change(model, optimizer)
    return NativeEpoch.create(model, optimizer, torch.from_numpy(X) if rows is None else rows)


@pytest.mark.parametrize(
    "options",
    [{}, {"hidden_units": 16}, {"dropout": 0.0}, {"dropout": 0.99}],
    ids=["8-units", "16-units", "no-dropout", "much-dropout"],
)
def test_the_plain_recipe_is_compiled(options: dict[str, Any]) -> None:
    """A seeded classifier in float32 on the CPU with one group of Adam."""
    assert created(**options) is not None


def _one_step_ahead(model: FraudClassifier, optimizer: KerasAdam) -> None:
    optimizer.state_of(model.output.bias)["step"] += 1


def _regrouped(model: FraudClassifier, optimizer: KerasAdam) -> None:
    optimizer.param_groups[0]["params"].pop()
    optimizer.add_param_group({"params": [model.output.bias]})


OTHER: dict[str, Callable[[], NativeEpoch | None]] = {
    "all-dropped": lambda: created(dropout=1.0),
    "odd-width": lambda: created(hidden_units=9),
    "four-units": lambda: created(hidden_units=4),
    "more-weights-than-a-stack-holds": lambda: created(hidden_units=4096),
    "no-seed": lambda: created(seed=None),
    "rows-elsewhere": lambda: created(rows=torch.from_numpy(X).to("meta")),
    "rows-of-another-width": lambda: created(rows=torch.from_numpy(X[:, :4])),
    "float64": lambda: created(dtype=torch.float64),
    "frozen": lambda: created(lambda m, _: m.hidden.bias.requires_grad_(False)),
    "one-parameter-left-out": lambda: created(lambda _, o: o.param_groups[0]["params"].pop()),
    "two-groups": lambda: created(_regrouped),
    "an-empty-second-group": lambda: created(lambda _, o: o.param_groups.append({"params": []})),
    "unlike-steps": lambda: created(_one_step_ahead),
    "another-activation": lambda: created(lambda m, _: setattr(m, "activation", nn.Tanh())),
    "another-output": lambda: created(lambda m, _: setattr(m, "output", _Doubled(8, 1))),
    "a-hook": lambda: created(lambda m, _: m.hidden.register_forward_hook(lambda *_: None)),
    "a-hook-before": lambda: created(lambda m, _: m.register_forward_pre_hook(lambda *_: None)),
    "autocast": lambda: torch.autocast("cpu")(created)(),
    "another-optimizer": lambda: NativeEpoch.create(
        (model := classifier()), torch.optim.Adam(model.parameters()), torch.from_numpy(X)
    ),
    "another-module": lambda: NativeEpoch.create(
        (model := nn.Linear(5, 1)), KerasAdam(model.parameters()), torch.from_numpy(X)
    ),
}


class _Doubled(nn.Linear):
    """A layer that the C++ source does not know."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize("case", OTHER)
def test_anything_else_is_not_compiled(case: str) -> None:
    """It would be trained as what it is not."""
    assert OTHER[case]() is None


@pytest.mark.parametrize(
    ("options", "epochs"), [({}, 3), ({"compiled": True}, 3), ({"compiled": False}, 0)]
)
def test_fit_takes_the_compiled_epoch_unless_told_otherwise(
    options: dict[str, bool], epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted where it is entered."""
    taken = []
    train = NativeEpoch.train

    def counted(self: NativeEpoch, *arguments: Any) -> Any:
        taken.append(arguments)
        return train(self, *arguments)

    monkeypatch.setattr(NativeEpoch, "train", counted)
    fit(classifier(), X, Y, batch_size=64, epochs=3, progress=False, **options)
    assert len(taken) == epochs


@pytest.mark.parametrize("conversion", ["op", "xla"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_compiled_epoch_drops_and_counts_what_the_eager_one_does(
    dropout: float, conversion: Any
) -> None:
    """For a reference under `jit_compile=True` too, which takes other bits of the same words.

    With one row the weights of a dropped unit stay where they were.
    """
    runs = []
    for compiled in (True, False):
        model = classifier(hidden_units=64, dropout=dropout)
        assert isinstance(model.dropout, KerasDropout)
        model.dropout.conversion = conversion
        start = model.hidden.weight.detach().clone()
        history = fit(
            model, X[:1], Y[:1], epochs=1, seed=1, progress=False, compiled=compiled
        ).history  # fmt: skip
        moved = (model.hidden.weight.detach() != start).tolist()
        runs.append((model.dropout.calls, moved, history["tp"]))
        assert history["loss"] == history["cross entropy"]
    assert runs[0] == runs[1]
    assert runs[0][0] == (1 if dropout else 0)


def test_the_compiled_losses_of_validation_are_one_sum() -> None:
    """`val_loss` and the metric of the same name are rounded once, from float64."""
    model = classifier()
    history = fit(model, X, Y, batch_size=64, epochs=9, validation_data=(X, Y), progress=False)
    assert history.history["val_loss"] == history.history["val_cross entropy"]


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no /proc/cpuinfo")
def test_a_build_is_named_by_the_processors_instructions() -> None:
    """A home folder shared by unlike machines keeps a build for each."""
    assert any(word in _processor() for word in ("flags", "Features"))
