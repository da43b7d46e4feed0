"""The compiled epoch against a step written here in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from parity_tests.judge.agreement import no_farther, ulp_off, within
from parity_tests.judge.bounds import U32, U64, first_adam_step, gamma, gradients
from parity_tests.judge.sigmoid import SIGMOID_ULP, TINY, float64_sigmoid
from parity_tests.sides.compiler import needs_compiler
from parity_tests.training.compiled.all_widths import SIZES, build_any
from parity_tests.training.compiled.epoch_case import (
    B1,
    B2,
    K1,
    K2,
    NAMES,
    Case,
    State,
)
from torch_impl import Callback, FraudClassifier, History, KerasAdam, KerasDropout, fit
from torch_impl.base.processes import ALONE
from torch_impl.keras.random import dropout_masks, uniform
from torch_impl.keras.weights import load_keras_weights, to_keras_weights
from torch_impl.training import native
from torch_impl.training.native import NativeEpoch
from torch_impl.training.shares import Batches

pytestmark = needs_compiler

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Schedule(Callback):
    """Sets the learning rate between epochs."""

    def __init__(self, optimizer: KerasAdam, lr: tuple[float, ...]) -> None:
        self.optimizer, self.lr = optimizer, lr

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
        self.optimizer.param_groups[0]["lr"] = self.lr[min(epoch + 1, len(self.lr) - 1)]


def fitted(
    case: Case, start: State, dtype: torch.dtype, data: Any = None, compiled: bool = True
) -> tuple[State, History, tuple[int, int]]:
    """What `fit` leaves behind: state, history, and the counts of steps and of dropout's calls."""
    x, y, weight = case.data() if data is None else data
    model = FraudClassifier(case.features, case.hidden, case.dropout, seed=3)
    load_keras_weights(model, start["weights"])
    optimizer = KerasAdam(model.to(dtype).parameters(), lr=case.lr[0])
    for p, name in zip(model.parameters(), NAMES, strict=True):
        state = optimizer.state_of(p)
        state["step"] += case.before
        for kind in ("momentum", "velocity"):
            state[kind].copy_(torch.from_numpy(start[kind][name].T.reshape(p.shape)))
    options = {"batch_size": case.batch_size, "epochs": case.epochs, "sample_weight": weight}
    epochs = mock.patch.object(NativeEpoch, "train", autospec=True, side_effect=NativeEpoch.train)
    with epochs as train:
        history = fit(
            model, x, y, **options, optimizer=optimizer, shuffle=False, progress=False,
            callbacks=[Schedule(optimizer, case.lr)], compiled=compiled,
        )  # fmt: skip
    assert train.call_count == (case.epochs if compiled else 0)
    states = [optimizer.state_of(p) for p in model.parameters()]
    (steps,) = {int(state["step"]) for state in states}
    ended = {"weights": to_keras_weights(model)} | {
        kind: {n: s[kind].numpy().T.copy() for n, s in zip(NAMES, states, strict=True)}
        for kind in ("momentum", "velocity")
    }
    calls = model.dropout.calls if isinstance(model.dropout, KerasDropout) else 0
    return ended, history, (steps, calls)


