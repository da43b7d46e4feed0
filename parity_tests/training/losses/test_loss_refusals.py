"""What losses refuse, each in one line: shapes that would broadcast, labels, numbers, names."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch

from torch_impl.keras.losses.base import RowLoss
from torch_impl.keras.losses.categorical import (
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    SparseCategoricalCrossentropy,
)
from torch_impl.keras.losses.elementwise import BinaryCrossentropy, BinaryFocalCrossentropy, Huber
from torch_impl.keras.losses.functions import mean_loss
from torch_impl.keras.losses.names import LOSSES, keras_loss

CLASSES = sorted({made.__name__ for made in LOSSES.values()})


SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((4, 1), (1, 4)), ((4,), (4,)), ((4, 2), (4, 3)), ((4, 2), (3,)), ((3, 2), (4, 1)), ((), ()),
]  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_labels_of_another_shape_are_refused(name: str) -> None:
    """In one line with both shapes; nothing is broadcast."""
    for outputs, labels in SHAPES:
        told = f"outputs came as {outputs}, labels as {labels}; expected"
        with pytest.raises(ValueError, match=rf"^\w+: {re.escape(told)}.*$"):
            keras_loss(name)(torch.zeros(outputs), torch.zeros(labels))


@pytest.mark.parametrize("name", [name for name in CLASSES if "Sparse" not in name])
def test_labels_n_beside_outputs_n_1_are_refused(name: str) -> None:
    """They would make (N, N)."""
    for outputs, labels in (((4, 1), (4,)), ((4,), (4, 1)), ((4, 3), (4, 1)), ((4, 1), (4, 3))):
        with pytest.raises(ValueError, match="expected one shape"):
            keras_loss(name)(torch.zeros(outputs), torch.zeros(labels))


def test_weights_n_beside_losses_n_1_are_refused() -> None:
    """In one line with both shapes."""
    with pytest.raises(
        ValueError, match=r"mean_loss: sample_weight came as \(4,\); expected \(4, 1\)"
    ):
        mean_loss(torch.zeros(4, 1), torch.ones(4))


@pytest.mark.parametrize("label", [-1, 3, 1.5, math.nan, math.inf, 1e30])
def test_a_label_that_is_no_class_is_refused(label: float) -> None:
    """By its value, beside labels that are; Keras makes a 1 of 1.5."""
    loss, outputs = SparseCategoricalCrossentropy(), torch.zeros(3, 3)
    for shape in ((3,), (3, 1)):
        labels = torch.tensor([2, label, 0], dtype=torch.float64).reshape(shape)
        with pytest.raises(
            ValueError, match=r"labels hold .*; expected whole numbers from 0 to 2$"
        ) as error:
            loss(outputs, labels)
        assert f"hold {float(label)};" in str(error.value)


@pytest.mark.parametrize(
    ("made", "options", "said"),
    [
        (BinaryCrossentropy, {"label_smoothing": 1.1}, "label_smoothing=1.1; expected 0 to 1"),
        (BinaryFocalCrossentropy, {"label_smoothing": -0.1}, "label_smoothing=-0.1; expected"),
        (BinaryFocalCrossentropy, {"alpha": 2}, "alpha=2; expected 0 to 1"),
        (BinaryFocalCrossentropy, {"gamma": -1.0}, "gamma=-1.0; expected 0 or more"),
        (CategoricalCrossentropy, {"label_smoothing": math.nan}, "label_smoothing=nan; expected"),
        (CategoricalFocalCrossentropy, {"label_smoothing": 2}, "label_smoothing=2; expected"),
        (CategoricalFocalCrossentropy, {"alpha": -1}, "alpha=-1; expected 0 or more"),
        (CategoricalFocalCrossentropy, {"alpha": [1, -1]}, "alpha=-1; expected 0 or more"),
        (CategoricalFocalCrossentropy, {"gamma": math.inf}, "gamma=inf; expected 0 or more"),
        (Huber, {"delta": -0.5}, "delta=-0.5; expected 0 or more"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_number_out_of_its_range_is_refused(
    made: type[RowLoss], options: dict[str, Any], said: str
) -> None:
    """In one line with the loss's name."""
    with pytest.raises(ValueError, match="^" + made.__name__) as error:
        made(**options)
    assert f"{made.__name__}: {said}" in str(error.value)


def test_ends_of_the_ranges_are_taken() -> None:
    """0 and 1 of shares, 0 of the others; the loss is finite."""
    for share in (0, 1):
        focal = BinaryFocalCrossentropy(True, share, 0, label_smoothing=share)
        assert focal(torch.ones(1, 1), torch.ones(1, 1)).isfinite()
    assert Huber(0)(torch.ones(1, 1), torch.zeros(1, 1)).item() == 0
    assert CategoricalFocalCrossentropy(0, 0)(torch.ones(1, 2), torch.ones(1, 2)).item() == 0


def test_an_alpha_for_each_class_is_demanded() -> None:
    """Two for three classes would be broadcast, or fail in torch's words."""
    loss = CategoricalFocalCrossentropy(alpha=[0.5, 0.5])
    with pytest.raises(ValueError, match="alpha has 2 numbers; expected 3, one for each class"):
        loss(torch.zeros(1, 3), torch.zeros(1, 3))


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """In one line, however long the name."""
    with pytest.raises(
        ValueError, match=r"^loss is 'hinge'; expected one of .*\bmse\b.*$"
    ) as error:
        keras_loss("hinge")
    assert all(name in str(error.value) for name in LOSSES)
    with pytest.raises(ValueError, match=r"^loss is 'x{80}'; expected"):
        keras_loss("x" * 1000)
