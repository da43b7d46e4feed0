"""One training run in Keras, in PyTorch, and in float64 as the yardstick.

Rounding errors do not merely add up in training. Where a hidden unit's pre-activation lies so
near zero that two runs round it to different sides, the ReLU lets a row's gradient through in
one of them alone: the weights then move apart by a thousand times their rounding error within
ten steps. (At full size, prior bias, seed 42: 25 such flips in the first 4,050 steps of two
runs that were 1e-7 apart.) How far Keras happens to be from one float64 run is therefore one
draw from a wide distribution, and a second yardstick makes a second draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch

from parity_tests.agreement import StageResult, exact, merged, within, within_rounding
from parity_tests.bounds import first_adam_step, gradients
from parity_tests.keras_process import KerasProcess
from parity_tests.metric_spread import recorded_spreads
from parity_tests.step_trace import weights_after
from torch_impl import (
    EarlyStopping,
    FraudClassifier,
    History,
    KerasAdam,
    fit,
    load_keras_weights,
    to_keras_weights,
)
from torch_impl.keras_losses import binary_crossentropy_from_logits, mean_loss
from torch_impl.keras_random import dropout_mask, layer_seeds

__all__ = [
    "TorchRun",
    "compare_one_step",
    "compare_runs",
    "compare_steps",
    "torch_fit",
    "torch_one_step",
    "yardsticks",
]


class TorchRun(NamedTuple):
    """What a run of `torch_impl.fit` ends with, in NumPy and under Keras's names."""

    initial: dict[str, np.ndarray]
    final: dict[str, np.ndarray]
    momentum: dict[str, np.ndarray]
    velocity: dict[str, np.ndarray]
    history: History
    jumps: dict[str, list[float]]
    """For each series of the history how far each value may jump; of a float64 run alone."""
    trace: list[dict[str, np.ndarray]]
    """The weights after each step that was asked for."""


class _StoredInFloat32(KerasAdam):
    """Computes in float64 and keeps weights and moments as float32 would hold them."""

    gradients_too = False

    def _update(self, w: list[torch.Tensor], group: dict[str, Any]) -> None:
        if self.gradients_too:
            for parameter in w:
                assert parameter.grad is not None
                parameter.grad.copy_(parameter.grad.float())
        super()._update(w, group)
        for parameter in w:
            state = self.state_of(parameter)
            for kept in (parameter, state["momentum"], state["velocity"]):
                kept.copy_(kept.float())

    @staticmethod
    def alpha(step: int, group: dict[str, Any], dtype: torch.dtype) -> torch.Tensor:
        return KerasAdam.alpha(step, group, torch.float32).to(dtype)


class _RoundedGradients(_StoredInFloat32):
    """Rounds the gradients besides."""

    gradients_too = True


_KINDS = {"float64": KerasAdam, "stored": _StoredInFloat32, "gradients": _RoundedGradients}


def yardsticks(*data: np.ndarray, **options: Any) -> list[TorchRun]:
    """A run in float64, and two that keep in float32 what lasts from step to step.

    They round what every float32 run rounds: weights, moments, and Adam's step size, whose
    1 - β₂ᵗ float32 has to only four digits at the start; and the last its gradients too.
    """
    return [torch_fit(*data, dtype=torch.float64, rounded=rounded, **options) for rounded in _KINDS]


def torch_fit(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    output_bias: float | None = None,
    hidden_units: int = 16,
    dropout: float = 0.5,
    learning_rate: float = 1e-3,
    early_stopping: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    rounded: str = "float64",
    compiled: bool = True,
    batch_size: int = 2048,
    trace: Sequence[int] = (),
    device: str = "cpu",
    **options: Any,
) -> TorchRun:
    """The run of `keras_ref.training.fit` with the same arguments, without TensorFlow.

    What a run in float64 rounds to float32 besides is said by `rounded`, a key of `_KINDS`.
    """
    model = FraudClassifier(
        features.shape[1], hidden_units, dropout, output_bias, seed=seed, dtype=dtype, device=device
    )
    initial = to_keras_weights(model)
    optimizer = _KINDS[rounded](model.parameters(), lr=learning_rate)
    arguments: dict[str, Any] = {
        "seed": seed,
        "optimizer": optimizer,
        "batch_size": batch_size,
        "callbacks": [] if early_stopping is None else [EarlyStopping(**early_stopping)],
        "compiled": compiled,
        "progress": False,
        **options,
    }
    jumps: dict[str, list[float]] = {}
    with ExitStack() as watching:
        steps = watching.enter_context(weights_after(trace, model, optimizer))
        spreads = []
        if dtype == torch.float64 and options.get("metrics", True):
            spreads = watching.enter_context(recorded_spreads(model))
        history = fit(model, features, labels, **arguments)
    if spreads:
        passes = ["", "val_"] if options.get("validation_data") else [""]
        for index, spread in enumerate(spreads):
            for name, value in spread.items():
                jumps.setdefault(passes[index % len(passes)] + name, []).append(value)
    moments = {
        name: _as_weights(model, [optimizer.state_of(p)[name] for p in model.parameters()])
        for name in ("momentum", "velocity")
    }
    final = to_keras_weights(model)
    return TorchRun(initial, final, **moments, history=history, jumps=jumps, trace=steps)


def _as_weights(model: FraudClassifier, tensors: list[torch.Tensor]) -> dict[str, np.ndarray]:
    twin = FraudClassifier(model.in_features, model.hidden_units, dtype=tensors[0].dtype)
    with torch.no_grad():
        for parameter, tensor in zip(twin.parameters(), tensors, strict=True):
            parameter.copy_(tensor)
    return to_keras_weights(twin)


