"""`fit`, `evaluate` and `predict` as a PyTorch project meets them."""

from __future__ import annotations

import io
import math
import os
import pickle
import random
import re
import subprocess
import sys
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from itertools import count, groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from parity_tests import ROOT
from parity_tests.judge import bounds
from torch_impl import (
    Callback,
    FeatureTransform,
    FraudClassifier,
    History,
    KerasAdam,
    KerasNetwork,
    evaluate,
    fit,
    oversample,
    predict,
    to_keras_weights,
)
from torch_impl.keras.dropout import KerasDropout
from torch_impl.keras.network import Layer, Network
from torch_impl.keras.random import dropout_mask, shuffle_permutation

ROWS, FEATURES = 300, 5


def rows_and_labels(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, FEATURES)).astype(np.float32)
    return x, (x[:, :1] + generator.normal(size=(rows, 1)) > 1).astype(np.float32)


def trained(x: Any, y: Any = None, **options: Any) -> tuple[dict[str, Tensor], History]:
    model = FraudClassifier(FEATURES, 8, seed=3)
    options = {"batch_size": 64, "epochs": 2, "seed": 3, "progress": False} | options
    history = fit(model, x, y, **options)
    return model.state_dict(), history


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


class Pairs(Dataset):  # type: ignore[type-arg]
    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return torch.from_numpy(self.x[index]), float(self.y[index, 0])


FORMS: dict[str, Any] = {
    "tensors": lambda x, y: (torch.from_numpy(x), torch.from_numpy(y)),
    "flat-labels": lambda x, y: (x, y[:, 0]),
    "integer-labels": lambda x, y: (x, y.astype(np.int64)),
    "boolean-labels": lambda x, y: (x, y > 0),
    "lists": lambda x, y: (x.tolist(), y.tolist()),
    "float64-rows": lambda x, y: (x.astype(np.float64), y),
    "columns-first": lambda x, y: (np.asfortranarray(x), np.asfortranarray(y)),
    "every-second-row": lambda x, y: (np.repeat(x, 2, axis=0)[::2], np.repeat(y, 2, axis=0)[::2]),
    "tensor-dataset": lambda x, y: (TensorDataset(torch.tensor(x), torch.tensor(y)), None),
    "dataset": lambda x, y: (Pairs(x, y), None),
}


def network_ending(activation: Any) -> Network:
    return Network(FEATURES, (Layer("Dense", "a", 4), Layer("Dense", "b", 3, activation)))