def kept_units(case: Case) -> np.ndarray:
    """The eager layer's masks of every step, which are proved against Keras's."""
    steps = case.epochs * -(-case.rows // case.batch_size)
    shape = steps, min(case.rows, case.batch_size), case.hidden
    if not case.dropout:
        return np.ones(shape, bool)
    seed = FraudClassifier(case.features, case.hidden, case.dropout, seed=3).dropout.seed
    return dropout_masks(seed, range(steps), case.dropout, range(shape[1]), shape[2]).numpy()


def numpy_run(case: Case, start: State, dtype: Any, data: Any = None) -> tuple[State, list[float]]:
    """The same run, written down once more: its state, and the loss of each epoch."""
    x, y, weight = case.data() if data is None else data
    x, y = x.astype(dtype), y.astype(dtype)
    factor = np.ones_like(y) if weight is None else weight.astype(dtype)
    kinds = ("weights", "momentum", "velocity")
    w, m, v = ({name: start[kind][name].astype(dtype) for name in NAMES} for kind in kinds)
    beta1, beta2 = (dtype(np.float32(beta)) for beta in (0.9, 0.999))
    scale, t, losses = dtype(1 / (1 - case.dropout)), case.before, []
    masks = iter(kept_units(case))
    for epoch in range(case.epochs):
        lr, total = dtype(case.lr[min(epoch, len(case.lr) - 1)]), 0.0
        for first in range(0, len(x), case.batch_size):
            rows, label, f = (a[first : first + case.batch_size] for a in (x, y, factor))
            kept = next(masks)[: len(rows)]
            pre = rows @ w[K1] + w[B1]
            hidden = np.where(kept, np.where(pre < 0, 0, pre) * scale, 0)
            z = hidden @ w[K2] + w[B2]
            e = np.exp(-np.abs(z))
            p = np.where(z < 0, e / (1 + e), 1 / (1 + e))
            total += float((f * (np.maximum(z, 0) - z * label + np.log1p(e))).sum())
            dz = (p - label) / dtype(len(rows)) * f
            # torch's ReLU lets a gradient through a NaN.
            dpre = np.where(kept & ~(pre <= 0), dz @ w[K2].T * scale, 0)
            g = {K1: rows.T @ dpre, B1: dpre.sum(0), K2: hidden.T @ dz, B2: dz.sum(0)}
            t += 1
            alpha = lr * np.sqrt(1 - beta2 ** dtype(t)) / (1 - beta1 ** dtype(t))
            for name in NAMES:
                m[name] += (g[name] - m[name]) * dtype(1 - 0.9)
                v[name] += (g[name] * g[name] - v[name]) * dtype(1 - 0.999)
                w[name] -= m[name] * alpha / (np.sqrt(v[name]) + dtype(1e-7))
        losses.append(total / len(x))
    return {"weights": w, "momentum": m, "velocity": v}, losses


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "-".join(map(str, size)))
def test_a_step_of_any_width_lies_within_its_bound(
    size: tuple[int, int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of rows of 1 to 40 features: whatever their number leaves over when it is divided."""
    monkeypatch.setattr(native, "library", build_any)
    features, hidden, real = size
    case = Case(features, hidden, rows=7, weighted=True)
    start, (x, y, weight) = case.start(), case.data()
    kept = kept_units(case)[0] * 2.0
    bound = gradients(x, y, start["weights"], kept, weight)
    dtype, ratio = ("float32", 1.0) if real == "float" else ("float64", 2 * U64 / U32)
    came, _, _ = fitted(case, start, DTYPES[dtype])
    for part in NAMES:
        expected = first_adam_step(start["weights"][part].astype(float), bound[part])
        for what, ours in came.items():
            value, allowance = expected[what.removesuffix("s")]
            row = within(
                f"{what} of {part}", "proven" if ratio == 1 else "double",
                ours[part], value.astype(dtype), value, allowance * ratio,
            )  # fmt: skip
            assert row.agree, f"{row.stage}: {row.detail}"


def _rates() -> dict[str, float]:
    seed = KerasDropout(0.5, FraudClassifier(40, 8, seed=3).seeds[1]).seed  # type: ignore[index]
    drawn = float(uniform((seed, 0), (40, 8))[17, 3])
    return {
        "a-draw": drawn,
        "a-draw-and-less-than-float32-holds": float(np.nextafter(drawn, 1)),
        "the-float32-after-a-draw": float(np.nextafter(np.float32(drawn), np.float32(1))),
        "the-float32-before-a-draw": float(np.nextafter(np.float32(drawn), np.float32(0))),
        "a-tenth": 0.1,
        "tiny": 1e-30,
        "nearly-one": 1 - 2.0**-24,
        "one-in-float32": 1 - 1e-9,
        "a-half": 0.5,
    }


@pytest.mark.parametrize("rate", _rates().values(), ids=_rates())
def test_a_unit_is_kept_where_its_draw_is_not_below_the_rate(
    rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate as float32 holds it. Row i has feature i alone: a gradient tells of its units."""
    monkeypatch.setattr(native, "library", build_any)
    case = Case(40, 8, rows=40, dropout=rate)
    start = case.start()
    start["weights"] = {name: np.abs(a) + np.float32(1) for name, a in start["weights"].items()}
    data = np.eye(40, dtype=np.float32), np.zeros((40, 1), np.float32), None
    came, _, counts = fitted(case, start, torch.float32, data)
    seed = FraudClassifier(40, 8, rate, seed=3).dropout.seed
    draws = uniform((seed, 0), (40, 8)).numpy()
    np.testing.assert_array_equal(came["momentum"][K1] != 0, draws >= np.float32(rate))
    assert counts == (1, 1)


def _poisoned(place: str, value: float) -> Callable[[State, Any], None]:
    def poison(start: State, data: Any) -> None:
        if "row" in place:
            data[0][3 if place == "row-of-weight-0" else 4, 2] = value
        elif place == "weight":
            data[2][4, 0] = value
        else:
            start["weights"][place].flat[2 % start["weights"][place].size] = value

    return poison


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("place", ["row", "row-of-weight-0", "weight", *NAMES])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of what is meant here
def test_what_is_not_finite_spreads_as_far_as_in_the_eager_path_and_no_farther(
    place: str, precision: str
) -> None:
    """From a row, a row's weight or a parameter: the same numbers are NaN or infinite.

    After one step from a row, after two from the rest: the second starts from what is spoilt.
    """
    batch_size = 12 if "row" in place else 6
    other = []
    spoilt = (np.nan, 0.0), (np.nan, 0.5), (np.inf, 0.5), (-np.inf, 0.0), (1e30, 0.5)
    for value, dropout in spoilt:
        case = Case(rows=12, batch_size=batch_size, dropout=dropout, weighted=True)
        start, data = case.start(), case.data()
        _poisoned(place, value)(start, data)
        expected, losses = numpy_run(case, start, np.dtype(precision).type, data)
        for compiled in (True, False):
            came, history, _ = fitted(case, start, DTYPES[precision], data, compiled)
            pairs = {
                (what, part): (ours, expected[what][part])
                for what, weights in came.items()
                for part, ours in weights.items()
            }
            pairs["loss", ""] = np.array(history.history["loss"]), np.array(losses)
            for what, (ours, theirs) in pairs.items():
                if not (_kinds(ours) == _kinds(theirs)).all():
                    other.append((value, dropout, compiled, what, ours, theirs))
    assert other == []


def _kinds(numbers: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(numbers), 0.0, np.nan_to_num(numbers, nan=7, posinf=8, neginf=9))


def _flat(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([weights[name].ravel() for name in NAMES])


RUNS = {
    "whole-batches": Case(rows=128),
    "a-short-last-batch": Case(),
    "batches-of-one-row": Case(rows=9, batch_size=1),
    "a-batch-larger-than-the-rows": Case(rows=50, batch_size=1000),
    "one-row": Case(rows=1),
    **{f"{n}-rows-at-once": Case(rows=n, batch_size=n) for n in (63, 64, 65, 128, 129, 131)},
    "four-hundred-steps": Case(rows=80, batch_size=1, epochs=5),
    "several-epochs-of-short-batches": Case(rows=100, batch_size=33, epochs=3),
    "after-many-steps": Case(before=299),
    "after-very-many-steps": Case(before=5000, epochs=2),
    "weights-of-rows": Case(weighted=True, epochs=2),
    "weights-of-rows-one-by-one": Case(weighted=True, rows=9, batch_size=1),
    "no-dropout": Case(dropout=0.0),
    "little-dropout": Case(dropout=0.1),
    "much-dropout": Case(dropout=0.9),
    "another-rate-every-epoch": Case(epochs=4, lr=(1e-3, 5e-2, 0.0, 1e-4)),
    "steep-logits": Case(steepness=100.0),
    "sixteen-units": Case(29, 16),
    "twenty-four-units": Case(5, 24),
    "sixty-four-units": Case(5, 64),
}  # fmt: skip


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_the_one_that_numpy_makes(name: str, precision: str) -> None:
    """Weights, moments, losses and counts; as near as NumPy's float32 run is to its float64 one."""
    case = RUNS[name]
    start = case.start()
    (narrow, narrow_loss), (wide, wide_loss) = (
        numpy_run(case, start, dtype) for dtype in (np.float32, np.float64)
    )
    came, history, counts = fitted(case, start, DTYPES[precision])
    double = precision == "float64"
    kind: Literal["double", "rounding"] = "double" if double else "rounding"
    theirs, loss = (wide, wide_loss) if double else (narrow, narrow_loss)
    terms = min(case.rows, case.batch_size) + case.features
    for what in came:
        ours, narrow32, wide64, run = (_flat(s[what]) for s in (came, narrow, wide, theirs))
        row = no_farther(what, kind, ours, run, ulp_off(narrow32, wide64), terms)
        assert row.agree, f"{row.stage}: {row.detail}"
    dtype = np.dtype(precision)
    row = no_farther(
        "loss", kind, np.array(history.history["loss"], dtype), np.array(loss, dtype),
        ulp_off(np.float32(narrow_loss), np.array(wide_loss)), case.rows,
    )  # fmt: skip
    assert row.agree, row.detail
    steps = case.epochs * -(-case.rows // case.batch_size)
    assert counts == (case.before + steps, steps if case.dropout else 0)


def _identity(precision: str) -> NativeEpoch:
    """Its logit is the row's one number, x = relu(x) - relu(-x)."""
    model = FraudClassifier(1, 8, 0.0, seed=3).to(DTYPES[precision])
    ends = np.eye(8)[:1] - np.eye(8)[1:2]
    weights = dict(zip(NAMES, (ends, np.zeros(8), ends.T, np.zeros(1)), strict=True))
    load_keras_weights(model, {name: a.astype(precision) for name, a in weights.items()})
    created = NativeEpoch.create(
        model, KerasAdam(model.parameters(), lr=0.0), torch.zeros(1, 1, dtype=DTYPES[precision])
    )
    assert created is not None
    return created


LOGITS = np.concatenate(
    [
        np.random.default_rng(1).normal(scale=(0.01, 1, 6, 30), size=(150, 4)).ravel(),
        [0, -0.0, 1e4, -1e4, 88, -88, -87, 104, -104, 700, -700, 3e38, -3e38, 1e-30, 2**-23],
    ]
).astype(np.float32)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("precision", DTYPES)
def test_loss_and_probability_of_any_logit_are_as_near_as_a_librarys(
    precision: str, label: int
) -> None:
    """Row by row; a squared error from label 0 tells the probability, from 1 its complement."""
    epoch, u = _identity(precision), U32 if precision == "float32" else U64
    z, y = LOGITS.astype(np.float64), float(label)
    softplus = np.log1p(np.exp(-np.abs(z)))
    expected = np.maximum(z, 0) - z * y + softplus
    size = np.maximum(z, 0) + np.abs(z) * y + softplus
    labels = torch.full((1, 1), y, dtype=DTYPES[precision])
    rows = torch.from_numpy(z).to(DTYPES[precision]).reshape(-1, 1, 1)
    came = [epoch.evaluate(row, labels) for row in rows]
    loss, squared = (np.array([float(t[name]) for t in came]) for name in ("loss", "squared_error"))
    # The function itself (SIGMOID_ULP, in ULP of 2 u), and a sum of three terms.
    ulps = 2 * SIGMOID_ULP * u
    least = 2 * TINY if precision == "float32" else np.finfo(np.float64).tiny
    allowed = ulps * softplus + gamma(3, u) * size + least
    assert (np.abs(loss - expected) <= allowed).all()
    p = float64_sigmoid(z)
    if label:
        assert (np.abs(np.sqrt(squared) - (1 - p)) <= ulps).all()
    else:
        # A probability whose square is no normal number is not told.
        told = p > 2 * np.sqrt(TINY)
        assert (np.abs(np.sqrt(squared) - p) <= ulps * p)[told].all()


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("way", ["train", "evaluate"])
def test_rows_are_counted_where_their_probabilities_are(way: str, precision: str) -> None:
    """Above a half strictly, and between which of the 200 thresholds, the first and last too."""
    place = 199 * float64_sigmoid(LOGITS)
    slack = 2 * SIGMOID_ULP * U32
    ends = (place == 199) | (place <= 199 * slack)  # a probability is not below 0
    clear = np.abs(place - np.round(place)) > 199 * slack
    half = (np.abs(float64_sigmoid(LOGITS) - 0.5) <= slack) & (LOGITS != 0)  # on either side
    z = LOGITS[(clear | ends) & ~half]
    bucket = np.maximum(np.ceil(199 * float64_sigmoid(z)) - 1, 0).astype(int)
    assert set(bucket) >= {0, 1, 98, 99, 100, 197, 198}
    y = (np.arange(len(z)) % 3 == 0).astype(np.float64)
    epoch, dtype = _identity(precision), DTYPES[precision]
    rows, labels = (torch.from_numpy(a).to(dtype).reshape(-1, 1) for a in (z, y))
    if way == "train":
        came = epoch.train(
            rows, labels, torch.zeros_like(labels), Batches(len(z), 100, ALONE), True
        )
    else:
        came = epoch.evaluate(rows, labels)
        # A NaN exceeds nothing, and stays in the lowest bucket.
        nan = epoch.evaluate(torch.full((1, 1), torch.nan, dtype=dtype), labels[:1])
        assert nan["buckets"][int(y[0]), 0] == nan["buckets"].sum() == 1
        assert nan["fn"] == 1
    expected = np.zeros((2, 199), int)
    np.add.at(expected, (y.astype(int), bucket), 1)
    np.testing.assert_array_equal(came["buckets"], expected)
    said = z > 0
    counts = {"tp": said & (y > 0), "fp": said & (y == 0), "fn": ~said & (y > 0)}
    assert {n: int(came[n]) for n in counts} == {n: int(w.sum()) for n, w in counts.items()}
    assert int(came["tn"]) == int((~said & (y == 0)).sum())
    if way == "train":
        assert came["weighted_loss"] == 0
        assert came["loss"] > 0


@pytest.mark.parametrize("rows", [1, 64, 4095, 4096, 4097, 8192, 8193, 12_289])
def test_the_sums_of_equal_rows_are_so_many_times_ones(rows: int) -> None:
    """Exactly: a float32 so many times is a float64, in whatever parts it is added up."""
    epoch = _identity("float32")
    for label in (0.0, 1.0):
        x, y = torch.full((rows, 1), 1.5), torch.full((rows, 1), label)
        one, all_ = epoch.evaluate(x[:1], y[:1]), epoch.evaluate(x, y)
        trained = epoch.train(x, y, None, Batches(rows, 5000, ALONE), True)
        for name in native.TOTALS.names or ():
            whole = one[name] * rows
            np.testing.assert_array_equal(trained[name], whole)
            np.testing.assert_array_equal(all_[name], whole)