def _flat(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([arrays[name].ravel() for name in sorted(arrays)])


def compare_runs(
    prefix: str, ours: TorchRun, theirs: Mapping[str, Any], references: Sequence[TorchRun]
) -> list[StageResult]:
    """Rows for initial weights, final weights, moments and the history.

    Args:
        prefix: of the rows' names.
        ours: the float32 run.
        theirs: what `keras_ref.training.fit` gave.
        references: what `yardsticks` gave. One that early stopping ended elsewhere than
            Keras's run does not count.
    """
    references = [run for run in references if run.history.epoch == theirs["epoch"]]
    if not references:
        forms = f"the float64 runs took other epochs than Keras, {theirs['epoch']}"
        return [StageResult(prefix, "rounding", np.inf, 0, 0.0, None, False, forms)]
    rows = [
        merged(
            f"{prefix}: initial weights",
            [exact("", ours.initial[name], theirs["initial"][name]) for name in ours.initial],
        ),
        merged(
            f"{prefix}: weights",
            [
                within_rounding(
                    name,
                    ours.final[name],
                    theirs["final"][name],
                    [run.final[name] for run in references],
                )
                for name in ours.final
            ],
        ),
    ]
    # A square doubles relative errors: the velocity's root is compared, which is in the
    # gradient's unit and what a step divides by.
    for moment, form in (("momentum", _flat), ("velocity", lambda came: np.sqrt(_flat(came)))):
        mine, keras = form(getattr(ours, moment)), form(theirs[moment])
        wide = [form(getattr(run, moment)) for run in references]
        name = f"{prefix}: {'√' if moment == 'velocity' else ''}{moment}"
        rows.append(within_rounding(name, mine, keras, wide))
    return [*rows, compare_histories(prefix, ours.history, theirs, references)]


def compare_histories(
    prefix: str, ours: History, theirs: Mapping[str, Any], references: Sequence[TorchRun]
) -> StageResult:
    """One row for all losses and metrics of all epochs, keys, order and epochs included."""
    stage = f"{prefix}: history"
    keys = [list(h) for h in (ours.history, theirs["history"])]
    if keys[0] != keys[1] or ours.epoch != theirs["epoch"]:
        forms = f"PyTorch {keys[0]} {ours.epoch}, Keras {keys[1]} {theirs['epoch']}"
        return StageResult(stage, "rounding", np.inf, 0, 0.0, None, False, forms)
    return merged(
        stage,
        [
            within_rounding(
                name,
                np.float32(ours.history[name]),
                np.float32(theirs["history"][name]),
                [np.float64(run.history.history[name]) for run in references],
                np.float64(references[0].jumps.get(name, 0.0)),
            )
            for name in keys[0]
        ],
    )


def torch_one_step(
    weights: Mapping[str, np.ndarray],
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    dropout: float = 0.5,
    sample_weight: np.ndarray | None = None,
    device: str = "cpu",
) -> dict[str, dict[str, np.ndarray]]:
    """The step of `keras_ref.training.one_step` with the same arguments, without TensorFlow."""
    model = FraudClassifier(*weights["dense/kernel"].shape, dropout, seed=seed, device=device)
    load_keras_weights(model, weights)
    optimizer = KerasAdam(model.parameters())

    def there(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    losses = binary_crossentropy_from_logits(model(there(features)), there(labels))
    loss = mean_loss(losses, None if sample_weight is None else there(sample_weight))
    loss.backward()
    optimizer.step()
    states = [optimizer.state_of(p) for p in model.parameters()]
    return {
        "gradient": _as_weights(model, [p.grad for p in model.parameters()]),
        "momentum": _as_weights(model, [state["momentum"] for state in states]),
        "velocity": _as_weights(model, [state["velocity"] for state in states]),
        "weight": to_keras_weights(model),
    }


def compare_one_step(
    prefix: str, keras: KerasProcess, *data: Any, seed: int, **options: Any
) -> list[StageResult]:
    """Every gradient, moment and weight of one step of both, by the proven bound.

    Args:
        prefix: of the rows' names.
        keras: the reference's process.
        *data: weights, features and labels, as `torch_one_step` takes them.
        seed: which the dropout's seed follows from.
        **options: the rate and the rows' weights, likewise.
    """
    theirs = keras.call("training.one_step", *data, seed=seed, **options)
    ours = torch_one_step(*data, seed=seed, **options)
    return compare_steps(prefix, ours, theirs, *data, seed=seed, **options)


def compare_steps(
    prefix: str,
    ours: Mapping[str, Mapping[str, np.ndarray]],
    theirs: Mapping[str, Mapping[str, np.ndarray]],
    weights: Mapping[str, np.ndarray],
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    dropout: float = 0.5,
    sample_weight: np.ndarray | None = None,
) -> list[StageResult]:
    """The same for two steps that were taken, from what they were taken with."""
    units = weights["dense/kernel"].shape[1]
    kept = np.ones((len(features), units))
    if dropout:
        mask = dropout_mask(layer_seeds(seed, 2)[1], 0, dropout, range(len(features)), units)
        kept = mask.numpy() / (1 - dropout)
    bound = gradients(features, labels, weights, kept, sample_weight)
    expected = {
        name: {"gradient": bound[name], **first_adam_step(weights[name].astype(float), bound[name])}
        for name in bound
    }
    return [
        merged(
            f"{prefix}: {what}",
            [
                within(name, "proven", ours[what][name], theirs[what][name], *expected[name][what])
                for name in bound
            ],
        )
        for what in ours
    ]
