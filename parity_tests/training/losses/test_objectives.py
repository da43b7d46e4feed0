"""`fit` with other losses, penalties and a validation split, as Keras's `fit` in double."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from parity_tests.judge.agreement import no_farther, ulp_off
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import NEIGHBOURS
from torch_impl import L1L2, FraudClassifier, fit, load_keras, losses
from torch_impl.keras_files.modules import contents_of

RNG = np.random.default_rng(11)
ROWS, CLASSES = 330, 3
X = RNG.normal(size=(ROWS, 5)).astype("f4")
SCORES = X[:, :CLASSES] + RNG.normal(size=(ROWS, CLASSES))
BINARY = (SCORES[:, :1] > 0.5).astype("f4")
CLASS = SCORES.argmax(1).astype("f4")
ONE_HOT = np.eye(CLASSES, dtype="f4")[SCORES.argmax(1)]
NUMBERS = SCORES.astype("f4")
WEIGHT = RNG.uniform(0.5, 2, ROWS).astype("f4")

L2 = {"kernel_regularizer": "l2"}
BOTH = {"kernel_regularizer": ("L1L2", {"l1": 0.003, "l2": 0.01}), "bias_regularizer": "l1"}


class Case(NamedTuple):
    """One run."""

    ends: dict[str, Any]
    """Of the last layer."""
    labels: np.ndarray
    loss: tuple[str, dict[str, Any]]
    """Keras's class and its options; ours has the same names."""
    hidden: dict[str, Any] = {"activation": "relu"}  # noqa: RUF012 (never changed)
    options: dict[str, Any] = {}  # noqa: RUF012
    metrics: tuple[str, ...] = ()


SIGMOID, SOFTMAX = {"activation": "sigmoid"}, {"activation": "softmax"}
BCE = ("BinaryCrossentropy", {})
CASES = {
    "several-labels, l1 and l2": Case(SIGMOID, ONE_HOT, BCE, {"activation": "tanh"} | BOTH),
    "categorical": Case(
        SOFTMAX, ONE_HOT, ("CategoricalCrossentropy", {"label_smoothing": 0.1}),
        metrics=("accuracy",), options={"class_weight": {0: 0.5, 1: 2.0}},
    ),
    "sparse": Case(
        SOFTMAX, CLASS, ("SparseCategoricalCrossentropy", {}), metrics=("accuracy",),
        options={"class_weight": {0: 0.5, 2: 3.0}, "validation_split": 0.3},
    ),
    "squared-error-of-probabilities": Case(
        SIGMOID | L2, BINARY, ("MeanSquaredError", {}),
        options={"validation_split": 0.2, "sample_weight": WEIGHT},
    ),
    "huber": Case({}, NUMBERS, ("Huber", {"delta": 0.7})),
}  # fmt: skip


@NEIGHBOURS
@pytest.mark.parametrize("name", CASES)
def test_a_run_is_keras_run(name: str, keras: KerasProcess, tmp_path: Path) -> None:
    """Weights and history after 44 steps, in double; nothing is told but the file and the loss."""
    case = CASES[name]
    units = case.labels.shape[1] if case.labels.ndim == 2 else CLASSES
    chain = [("Dense", [4], case.hidden), ("Dense", [units], case.ends)]
    keras.call("family.write", str(tmp_path / "x"), chain, X, (".keras",))
    path = str(tmp_path / "x.keras")
    options = {"epochs": 4, "batch_size": 32} | case.options
    theirs = keras.call("family.train", path, X, case.labels, case.loss, case.metrics, **options)
    model = load_keras(path).double()
    kind, more = case.loss
    plain = torch.optim.SGD(model.parameters(), 2**-7)
    history = fit(
        model, X, case.labels, loss=getattr(losses, kind)(**more), optimizer=plain,
        shuffle=False, progress=False, metrics=bool(case.metrics), **options,
    ).history  # fmt: skip
    ours = {n: tensor.numpy() for n, tensor in contents_of(model).weights.items()}
    ours |= {f"history/{n}": np.array(values) for n, values in history.items()}
    narrow, wide = theirs["float32"], theirs["float64"]
    assert ours.keys() == wide.keys()
    # One number alone may be near by chance: weights are off by what all are.
    off = max(ulp_off(narrow[n], wide[n]) for n in wide if not n.startswith("history/"))
    for n in wide:
        result = no_farther(n, "double", ours[n], wide[n], off, 32)
        assert result.agree, (n, result.detail)


