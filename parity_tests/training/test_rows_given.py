"""Rows, labels and weights of every form, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from parity_tests.judge import bounds
from parity_tests.training.small_runs import (
    FEATURES,
    ROWS,
    X,
    Y,
    assert_same,
    rows_and_labels,
    trained,
)
from torch_impl import FeatureTransform, FraudClassifier, evaluate, fit, oversample, predict
from torch_impl.keras.random import shuffle_permutation


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
    "a-table-of-kinds": lambda x, y: (
        pd.DataFrame(x).assign(more=True).drop(columns="more").astype({0: object}),
        pd.Series(y[:, 0]),
    ),
    "every-second-row": lambda x, y: (np.repeat(x, 2, axis=0)[::2], np.repeat(y, 2, axis=0)[::2]),
    "tensor-dataset": lambda x, y: (TensorDataset(torch.tensor(x), torch.tensor(y)), None),
    "dataset": lambda x, y: (Pairs(x, y), None),
}


def read_only(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    return x, y


@pytest.mark.parametrize(
    ("compiled", "shuffle"), [(True, True), (False, False)],
    ids=["compiled-shuffled", "eager-in-order"],
)  # fmt: skip
def test_rows_of_every_form_train_to_the_same_bits(compiled: bool, shuffle: bool) -> None:
    """And the caller's arrays are left as they were."""
    x, y = rows_and_labels()
    options: dict[str, Any] = {"compiled": compiled, "shuffle": shuffle}
    expected = trained(x, y, validation_data=(x, y), **options)
    kept = x.copy(), y.copy()
    for form, made in (FORMS | {"read-only-arrays": read_only}).items():
        given = made(x, y)
        held_out = given[0] if given[1] is None else given
        weights, history = trained(*given, validation_data=held_out, **options)
        assert history == expected[1], form
        assert_same(weights, expected[0])
        np.testing.assert_array_equal(x, kept[0], form)
        np.testing.assert_array_equal(y, kept[1], form)


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


