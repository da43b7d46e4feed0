"""One training run three times: in Keras, in PyTorch, and in float64 as the yardstick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from parity_tests.agreement import StageResult, exact, merged, within, within_rounding
from parity_tests.bounds import first_adam_step, gradients
from parity_tests.keras_process import KerasProcess
from parity_tests.metric_spread import recorded_spreads
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
from torch_impl.keras_random import dropout_mask

__all__ = ["TorchRun", "compare_one_step", "compare_runs", "torch_fit"]


class TorchRun(NamedTuple):
    """What a run of `torch_impl.fit` ends with, in NumPy and under Keras's names."""

    initial: dict[str, np.ndarray]
    final: dict[str, np.ndarray]
    momentum: dict[str, np.ndarray]
    velocity: dict[str, np.ndarray]
    history: History
    jumps: dict[str, list[float]]
    """For each series of the history how far each value may jump; of a float64 run alone."""


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
    compiled: bool = True,
    batch_size: int = 2048,
    **options: Any,
) -> TorchRun:
    """The run of `keras_ref.training.fit` with the same arguments, without TensorFlow."""
    model = FraudClassifier(
        features.shape[1], hidden_units, dropout, output_bias, seed=seed, dtype=dtype
    )
    initial = to_keras_weights(model)
    optimizer = KerasAdam(model.parameters(), lr=learning_rate)
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
    if dtype == torch.float64 and options.get("metrics", True):
        with recorded_spreads(model) as spreads:
            history = fit(model, features, labels, **arguments)
        passes = ["", "val_"] if options.get("validation_data") else [""]
        for index, spread in enumerate(spreads):
            for name, value in spread.items():
                jumps.setdefault(passes[index % len(passes)] + name, []).append(value)
    else:
        history = fit(model, features, labels, **arguments)
    moments = {
        name: _as_weights(model, [optimizer.state_of(p)[name] for p in model.parameters()])
        for name in ("momentum", "velocity")
    }
    return TorchRun(initial, to_keras_weights(model), **moments, history=history, jumps=jumps)


def _as_weights(model: FraudClassifier, tensors: list[torch.Tensor]) -> dict[str, np.ndarray]:
    twin = FraudClassifier(model.in_features, model.hidden_units, dtype=tensors[0].dtype)
    with torch.no_grad():
        for parameter, tensor in zip(twin.parameters(), tensors, strict=True):
            parameter.copy_(tensor)
    return to_keras_weights(twin)


def _flat(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([arrays[name].ravel() for name in sorted(arrays)])


def compare_runs(
    prefix: str, ours: TorchRun, theirs: Mapping[str, Any], reference: TorchRun
) -> list[StageResult]:
    """Rows for initial weights, final weights, moments and the history.

    Args:
        prefix: of the rows' names.
        ours: the float32 run.
        theirs: what `keras_ref.training.fit` gave.
        reference: the run in float64.
    """
    rows = [
        merged(
            f"{prefix}: initial weights",
            [exact("", ours.initial[name], theirs["initial"][name]) for name in ours.initial],
        ),
        merged(
            f"{prefix}: weights",
            [
                within_rounding(
                    name, ours.final[name], theirs["final"][name], reference.final[name]
                )
                for name in ours.final
            ],
        ),
    ]
    for moment in ("momentum", "velocity"):
        mine, keras, wide = getattr(ours, moment), theirs[moment], getattr(reference, moment)
        rows.append(within_rounding(f"{prefix}: {moment}", _flat(mine), _flat(keras), _flat(wide)))
    return [*rows, compare_histories(prefix, ours.history, theirs, reference)]


def compare_histories(
    prefix: str, ours: History, theirs: Mapping[str, Any], run: TorchRun
) -> StageResult:
    """One row for all losses and metrics of all epochs, keys, order and epochs included."""
    stage = f"{prefix}: history"
    reference = run.history
    keys = [list(h) for h in (ours.history, theirs["history"], reference.history)]
    epochs = [ours.epoch, theirs["epoch"], reference.epoch]
    if not keys[0] == keys[1] == keys[2] or not epochs[0] == epochs[1] == epochs[2]:
        forms = f"PyTorch {keys[0]} {epochs[0]}, Keras {keys[1]} {epochs[1]}"
        return StageResult(stage, "rounding", np.inf, 0, 0.0, None, False, forms)
    return merged(
        stage,
        [
            within_rounding(
                name,
                np.float32(ours.history[name]),
                np.float32(theirs["history"][name]),
                np.float64(reference.history[name]),
                np.float64(run.jumps.get(name, 0.0)),
            )
            for name in keys[0]
        ],
    )


def compare_one_step(
    prefix: str,
    keras: KerasProcess,
    weights: Mapping[str, np.ndarray],
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    dropout: float = 0.5,
    sample_weight: np.ndarray | None = None,
) -> list[StageResult]:
    """Every gradient, moment and weight of one step from given weights, by the proven bound."""
    theirs = keras.call(
        "training.one_step", dict(weights), features, labels, seed=seed, dropout=dropout,
        sample_weight=sample_weight,
    )  # fmt: skip
    model = FraudClassifier(*weights["dense/kernel"].shape, dropout, seed=seed)
    load_keras_weights(model, weights)
    optimizer = KerasAdam(model.parameters())
    losses = binary_crossentropy_from_logits(
        model(torch.from_numpy(features)), torch.from_numpy(labels)
    )
    loss = mean_loss(losses, None if sample_weight is None else torch.from_numpy(sample_weight))
    loss.backward()
    optimizer.step()
    states = [optimizer.state_of(p) for p in model.parameters()]
    ours = {
        "gradient": _as_weights(model, [p.grad for p in model.parameters()]),
        "momentum": _as_weights(model, [state["momentum"] for state in states]),
        "velocity": _as_weights(model, [state["velocity"] for state in states]),
        "weight": to_keras_weights(model),
    }
    units = weights["dense/kernel"].shape[1]
    kept = np.ones((len(features), units))
    if dropout:
        mask = dropout_mask(model.seeds[1], 0, dropout, range(len(features)), units)
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
                within(
                    f"{name}", "proven", ours[what][name], theirs[what][name], *expected[name][what]
                )
                for name in bound
            ],
        )
        for what in ours
    ]