def test_a_penalty_is_written_down_by_a_module_itself() -> None:
    """Of any module's parameters, in closed form; the compiled path steps aside."""
    model = torch.nn.Linear(2, 1, dtype=torch.float64)
    torch.nn.init.constant_(model.weight, -2.0)
    torch.nn.init.zeros_(model.bias)
    model.regularizers = {"weight": L1L2(l1=0.5, l2=0.25)}  # type: ignore[assignment]
    still = torch.optim.SGD(model.parameters(), lr=1.0)
    x, y = np.zeros((3, 2)), np.zeros(3)
    history = fit(model, x, y, validation_data=(x, y), optimizer=still, progress=False).history
    # ln 2 of each row, 0.5 · 4 + 0.25 · 8; then a step of -0.5 + 2 · 0.25 · -2 on each weight.
    assert history["loss"] == [np.log(2) + 4]
    assert model.weight.tolist() == [[-0.5, -0.5]]
    assert history["val_loss"] == [np.logaddexp(0, model.bias.item()) + 0.5 + 0.125]


def test_a_penalty_of_frozen_weights_is_in_the_loss_and_moves_nothing() -> None:
    """It has no gradient."""
    model = torch.nn.Linear(2, 1, dtype=torch.float64)
    torch.nn.init.constant_(model.weight, -2.0)
    torch.nn.init.zeros_(model.bias)
    model.weight.requires_grad_(False)
    model.regularizers = {"weight": L1L2(l1=0.5, l2=0.25)}  # type: ignore[assignment]
    still = torch.optim.SGD([model.bias], lr=1.0)
    history = fit(model, np.zeros((4, 2)), np.zeros(4), optimizer=still, progress=False).history
    assert history["loss"] == [np.log(2) + 4]
    assert model.weight.tolist() == [[-2.0, -2.0]]
    assert model.bias.tolist() == [-0.5]


def test_a_class_may_weigh_that_does_not_occur_and_be_a_whole_float() -> None:
    """As in Keras: it makes no difference, and 1.0 is 1."""
    ends = []
    for weights in ({0: 0.5, 1: 2.0}, {0.0: 0.5, 1.0: 2.0, 2.0: 9.0}):
        torch.manual_seed(1)
        model = torch.nn.Linear(5, CLASSES)
        labels = np.minimum(CLASS, 1)
        fit(
            model, X, labels, loss="sparse_categorical_crossentropy", class_weight=weights,
            seed=3, progress=False,
        )  # fmt: skip
        ends.append(model.weight.detach())
    assert torch.equal(*ends)


def test_a_penalised_classifier_is_trained_alike_on_either_path() -> None:
    """The compiled epoch, which knows no penalty, steps aside."""
    ends = []
    for compiled, factor in ((True, 0.5), (False, 0.5), (True, 0.0)):
        model = FraudClassifier(X.shape[1], 8, seed=3)
        model.regularizers = {"hidden.weight": L1L2(l2=factor)} if factor else {}
        fit(model, X, BINARY, epochs=2, seed=3, compiled=compiled, progress=False)
        ends.append(model.hidden.weight.detach().clone())
    assert torch.equal(*ends[:2])
    assert not torch.equal(*ends[1:])


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown-loss": ({"loss": "cross"}, "loss is 'cross'; expected one of binary_crossentropy,"),
    "both-validations": (
        {"validation_split": 0.5, "validation_data": (X, BINARY)},
        "fit: validation_data and validation_split came both; expected one",
    ),
    "split-of-everything": (
        {"validation_split": 1.0},
        "fit: validation_split=1.0 of 330 rows; expected rows on both sides",
    ),
    "split-of-nothing": (
        {"validation_split": 1e-17},
        "fit: validation_split=1e-17 of 330 rows; expected rows on both sides",
    ),
    "negative-split": (
        {"validation_split": -0.5},
        "fit: validation_split=-0.5 of 330 rows; expected rows on both sides",
    ),
    "loss-of-a-batch": (
        {"loss": torch.nn.BCEWithLogitsLoss()},
        "fit: the loss came as (); expected one number per row, (32, 1)",
    ),
    "class-weights-in-a-list": (
        {"class_weight": [1.0, 2.0]},
        "class_weight: a list came; expected a dict of class to",
    ),
    "loss-that-is-a-class": (
        {"loss": losses.BinaryCrossentropy},
        "fit: loss=<class 'torch_impl.keras.losses.elem",
    ),
    "optimizer-by-its-name": (
        {"optimizer": "adam"},
        "fit: optimizer='adam'; expected a torch optimizer of the module",
    ),
    "labels-that-are-texts": ({"y": ["a"] * ROWS}, "<U1 values came (could not convert string"),
    "class-too-many": (
        {"loss": "sparse_categorical_crossentropy", "y": CLASS, "shuffle": False},
        "SparseCategoricalCrossentropy: labels hold 2.0; expected whole numbers from 0 to 0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_objective_is_refused_in_one_line(case: str) -> None:
    """And nothing is trained."""
    given, message = BAD[case]
    model = torch.nn.Linear(5, 1)
    before = model.weight.clone()
    with pytest.raises(ValueError, match=r".") as caught:
        fit(model, **{"x": X, "y": BINARY, "progress": False} | given)
    assert str(caught.value).startswith(message)
    assert torch.equal(model.weight, before)