class Endless(IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        while True:
            yield torch.zeros(FEATURES), 0.0


class Items(Dataset):  # type: ignore[type-arg]
    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


LABELS = "fit: y holds labels other than 0 and 1"
VALIDATION = "fit: validation_data: expected (x, y), (x, y, sample_weight) or a Dataset"
RANGES = {
    "batch_size": (0, "1 to 2**63 - 1"), "epochs": (-1, "0 to 2**63 - 1"),
    "steps_per_epoch": (0, "1 to 2**63 - 1"), "seed": (2**32, "0 to 2**32 - 1"),
}  # fmt: skip
"""A number just outside, and what is told of the rest."""
ROW = (X[0], 0.0)
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no-rows": ({"x": X[:0], "y": Y[:0]}, "fit: x has no rows; expected at least 1"),
    "no-items": ({"x": Pairs(X[:0], Y)}, "fit: x has no rows; expected at least 1"),
    "no-labels": ({"x": X}, "fit: y is missing"),
    "one-axis": ({"x": X[0], "y": Y[:5]}, "fit: x came as (5,); expected (N, F)"),
    "labels-too-few": ({"y": Y[:-1]}, "fit: y came as (299, 1); expected (300, 1)"),
    "labels-in-a-row": ({"y": Y.T}, "fit: y came as (1, 300); expected (300, 1)"),
    "labels-in-two-columns": ({"y": X[:, :2]}, "fit: y came as (300, 2); expected (300, 1)"),
    "label-two": ({"y": Y + 1}, LABELS),
    "label-half": ({"y": Y / 2}, LABELS),
    "label-nan": ({"y": Y * np.nan}, LABELS),
    "width": (
        {"x": X[:, :4], "y": Y}, "FraudClassifier: features came as (64, 4); expected (N, 5)",
    ),
    "weights-too-few": (
        {"sample_weight": Y[:9]}, "fit: sample_weight came as (9, 1); expected (300, 1)",
    ),
    "weights-in-a-row": (
        {"sample_weight": Y.T}, "fit: sample_weight came as (1, 300); expected (300, 1)",
    ),
    "both-weights": (
        {"sample_weight": Y, "class_weight": {0: 1.0}},
        "fit: class_weight and sample_weight came both; expected one of them",
    ),
    "class-2": (
        {"class_weight": {0: 1.0, 2: 3.0}},
        "class_weight: class=2; expected a whole number from 0 to 1",
    ),
    "validation-alone": ({"validation_data": X}, VALIDATION),
    "validation-of-four": ({"validation_data": (X, Y, Y, Y)}, VALIDATION),
    "validation-label-half": (
        {"validation_data": (X, Y / 2)}, f"fit: validation_data: {LABELS.removeprefix('fit: ')}",
    ),
    "validation-labels-too-few": (
        {"validation_data": (X, Y[:3])},
        "fit: validation_data: y came as (3, 1); expected (300, 1)",
    ),
    "validation-width": (
        {"validation_data": (X[:, :3], Y)},
        "fit: validation_data: x came as (300, 3); expected (N, 5) as the rows trained on",
    ),
    "validation-weights-too-few": (
        {"validation_data": (X, Y, Y[:5])},
        "fit: validation_data: sample_weight came as (5, 1); expected (300, 1)",
    ),
    "validation-ragged": (
        {"validation_data": Items(ROW, (X[0, :4], 0.0))},
        "fit: validation_data: item 1 of the Dataset has a row of 4 and a label of 1 numbers; "
        "expected 5 and 1",
    ),
    "ragged": (
        {"x": Items(ROW, (X[0, :4], 0.0))},
        "fit: item 1 of the Dataset has a row of 4 and a label of 1 numbers; expected 5 and 1",
    ),
    "two-labels": (
        {"x": Items((X[0], X[0, :2]))},
        "fit: item 0 of the Dataset has a row of 5 and a label of 2 numbers; expected 5 and 1",
    ),
    "no-pairs": (
        {"x": TensorDataset(torch.zeros(3, 5))},
        "fit: item 0 of the Dataset is no (row, label) pair",
    ),
    "triples": (
        {"x": Items(ROW, (*ROW, 1.0))}, "fit: item 1 of the Dataset is no (row, label) pair",
    ),
    "endless": (
        {"x": Endless()}, "fit: the Dataset has no length; expected one with items 0 to N - 1",
    ),
    "labels-beside-dataset": (
        {"x": Pairs(X, Y), "y": Y},
        "fit: y came beside a Dataset; expected its items to be pairs",
    ),
    "loader": (
        {"x": DataLoader(Pairs(X, Y))},
        "fit: x is a DataLoader, which makes batches of its own; expected its Dataset "
        "(loader.dataset), with batch_size and shuffle here",
    ),
    **{
        f"{name}-{value!r}": (
            {name: value}, f"fit: {name}={value!r}; expected a whole number from {expected}",
        )
        for name, (outside, expected) in RANGES.items()
        for value in (
            outside, 2**63, 2**64 + 1, -(2**70), 1.0, 1.5, np.nan, True, np.float32(3), "32",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_trained(case: str) -> None:
    """One line that says where, what came and what was expected; on either path."""
    arguments, message = BAD[case]
    model = FraudClassifier(FEATURES, 8, seed=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = {} if "x" in arguments else {"x": X, "y": Y}
    for compiled in (True, False):
        options = {"batch_size": 64, "progress": False, "compiled": compiled} | rows | arguments
        with pytest.raises(ValueError, match=r"^.") as error:
            fit(model, **options)
        assert str(error.value) == message, compiled
        assert_same(model.state_dict(), before)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_oversampled_rows_are_the_rows_that_are_drawn(dtype: type) -> None:
    """Bit for bit in every dtype: rows of numbers and of their places are drawn alike."""
    rows = (X.astype(np.float64) * 1000 / 3).astype(dtype)
    places, _ = oversample(np.arange(ROWS)[:, None], Y, seed=3)
    came, labels = oversample(rows, Y, seed=3)
    np.testing.assert_array_equal(came, rows[places[:, 0]], strict=True)
    np.testing.assert_array_equal(labels, Y[places[:, 0]], strict=True)


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


def test_rows_are_taken_in_keras_order() -> None:
    """What a hook sees is the permutation's batches, the short one last, in each epoch."""
    x = torch.arange(10.0).reshape(10, 1)
    model = FraudClassifier(1, 8, seed=5)
    seen: list[list[float]] = []
    model.hidden.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0][:, 0].tolist()))
    fit(model, x, torch.zeros(10), batch_size=4, epochs=2, seed=5, progress=False)
    order = shuffle_permutation(5, 10).tolist()
    assert seen == [order[:4], order[4:8], order[8:]] * 2


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