def read_only(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    return x, y


@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in-order"])
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
@pytest.mark.parametrize("form", [*FORMS, "read-only-arrays"])
def test_rows_of_every_form_train_to_the_same_bits(
    form: str, compiled: bool, shuffle: bool
) -> None:
    """And the caller's arrays are left as they were."""
    x, y = rows_and_labels()
    options: dict[str, Any] = {"compiled": compiled, "shuffle": shuffle}
    expected = trained(x, y, validation_data=(x, y), **options)
    kept = x.copy(), y.copy()
    given = (FORMS | {"read-only-arrays": read_only})[form](x, y)
    held_out = given[0] if given[1] is None else given
    weights, history = trained(*given, validation_data=held_out, **options)
    assert_same(weights, expected[0])
    assert history == expected[1]
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(y, kept[1])


@pytest.mark.parametrize("form", [np.asarray, torch.tensor, np.ndarray.tolist])
def test_rows_and_weights_of_float64_are_rounded_to_the_nearest(form: Any) -> None:
    """As NumPy rounds them, whatever holds them: the rows of float32 give the same bits."""
    wide = np.random.default_rng(5).normal(size=(40, FEATURES)) / 3
    weight, y = np.abs(wide[:, 0]), (wide[:, :1] > 0).astype(np.float32)
    x, narrow_weight = wide.astype(np.float32), weight.astype(np.float32)
    assert_same(
        trained(form(wide), y, sample_weight=form(weight))[0],
        trained(x, y, sample_weight=narrow_weight)[0],
    )
    model = FraudClassifier(FEATURES, 8, seed=3)
    assert torch.equal(predict(model, form(wide)), predict(model, x))


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
@pytest.mark.parametrize("of_group", [True, False], ids=["of-its-group", "its-own"])
def test_fit_takes_adams_numbers_as_the_equation_says(of_group: bool, compiled: bool) -> None:
    """Given to it or set later, as a scheduler does: ten steps of one bias against float64."""
    lr, b1, b2, eps = 0.02, 0.8, 0.95, 1e-3
    numbers = {"lr": lr, "betas": (b1, b2), "eps": eps}
    model = FraudClassifier(output_bias=-1.0, seed=3, dtype=torch.float64)
    optimizer = KerasAdam(model.parameters(), **({} if of_group else numbers))
    optimizer.param_groups[0].update(numbers)
    y = np.float64([1, 0, 0, 0])  # of rows of zeros, on which every unit is 0
    options = {"optimizer": optimizer, "epochs": 10, "compiled": compiled, "progress": False}
    fit(model, np.zeros((4, 29)), y, **options)
    bias, m, v = -1.0, 0.0, 0.0
    for t in range(1, 11):
        g = 1 / (1 + math.exp(-bias)) - y.mean()
        m, v = m + (g - m) * (1 - b1), v + (g * g - v) * (1 - b2)
        p1, p2 = (float(np.float32(b)) ** t for b in (b1, b2))  # Keras's cast of a number
        bias -= m * (lr * math.sqrt(1 - p2) / (1 - p1)) / (math.sqrt(v) + eps)
    # A step is some forty roundings of numbers no larger than 2.
    assert abs(model.output.bias.item() - bias) <= 10 * bounds.gamma(40, bounds.U64) * 2


class Endless(IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        while True:
            yield torch.zeros(FEATURES), 0.0


class Ragged(Pairs):
    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return torch.zeros(FEATURES - (index == 7)), 0.0


X, Y = rows_and_labels()
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no-rows": ({"x": X[:0], "y": Y[:0]}, "fit: x has no rows"),
    "no-labels": ({"x": X}, "fit: y is missing"),
    "one-axis": ({"x": X[0], "y": Y[:5]}, "fit: x came as (5,); expected (N, F)"),
    "labels-too-few": ({"x": X, "y": Y[:-1]}, "fit: y came as (299, 1); expected (300, 1)"),
    "labels-in-a-row": ({"x": X, "y": Y.T}, "fit: y came as (1, 300); expected (300, 1)"),
    "labels-in-two-columns": ({"x": X, "y": X[:, :2]}, "fit: y came as (300, 2)"),
    "label-two": ({"x": X, "y": Y + 1}, "fit: y holds labels other than 0 and 1"),
    "label-half": ({"x": X, "y": Y / 2}, "fit: y holds labels other than 0 and 1"),
    "label-nan": ({"x": X, "y": Y * np.nan}, "fit: y holds labels other than 0 and 1"),
    "width": ({"x": X[:, :4], "y": Y}, "features came as (64, 4); expected (N, 5)"),
    "batch-size": ({"x": X, "y": Y, "batch_size": 0}, "batch_size=0"),
    "epochs": ({"x": X, "y": Y, "epochs": -1}, "epochs=-1"),
    "steps": ({"x": X, "y": Y, "steps_per_epoch": 0}, "steps_per_epoch=0"),
    "weights-too-few": ({"x": X, "y": Y, "sample_weight": Y[:9]}, "sample_weight came as (9, 1)"),
    "weights-in-a-row": ({"x": X, "y": Y, "sample_weight": Y.T}, "weight came as (1, 300)"),
    "validation-label-half": (
        {"x": X, "y": Y, "validation_data": (X, Y / 2)},
        "fit: validation_data: y holds labels other than 0 and 1",
    ),
    "both-weights": (
        {"x": X, "y": Y, "sample_weight": Y, "class_weight": {0: 1.0}},
        "class_weight and sample_weight came both",
    ),
    "validation-alone": ({"x": X, "y": Y, "validation_data": X}, "fit: validation_data: expected"),
    "validation-width": ({"x": X, "y": Y, "validation_data": (X[:, :3], Y)}, "x came as (300, 3)"),
    "endless": ({"x": Endless()}, "the Dataset has no length"),
    "ragged": ({"x": Ragged(X, Y)}, "item 7 of the Dataset has a row of 4"),
    "no-pairs": ({"x": TensorDataset(torch.zeros(3, 5))}, "item 0 of the Dataset is no (row,"),
    "labels-beside-dataset": ({"x": Pairs(X, Y), "y": Y}, "y came beside a Dataset"),
    "seed": ({"x": X, "y": Y, "seed": 2**32}, "seed=4294967296; expected a whole number from 0 to"),
    **{
        f"{name}-{value!r}": ({"x": X, "y": Y, name: value}, f"fit: {name}={value!r}"[:60])
        for name in ("batch_size", "epochs", "steps_per_epoch", "seed")
        for value in (2**63, 2**64 + 1, -(2**70), 1.0, 1.5, np.nan, True, np.float32(3))
    },
    **{
        f"{name}-text": ({"x": X, "y": Y, name: "32"}, f"fit: {name}='32'; expected a whole number")
        for name in ("batch_size", "epochs", "steps_per_epoch", "seed")
    },
    "loader": ({"x": DataLoader(Pairs(X, Y))}, "x is a DataLoader, which makes batches of its own"),
    "class-2": (
        {"x": X, "y": Y, "class_weight": {0: 1.0, 2: 3.0}},
        "class_weight: class=2; expected a whole number from 0 to 1",
    ),
    "validation-of-four": (
        {"x": X, "y": Y, "validation_data": (X, Y, Y, Y)}, "expected (x, y), (x, y, sample_weight)",
    ),
    "validation-weights-too-few": (
        {"x": X, "y": Y, "validation_data": (X, Y, Y[:5])},
        "validation_data: sample_weight came as (5, 1); expected (300, 1)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_trained(case: str, compiled: bool) -> None:
    """One line that says where, what came and what was expected."""
    arguments, message = BAD[case]
    model = FraudClassifier(FEATURES, 8, seed=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    options = {"batch_size": 64, "progress": False, "compiled": compiled} | arguments
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        fit(model, **options)
    assert "\n" not in str(error.value)
    assert_same(model.state_dict(), before)


def test_oversampling_refuses_what_it_cannot_balance() -> None:
    """Nothing to draw from, labels of no class, or of another number."""
    for labels, message in ((Y * 0, "no label 1"), (Y + 1, "other than"), (Y[:3], "(3, 1)")):
        with pytest.raises(ValueError, match=re.escape(message)):
            oversample(X, labels, seed=0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_oversampled_rows_are_the_rows_that_are_drawn(dtype: type) -> None:
    """Bit for bit in every dtype: rows of numbers and of their places are drawn alike."""
    rows = (X.astype(np.float64) * 1000 / 3).astype(dtype)
    places, _ = oversample(np.arange(ROWS)[:, None], Y, seed=3)
    came, labels = oversample(rows, Y, seed=3)
    np.testing.assert_array_equal(came, rows[places[:, 0]], strict=True)
    np.testing.assert_array_equal(labels, Y[places[:, 0]], strict=True)


def test_dropout_does_not_depend_on_what_was_asked_before() -> None:
    """Batches of changing size, another layer between, and a call after a jump."""
    layer, other = KerasDropout(0.4, seed=11), KerasDropout(0.4, seed=12)
    ones = torch.ones(3000, 7)
    for call, rows in enumerate([5, 5, 64, 1, 0, 65, 3000, *range(1, 30)]):
        other(ones)
        kept = layer(ones[:rows]) != 0
        assert torch.equal(kept, dropout_mask(11, call, 0.4, range(rows), 7)), (call, rows)
    layer.calls = 2**31
    assert torch.equal(layer(ones) != 0, dropout_mask(11, 2**31, 0.4, range(3000), 7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_dropout_is_where_bit_for_bit_forward_and_backward(dtype: torch.dtype) -> None:
    """As Keras writes it: what is dropped is +0, be it negative, infinite or NaN."""
    x = torch.tensor([1.5, -2.0, 0.0, -0.0, torch.inf, -torch.inf, torch.nan], dtype=dtype)
    x = torch.cat([x.repeat(40, 1), torch.arange(1, 281).reshape(40, 7).to(dtype) / 77])
    x.requires_grad_()
    gradient = x.detach().roll(1, dims=1)
    kept = dropout_mask(5, 0, 0.3, range(80), 7)
    scale = torch.full_like(x, 1 / (1 - 0.3))  # rounded to the dtype, as TensorFlow rounds it
    expected = torch.where(kept, x * scale, 0)
    came = KerasDropout(0.3, seed=5)(x)
    (expected_gradient,) = torch.autograd.grad(expected, x, gradient)
    (came_gradient,) = torch.autograd.grad(came, x, gradient)
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    for ours, where in ((came, expected), (came_gradient, expected_gradient)):
        assert torch.equal(ours.detach().view(integer), where.detach().view(integer))


def test_dropout_has_a_second_derivative() -> None:
    """Of its gradient, which is linear in what comes from above: scale where kept."""
    x = torch.ones(6, 4, requires_grad=True)
    above = torch.ones(6, 4, requires_grad=True)
    out = KerasDropout(0.5, seed=5)(x)
    (gradient,) = torch.autograd.grad(out, x, above, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), above)
    assert torch.equal(second, 2.0 * dropout_mask(5, 0, 0.5, range(6), 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [0.0, -20.0])
def test_predict_gives_probabilities_without_dropout_and_keeps_the_mode(
    bias: float, dtype: torch.dtype
) -> None:
    """In batches of any size, of no rows too; the smallest to their own last digits."""
    model = FraudClassifier(FEATURES, 8, 0.9, bias, seed=3, dtype=dtype).train()
    expected = bounds.forward(bounds.exactly(X), to_keras_weights(model))["probabilities"]
    # In float64 it is as much smaller, but that what is expected was computed in float64 itself.
    ratio = 1 if dtype == torch.float32 else 2 * bounds.U64 / bounds.U32
    ways = [predict(model, X, batch_size=batch_size) for batch_size in (1, 7, 300, 10_000)]
    for p in (*ways, model.predict_proba(torch.from_numpy(X).to(dtype))):
        assert (p.shape, p.dtype) == ((ROWS, 1), dtype)
        assert not p.requires_grad
        assert (np.abs(p.numpy() - expected.value) <= expected.allowance * ratio).all()
    assert predict(model, X[:0]).shape == (0, 1)
    assert model.training
    assert isinstance(model.dropout, KerasDropout)
    assert model.dropout.calls == 0


def test_evaluate_gives_what_fit_reports_for_validation() -> None:
    """The same keys without `val_`; of no rows numbers too."""
    model = FraudClassifier(FEATURES, 8, seed=3)
    history = fit(
        model, X, Y, batch_size=64, validation_data=(X, Y), progress=False, compiled=False
    )
    found = evaluate(model, X, Y, batch_size=64)
    assert {f"val_{name}": [value] for name, value in found.items()} == {
        name: values for name, values in history.history.items() if name.startswith("val_")
    }
    assert evaluate(model, X, Y, metrics=False) == {"loss": found["loss"]}
    assert evaluate(model, X[:0], Y[:0])["loss"] == 0


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_history_holds_what_float32_held(compiled: bool) -> None:
    """As Keras's does; early stopping compares those numbers."""
    _, history = trained(X, Y, compiled=compiled, validation_data=(X, Y))
    for name, values in history.history.items():
        assert values == [float(np.float32(value)) for value in values], name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_history_is_held_in_float32_or_in_float64_where_the_model_is(dtype: torch.dtype) -> None:
    """Two of three rows are right: a share that each dtype holds otherwise; keys are in order."""
    model = nn.Linear(1, 1, dtype=dtype)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    rows = np.zeros((3, 1)), np.array([0, 0, 1])
    history = fit(model, *rows, validation_data=rows, progress=False).history
    held = np.float64 if dtype == torch.float64 else np.float32
    assert history["accuracy"] == [float(held(2 / 3))]
    names = [name for name in history if not name.startswith("val_")]
    assert [*history] == [*sorted(names), *(f"val_{name}" for name in sorted(names))]
    assert len(names) == 12


@pytest.mark.parametrize(
    ("rows", "steps", "epochs"),
    [
        (10, 1, ["012", "345", "678", "9", "012"]),
        (10, 2, ["012 345", "678 9", "012 345"]),
        (10, 3, ["012 345 678", "9", "012 345 678"]),
        (10, 4, ["012 345 678 9"] * 2),
        (10, 9, ["012 345 678 9"] * 2),
        (9, 3, ["012 345 678"] * 2),
        (6, 1, ["012", "345", "012"]),
        (2, 1, ["01", "01"]),
    ],
)
def test_epochs_of_some_steps_walk_through_the_rows(
    rows: int, steps: int, epochs: list[str]
) -> None:
    """One that comes to the end is shorter, and the next starts over; batches of three."""
    model = nn.Linear(1, 1)
    seen: list[str] = []
    model.register_forward_hook(
        lambda _m, inputs, _o: seen.append("".join(f"{row:.0f}" for row in inputs[0][:, 0]))
    )
    fit(
        model, torch.arange(float(rows))[:, None], torch.zeros(rows), batch_size=3,
        epochs=len(epochs), steps_per_epoch=steps, shuffle=False, progress=False,
    )  # fmt: skip
    assert seen == " ".join(epochs).split()


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


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_a_missing_number_in_training_stays_visible(compiled: bool) -> None:
    """A NaN feature makes loss, weights and validation NaN; the ReLU does not hide it."""
    spoilt = X.copy()
    spoilt[7, 2] = np.nan
    weights, history = trained(spoilt, Y, compiled=compiled, validation_data=(X, Y))
    assert np.isnan(history.history["loss"]).all()
    assert np.isnan(history.history["val_loss"]).all()
    assert weights["hidden.weight"].isnan().any()
    _, history = trained(X, Y, compiled=compiled, validation_data=(spoilt, Y))
    assert np.isfinite(history.history["loss"]).all()
    assert np.isnan(history.history["val_loss"]).all()


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_a_probability_of_one_half_is_no_positive(compiled: bool) -> None:
    """As in Keras, whose thresholds are strict: what a new model gives for a row of zeros."""
    y = np.float32([[0], [1], [1], [0], [1]])
    _, history = trained(np.zeros((5, FEATURES), np.float32), y, compiled=compiled, epochs=1)
    counts = {name: history.history[name] for name in ("tp", "fp", "tn", "fn")}
    assert counts == {"tp": [0], "fp": [0], "tn": [2], "fn": [3]}
    assert history.history["accuracy"] == [np.float32(0.4)]


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


def test_without_a_seed_torchs_generator_decides() -> None:
    """Equal after `torch.manual_seed`, different otherwise."""
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = FraudClassifier(FEATURES, 8)
        fit(model, X, Y, batch_size=64, progress=False)
        runs.append(model.state_dict())
    assert_same(runs[0], runs[1])
    assert not torch.equal(runs[0]["hidden.weight"], runs[2]["hidden.weight"])


def test_rows_are_taken_in_keras_order() -> None:
    """What a hook sees is the permutation's batches, the short one last, in each epoch."""
    x = torch.arange(10.0).reshape(10, 1)
    model = FraudClassifier(1, 8, seed=5)
    seen: list[list[float]] = []
    model.hidden.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0][:, 0].tolist()))
    fit(model, x, torch.zeros(10), batch_size=4, epochs=2, seed=5, progress=False)
    order = shuffle_permutation(5, 10).tolist()
    assert seen == [order[:4], order[4:8], order[8:]] * 2


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


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_no_gradient_flows_into_what_the_caller_gave(compiled: bool) -> None:
    """Rows, labels or weights of rows may be part of a graph of the caller's."""
    x, y, weight = (torch.tensor(a, requires_grad=True) for a in (X, Y, Y + 1))
    given, history = trained(
        x * 1, y * 1, sample_weight=weight * 1, validation_data=(x * 1, y * 1), compiled=compiled
    )
    assert [tensor.grad for tensor in (x, y, weight)] == [None] * 3
    weights, expected = trained(
        X, Y, sample_weight=Y + 1, validation_data=(X, Y), compiled=compiled
    )
    assert_same(given, weights)
    assert history == expected
    assert not predict(nn.Linear(FEATURES, 1), x, from_logits=True).requires_grad


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_weights_of_rows_are_a_column_in_every_form(compiled: bool) -> None:
    """(N,), (N, 1), a list, of another dtype, or of classes, of which one may be left out."""
    y = Y[:, 0]
    forms: list[dict[str, Any]] = [
        {"sample_weight": np.where(y == 1, 0.0, 2.0)},
        {"sample_weight": np.where(Y == 1, np.float32(0), np.float32(2))},
        {"sample_weight": (2 - 2 * y.astype(int)).tolist()},
        {"class_weight": {1: 0, 0: 2}},
    ]
    of_one = [{"sample_weight": 1 + 8 * Y}, {"class_weight": {1: 9}}]
    for same in (forms, of_one):
        runs = [trained(X, Y, compiled=compiled, **form) for form in same]
        for weights, history in runs[1:]:
            assert_same(weights, runs[0][0])
            assert history == runs[0][1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("given", [np.float32, np.float64], ids=lambda given: given.__name__)
def test_rows_reach_the_model_rounded_once_to_its_own_dtype(
    given: type[np.floating], dtype: torch.dtype
) -> None:
    """1 + 2**-40 and the like keep their last bits in float64, as NumPy has them."""
    x = (1 + np.arange(33)[:, None] * 2.0**-40 + np.arange(33)[:, None] * 2.0**-20).astype(given)
    expected = x.astype(str(dtype).removeprefix("torch."))
    model = nn.Linear(1, 1, dtype=dtype)
    seen: list[np.ndarray] = []
    model.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0].numpy()))
    y = np.zeros(33)
    fit(model, x, y, batch_size=33, shuffle=False, validation_data=(x, y), progress=False)
    evaluate(model, x, y)
    predict(model, x, from_logits=True)
    assert len(seen) == 4
    for rows in seen:  # which validation and prediction may take in any order
        np.testing.assert_array_equal(np.sort(rows, axis=0), expected, strict=True)


@pytest.mark.slow
def test_where_no_compiler_is_one_warning_and_the_eager_path(tmp_path: Path) -> None:
    """The same bits as `compiled=False`, and no second warning in the same process."""
    program = """
import warnings, torch
from parity_tests.training.test_training import X, Y, assert_same, trained
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    weights, _ = trained(X, Y)
    trained(X, Y)
assert_same(weights, trained(X, Y, compiled=False)[0])
print(*[w.message for w in caught], sep="\\n")
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
        env={"CXX": "/no/such/compiler", "XDG_CACHE_HOME": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    (warning,) = answer.stdout.splitlines()
    assert "slower eager path" in warning
    assert "'/no/such/compiler'" in warning


@pytest.mark.slow
def test_the_short_last_batch_compiles_nothing_again(tmp_path: Path) -> None:
    """One library for all batch sizes; a second process finds it ready."""
    program = """
import torch
from torch_impl import FraudClassifier, fit
for batch_size in (64, 299, 300, 1000, 1):
    model = FraudClassifier(6, 8, seed=1)
    fit(model, torch.ones(300, 6), torch.ones(300), batch_size=batch_size, progress=False)
"""
    stamps = []
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program], cwd=ROOT, check=True,
            env={"XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin"},
        )  # fmt: skip
        (library,) = (tmp_path / "torch_impl").iterdir()
        stamps.append((library.name, library.stat().st_mtime_ns))
    assert stamps[0] == stamps[1]


@pytest.mark.slow
def test_fit_holds_one_copy_of_the_rows_besides_the_callers() -> None:
    """Peak memory of a process that trains on 58 MB grows by less than 1.5 times that.

    On either path, compiled and eager.
    """
    program = """
import torch
from pathlib import Path
from torch_impl import FraudClassifier, fit
# Not ru_maxrss, which begins at the size of the process that started this one.
status = Path("/proc/self/status")
peak = lambda: 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
x, y = torch.ones(500_000, 29), torch.ones(500_000, 1)
for compiled in (True, False):
    options = dict(batch_size=32768, seed=1, progress=False, compiled=compiled)
    fit(FraudClassifier(29, 16, seed=1), x[:35000], y[:35000], **options)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
    before = peak()
    fit(FraudClassifier(29, 16, seed=1), x, y, **options)
    print((peak() - before) / x.nbytes)
"""
    # glibc learns from what is freed and then keeps blocks of up to 32 MB, in holes that the
    # next ones need not fit: without this the same run was seen to take 1.36 to 1.56.
    returned = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | returned,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    compiled, eager = map(float, answer.stdout.split())
    assert 0.9 < compiled < 1.5
    assert 0.9 < eager < 1.5


def test_the_progress_bar_can_be_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written to a pipe or where progress=False."""
    trained(X, Y, progress=True)
    trained(X, Y, progress=False)
    assert capsys.readouterr() == ("", "")


class Broken(Callback):
    def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
        raise RuntimeError("broken")


def test_training_leaves_threads_and_warnings_as_they_were() -> None:
    """Also where a callback raises; three threads are more than one, and than most machines'."""
    threads, filters = torch.get_num_threads(), list(warnings.filters)
    try:
        torch.set_num_threads(3)
        trained(X, Y)
        assert torch.get_num_threads() == 3
        with pytest.raises(RuntimeError, match="broken"):
            trained(X, Y, callbacks=[Broken()])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert warnings.filters == filters


def sizes_seen(function: Any, *arguments: Any) -> list[int]:
    """How many rows a module gets at a time."""
    model = nn.Linear(1, 1)
    seen: list[int] = []
    model.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    function(model, *arguments)
    return seen


def test_batches_of_training_have_keras_default_size() -> None:
    """32 rows; where nothing is learnt another size changes nothing."""
    assert sizes_seen(fit, torch.zeros(33, 1), torch.zeros(33)) == [32, 1]


def test_losses_are_summed_in_float64() -> None:
    """A loss of 2**24 and three of 1.3: their mean is the one that float64 gives."""
    x, y = torch.tensor([[2.0**24], [1.0], [1.0], [1.0]]), torch.zeros(4)
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    rest = float(np.float32(math.log1p(math.exp(-1)) + 1))
    expected = float(np.float32((2.0**24 + 3 * rest) / 4))
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    history = fit(
        model, x, y, batch_size=1, optimizer=still, shuffle=False, metrics=False, progress=False
    )
    assert history.history["loss"] == [expected]
    for batch_size in (1, 4):
        assert evaluate(model, x, y, batch_size=batch_size, metrics=False)["loss"] == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
@pytest.mark.parametrize("rows", [1, 65, 1000, 5001])
def test_the_loss_is_the_mean_over_all_rows_however_many(
    rows: int, compiled: bool, dtype: torch.dtype
) -> None:
    """In closed form where every logit is the output bias and nothing is learnt."""
    bias, batch = 1.5, 64
    labels = np.arange(rows) % 7 == 0
    expected = math.log1p(math.exp(bias)) - bias * labels.mean()
    model = FraudClassifier(FEATURES, 8, output_bias=bias, seed=3, dtype=dtype)
    with torch.no_grad():
        model.output.weight.zero_()
    x = np.zeros((rows, FEATURES), np.float32)
    history = fit(
        model, x, labels, batch_size=batch, validation_data=(x, labels), compiled=compiled,
        optimizer=KerasAdam(model.parameters(), lr=0.0), progress=False,
    )  # fmt: skip
    u = bounds.U64 if dtype == torch.float64 else bounds.U32
    # A row's loss is a few roundings off, a batch's mean one for each of its rows; the sum of
    # the batches is float64's.
    allowed = (bounds.gamma(batch + 8, u) + bounds.gamma(rows, bounds.U64)) * (
        math.log1p(math.exp(bias)) + bias
    )
    for name in ("loss", "val_loss", "cross entropy", "val_cross entropy"):
        assert abs(history.history[name][0] - expected) <= allowed, name


def test_what_has_a_seed_leaves_every_other_generator_as_it_was() -> None:
    """torch's, NumPy's and Python's, whatever is drawn on the way."""

    def states() -> list[Any]:
        numpys = np.random.mtrand._rand  # what np.random.seed and friends share
        return [torch.get_rng_state().tolist(), random.getstate(), pickle.dumps(numpys)]

    before = states()
    for compiled in (True, False):
        trained(*oversample(X, Y, seed=0), validation_data=(X, Y), compiled=compiled)
        trained(X, Y, seed=None, shuffle=False, compiled=compiled)  # then there is no order to draw
    assert states() == before


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("z", [-20.0, -2.5, 0.0, 7.0, 20.0])
def test_losses_are_right_to_their_own_last_digits(
    z: float, dtype: torch.dtype, compiled: bool
) -> None:
    """Of one row and of many, trained on and held out: log(1 + exp(±z)), however small.

    What is trained on has a weight that neither float holds.
    """
    unit = bounds.U32 if dtype == torch.float32 else bounds.U64
    for rows, label in ((1, 0.0), (1, 1.0), (9, 0.0), (9, 1.0)):
        model = FraudClassifier(output_bias=z, seed=3, dtype=dtype)
        data = np.zeros((rows, 29)), np.full(rows, label)
        history = fit(
            model, *data, batch_size=4, validation_data=data, compiled=compiled, progress=False,
            optimizer=KerasAdam(model.parameters(), lr=0.0), sample_weight=np.full(rows, 1 / 3),
        ).history  # fmt: skip
        loss = np.logaddexp(0, z * (1 - 2 * label))
        others = dict.fromkeys(("cross entropy", "val_loss", "val_cross entropy"), loss)
        for name, expected in {"loss": loss / 3, **others}.items():
            # An exponential and a logarithm of 4 ULP each, on both sides, and three sums.
            error = abs(history[name][0] - expected)
            assert error <= bounds.gamma(40 + rows, unit) * expected, (name, rows, label)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
def test_validation_rows_may_have_weights(compiled: bool) -> None:
    """In `val_loss`, divided by the rows, and not in the metrics: two rows in closed form."""
    x, y, weights = np.zeros((2, FEATURES)), np.array([0.0, 1.0]), np.array([3.0, 0.5])
    model = FraudClassifier(FEATURES, 8, output_bias=1.0, seed=3, dtype=torch.float64)
    history = fit(
        model, x, y, validation_data=(x, y, weights), compiled=compiled, progress=False,
        optimizer=KerasAdam(model.parameters(), lr=0.0),
    ).history  # fmt: skip
    of_0, of_1 = math.log1p(math.exp(1)), math.log1p(math.exp(-1))
    allowed = bounds.gamma(20, bounds.U64) * 3
    for name, expected in (
        ("val_loss", (3 * of_0 + of_1 / 2) / 2),
        ("val_cross entropy", (of_0 + of_1) / 2),
        ("loss", (of_0 + of_1) / 2),
    ):
        assert abs(history[name][0] - expected) <= allowed, name


@pytest.mark.parametrize("form", [np.int8, np.int64, np.uint64, torch.tensor])
def test_integers_of_any_library_serve(form: Any) -> None:
    """The same run; also as keys of `class_weight`."""
    options: dict[str, Any] = {"batch_size": 100, "epochs": 2, "steps_per_epoch": 2, "seed": 7}
    expected = trained(X, Y, **options, class_weight={0: 0.5, 1: 2.0})
    given = {name: form(value) for name, value in options.items()}
    keys = (form(0), form(1)) if form is not torch.tensor else (0, 1)
    weights, history = trained(X, Y, **given, class_weight=dict(zip(keys, (0.5, 2.0), strict=True)))
    assert_same(weights, expected[0])
    assert history == expected[1]


ENDS: dict[str, tuple[nn.Module, dict[str, bool], bool | None]] = {
    "classifier": (FraudClassifier(FEATURES, 8, seed=3), {}, True),
    "behind-others": (
        nn.Sequential(nn.Identity(), nn.Identity(), FraudClassifier(FEATURES, 8, seed=3)), {}, True,
    ),
    "copies-for-devices": (nn.DataParallel(FraudClassifier(FEATURES, 8, seed=3)), {}, True),
    "loaded-sigmoid": (KerasNetwork(network_ending("sigmoid")), {}, True),
    "loaded-linear": (KerasNetwork(network_ending("linear")), {}, False),
    "loaded-relu": (KerasNetwork(network_ending("relu")), {}, False),
    "said-to-be-logits": (nn.Linear(FEATURES, 2), {"from_logits": True}, True),
    "said-to-be-none": (nn.Linear(FEATURES, 2), {"from_logits": False}, False),
    "without-parameters": (nn.Tanh(), {"from_logits": False}, False),
    "said-otherwise": (FraudClassifier(FEATURES, 8, seed=3), {"from_logits": False}, False),
    "unsaid": (nn.Linear(FEATURES, 2), {}, None),
    "unsaid-behind-others": (nn.Sequential(nn.Linear(FEATURES, 2), nn.Sigmoid()), {}, None),
    "nothing": (nn.Sequential(), {}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
def test_predict_applies_the_end_that_the_module_leaves_out(case: str) -> None:
    """Its own as a file says, what the caller says, and never a guess."""
    model, options, sigmoid = ENDS[case]
    x = np.round(8 * X) / 8  # every sum fits float32: the same bits in any order
    with torch.no_grad():  # so that some outputs are below 0 and some above
        for i, parameter in enumerate(model.parameters()):
            numbers = torch.linspace(-1 - i, 1, parameter.numel()).view(parameter.shape)
            parameter.copy_((8 * numbers).round() / 8)
    if sigmoid is None:
        with pytest.raises(ValueError, match="does not say what its outputs are; expected from"):
            predict(model, x, **options)
        return
    with torch.no_grad():
        outputs = model.eval()(torch.from_numpy(x))
    expected = torch.sigmoid(outputs) if sigmoid else outputs
    assert torch.equal(predict(model, x, **options), expected)
    assert (outputs < 0).any() == (case != "loaded-relu"), "a sigmoid would show"


@pytest.mark.parametrize("form", [np.float64, np.float32, np.int64])
def test_raw_rows_are_not_rounded_before_they_are_scaled(form: type) -> None:
    """By predict, fit and evaluate, whatever stands behind the transform is made of."""
    raw = (np.random.default_rng(4).normal(size=(40, FEATURES)) * 1e6).astype(form)
    transform = FeatureTransform.fit(raw, log_column=None, clip=1e9)
    seen: list[Tensor] = []
    model = nn.Sequential(transform, FraudClassifier(FEATURES, 8, seed=3))
    model[1].register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    labels = np.arange(40) % 2
    predict(model, raw)
    evaluate(model, raw, labels)
    fit(model, raw, labels, validation_data=(raw, labels), progress=False)
    wide = raw.astype(np.float64)
    spread = wide.std(axis=0, ddof=0)
    # Four times, in whatever order and batches.
    exact = np.sort(np.tile((wide - wide.mean(axis=0)) / spread, (4, 1)), axis=0)
    # Mean and deviation in float64, and one rounding to float32.
    off = bounds.gamma(50, bounds.U64) * (np.abs(wide).max(axis=0) / spread + 10)
    off = off + bounds.U32 * np.abs(exact)
    assert (np.abs(np.sort(torch.cat(seen).numpy(), axis=0) - exact) <= off).all()


def test_a_run_without_a_seed_takes_the_next_32_bits_of_torchs_generator() -> None:
    """All of them: the order is the one of that seed."""
    torch.manual_seed(4)
    drawn = int(torch.randint(2**32, ()))
    models = [FraudClassifier(FEATURES, 8, seed=3) for _ in range(2)]
    torch.manual_seed(4)
    for model, seed in zip(models, (None, drawn), strict=True):
        fit(model, X, Y, batch_size=64, seed=seed, progress=False)
    assert_same(models[0].state_dict(), models[1].state_dict())


class Terminal(io.StringIO):
    """A standard error that a person looks at."""

    def isatty(self) -> bool:
        return True


def bar_of(terminal: bool, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    fit(FraudClassifier(FEATURES, 8, seed=3), X, Y, epochs=2, batch_size=64, **options)
    return stream.getvalue()


def test_a_bar_shows_epochs_and_loss_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, unless it is not wanted."""
    shown = bar_of(True, monkeypatch)
    assert "2/2" in shown
    assert re.search(r"[\d.]+(epoch/s|s/epoch), loss=0\.\d+\]", shown)
    assert bar_of(True, monkeypatch, progress=False) == ""
    assert bar_of(False, monkeypatch) == ""


def test_without_tqdm_the_epochs_run_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch and NumPy are enough to train."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert trained(X, Y, epochs=3)[1].epoch == [0, 1, 2]
