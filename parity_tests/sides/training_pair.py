"""One training run in Keras and in PyTorch, each in float32 and in float64.

Rounding errors do not merely add up in training. Where a hidden unit's pre-activation lies so
near zero that two runs round it to different sides, the ReLU lets a row's gradient through in
one of them alone: the weights then move apart by a thousand times their rounding error within
ten steps. (At full size, prior bias, seed 42: 25 such flips in the first 4,050 steps of two
runs that were 1e-7 apart.) In float64 a flip is a billion times as rare, so that two right
programs stay 1e-16 apart, and there a difference of semantics has nothing to hide behind.

No number that is expected or allowed here is computed by `torch_impl`: they are all Keras's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from parity_tests.judge.agreement import StageResult, exact, merged, no_farther, ulp_off, within
from parity_tests.judge.bounds import U32, U64, first_adam_step, gradients
from parity_tests.judge.sigmoid import SIGMOID_ULP
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.sides.step_trace import weights_after
from torch_impl import (
    EarlyStopping,
    FraudClassifier,
    KerasAdam,
    fit,
    load_keras_weights,
    to_keras_weights,
)
from torch_impl.keras.losses.functions import binary_crossentropy_from_logits, mean_loss

__all__ = [
    "Run",
    "Runs",
    "compare_runs",
    "compare_steps",
    "keras_fits",
    "torch_compiled_steps",
    "torch_fit",
    "torch_fits",
    "torch_steps",
]

Run = Mapping[str, Any]
"""What a run gives, in the form of `keras_ref.training.fit`."""
Runs = Mapping[str, Run]
"""The same run in `float32` and in `float64`; of Keras in float32 at its `edges` too."""

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def keras_fits(keras: KerasProcess, *data: np.ndarray, **options: Any) -> Runs:
    """A run in Keras, as `keras_ref.training.fits` makes it."""
    runs: Runs = keras.call("training.fits", *data, sigmoid_ulp=SIGMOID_ULP, **options)
    return runs


def torch_fits(*data: np.ndarray, **options: Any) -> Runs:
    """The same run in PyTorch, without TensorFlow."""
    return {name: torch_fit(*data, dtype=dtype, **options) for name, dtype in DTYPES.items()}


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
    trace: Sequence[int] = (),
    device: str = "cpu",
    **options: Any,
) -> Run:
    """The run of `keras_ref.training.fit` with the same arguments."""
    model = FraudClassifier(
        features.shape[1], hidden_units, dropout, output_bias, seed=seed, device=device
    )
    initial = to_keras_weights(model)
    model.to(dtype)
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
    with weights_after(trace, model, optimizer) as steps:
        history = fit(model, features, labels, **arguments)
    states = [optimizer.state_of(p) for p in model.parameters()]
    return {
        "history": history.history,
        "epoch": history.epoch,
        "initial": initial,
        "trace": steps,
        "final": to_keras_weights(model),
        **{
            name: _as_weights(model, [state[name] for state in states])
            for name in ("momentum", "velocity")
        },
        "iterations": int(states[0]["step"]),
    }


def _as_weights(model: FraudClassifier, tensors: list[torch.Tensor]) -> dict[str, np.ndarray]:
    twin = FraudClassifier(model.in_features, model.hidden_units, dtype=tensors[0].dtype)
    with torch.no_grad():
        for parameter, tensor in zip(twin.parameters(), tensors, strict=True):
            parameter.copy_(tensor)
    return to_keras_weights(twin)


def compare_runs(prefix: str, ours: Runs, theirs: Runs) -> list[StageResult]:
    """Rows for initial weights, and in both precisions for weights, moments and the history.

    Args:
        prefix: of the rows' names.
        ours: what `torch_fits` gave.
        theirs: what `keras_ref.training.fits` gave.
    """
    narrow, wide, edges = (theirs[name] for name in ("float32", "float64", "edges"))
    start = [
        exact(name, ours[dtype]["initial"][name], narrow["initial"][name])
        for dtype in DTYPES
        for name in narrow["initial"]
    ]
    rows = [merged(f"{prefix}: initial weights", start)]
    # The longest sum on the way is over a batch's rows, or over the inputs of a layer.
    terms = max(wide["batch"], *(len(array) for array in narrow["initial"].values()))
    # How far rounding took Keras is never measured on the very numbers that are judged by it.
    measured = {"rounding": [edges], "double": [narrow, edges]}
    for dtype, kind in (("float32", "rounding"), ("float64", "double")):
        mine, keras = ours[dtype], theirs[dtype]
        group = prefix if kind == "rounding" else f"{prefix}, {dtype}"
        forms = [(run["epoch"], run["iterations"], list(run["history"])) for run in (mine, keras)]
        if forms[0] != forms[1] or not wide["epoch"] == narrow["epoch"] == edges["epoch"]:
            told = (
                f"epochs, steps and keys: PyTorch {forms[0]}, Keras {forms[1]}; Keras's epochs in "
                f"float32 {narrow['epoch']} and {edges['epoch']}, in float64 {wide['epoch']}"
            )
            rows.append(StageResult(group, kind, np.inf, 0, 0.0, None, False, told))
            continue
        for stage, part in _PARTS.items():
            true = _arrays(part, wide, "float64")
            own = [_arrays(part, run, "float32") for run in measured[kind]]
            # NumPy's maximum, with which what is not known stays so.
            off = {name: np.max([ulp_off(run[name], true[name]) for run in own]) for name in true}
            jumps = edges["spread"] if part == "history" else {}
            # One number alone may be near by chance: what does not jump is off by what all are.
            all_off = np.max([off[name] for name in off if name not in jumps], initial=0.0)
            a, b = (_arrays(part, run, dtype) for run in (mine, keras))
            results = [
                no_farther(
                    name,
                    kind,
                    a[name],
                    b[name],
                    float(np.maximum(off[name], all_off)),
                    terms,
                    np.array(jumps.get(name, 0.0)) if kind == "rounding" else 0.0,
                )
                for name in b
            ]
            rows.append(merged(f"{group}: {stage}", results))
    return rows


_PARTS = {
    "weights": "final",
    "momentum": "momentum",
    "√velocity": "velocity",
    "history": "history",
}
"""The part of a run that a row compares."""


def _arrays(part: str, run: Run, dtype: str) -> dict[str, np.ndarray]:
    if part == "history":
        return {name: np.array(series, dtype) for name, series in run[part].items()}
    # A square doubles relative errors: the velocity's root is compared, which is in the
    # gradient's unit and what a step divides by.
    return {
        name: np.sqrt(array) if part == "velocity" else array for name, array in run[part].items()
    }


def torch_steps(*data: Any, **options: Any) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """The steps of `keras_ref.training.one_step_in_both`, without TensorFlow."""
    return {name: _step(*data, dtype=dtype, **options) for name, dtype in DTYPES.items()}


def torch_compiled_steps(*data: Any, **options: Any) -> dict[str, dict[str, Any]]:
    """What the same steps leave behind where the compiled epoch takes them: no gradient."""
    steps = {}
    for name, dtype in DTYPES.items():
        steps[name] = _step(*data, dtype=dtype, compiled=True, **options)
        del steps[name]["gradient"]
    return steps


def _step(
    weights: Mapping[str, np.ndarray],
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    dropout: float = 0.5,
    sample_weight: np.ndarray | None = None,
    device: str = "cpu",
    dtype: torch.dtype,
    compiled: bool = False,
) -> dict[str, dict[str, np.ndarray]]:
    model = FraudClassifier(*weights["dense/kernel"].shape, dropout, seed=seed, device=device)
    load_keras_weights(model, weights)
    optimizer = KerasAdam(model.to(dtype).parameters())
    if compiled:
        fit(
            model, features, labels, batch_size=len(features), sample_weight=sample_weight,
            shuffle=False, optimizer=optimizer, metrics=False, progress=False,
        )  # fmt: skip
    else:
        x, y = (torch.from_numpy(array).to(device, dtype) for array in (features, labels))
        weighted = None
        if sample_weight is not None:
            weighted = torch.from_numpy(sample_weight).to(device, dtype)
        mean_loss(binary_crossentropy_from_logits(model(x), y), weighted).backward()
        optimizer.step()
    parameters = list(model.parameters())
    states = [optimizer.state_of(p) for p in parameters]
    zeros = torch.zeros(())
    return {
        "gradient": _as_weights(model, [zeros if p.grad is None else p.grad for p in parameters]),
        "momentum": _as_weights(model, [state["momentum"] for state in states]),
        "velocity": _as_weights(model, [state["velocity"] for state in states]),
        "weight": to_keras_weights(model),
    }


def compare_steps(
    prefix: str,
    ours: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]],
    theirs: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]],
    weights: Mapping[str, np.ndarray],
    features: np.ndarray,
    labels: np.ndarray,
    *,
    dropout: float = 0.5,
    sample_weight: np.ndarray | None = None,
    **_: Any,
) -> list[StageResult]:
    """Every gradient, moment and weight of a step: by the proven bound, and in double.

    Args:
        prefix: of the rows' names.
        ours: what `torch_steps` or `torch_compiled_steps` gave; what it lacks is not compared.
        theirs: what `keras_ref.training.one_step_in_both` gave; which units it kept, too.
        weights: what the steps were taken with, in float32.
        features: likewise.
        labels: likewise.
        dropout: the rate.
        sample_weight: (N, 1), the rows' weights; None for ones.
        **_: what else the steps were taken with.
    """
    kept = theirs["kept"] / (1 - dropout)
    bound = gradients(features, labels, weights, kept, sample_weight)
    expected = {
        name: {"gradient": bound[name], **first_adam_step(weights[name].astype(float), bound[name])}
        for name in bound
    }
    rows = []
    for dtype, kind in (("float32", "proven"), ("float64", "double")):
        mine, keras = ours[dtype], theirs[dtype]
        # In float64 the bound is as much smaller as the unit roundoff is, and what it is
        # measured from was computed in float64 itself.
        ratio = 1.0 if kind == "proven" else 2 * U64 / U32
        for what in mine:
            results = [
                within(
                    name,
                    kind,
                    mine[what][name],
                    keras[what][name],
                    expected[name][what].value,
                    expected[name][what].allowance * ratio,
                )
                for name in bound
            ]
            group = prefix if kind == "proven" else f"{prefix}, {dtype}"
            rows.append(merged(f"{group}: {what}", results))
    return rows
