"""What `fit` reports: losses and metrics to their own last digits, and `History`'s dtype."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from parity_tests.judge import bounds
from parity_tests.training.small_runs import FEATURES, X, Y, trained
from torch_impl import FraudClassifier, KerasAdam, evaluate, fit


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
@pytest.mark.parametrize("rows", [1, 65, 5001])
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
