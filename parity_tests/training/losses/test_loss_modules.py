"""Losses as modules, without a Keras: values and gradients by hand, dtypes and names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from parity_tests.judge import bounds
from torch_impl.keras.losses.base import RowLoss
from torch_impl.keras.losses.categorical import (
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    SparseCategoricalCrossentropy,
)
from torch_impl.keras.losses.elementwise import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
)
from torch_impl.keras.losses.names import LOSSES, keras_loss

CLASSES = sorted({made.__name__ for made in LOSSES.values()})


def rows(*numbers: Any) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


EVEN = [0.0, 0.0, 0.0, 0.0]
LAST = [0.0, 0.0, 0.0, 1.0]
THREE_TO_ONE = 0.75 * math.log(4 / 3) + 0.25 * math.log(4)
BY_HAND: dict[str, tuple[RowLoss, list[float], list[float], float]] = {
    "binary": (BinaryCrossentropy(), [0], [1], math.log(2)),
    "binary-units": (BinaryCrossentropy(), [0, math.log(3)], [1, 0], math.log(8) / 2),
    "binary-probability": (BinaryCrossentropy(False), [0.25], [1], math.log(4)),
    "binary-clipped": (BinaryCrossentropy(False), [0], [1], -math.log(1e-7)),
    "binary-smoothed": (BinaryCrossentropy(label_smoothing=0.5), [math.log(3)], [1], THREE_TO_ONE),
    "focal": (BinaryFocalCrossentropy(), [0], [1], math.log(2) / 4),
    "focal-gamma": (BinaryFocalCrossentropy(gamma=3), [0], [0], math.log(2) / 8),
    "focal-alpha": (BinaryFocalCrossentropy(True), [0], [1], math.log(2) / 16),
    "focal-1-alpha": (BinaryFocalCrossentropy(True, 0.125), [0], [0], 7 / 32 * math.log(2)),
    "focal-probability": (
        BinaryFocalCrossentropy(from_logits=False), [0.75], [0], 9 / 8 * math.log(2),
    ),
    "focal-smoothed": (
        BinaryFocalCrossentropy(from_logits=False, label_smoothing=0.5), [0.25] * 3, [1] * 3,
        (5 / 8) ** 2 * (0.75 * math.log(4) + 0.25 * math.log(4 / 3)),
    ),
    "focal-wrong-and-sure": (BinaryFocalCrossentropy(), [-50], [1], 50),
    "categorical": (CategoricalCrossentropy(), EVEN, LAST, math.log(4)),
    "categorical-parts": (CategoricalCrossentropy(False), [1, 2, 5], [1, 0, 0], math.log(8)),
    "categorical-smoothed": (
        CategoricalCrossentropy(label_smoothing=0.5), [0, math.log(3)], [0, 1], THREE_TO_ONE,
    ),
    "categorical-smoothed-even": (
        CategoricalCrossentropy(label_smoothing=0.1), EVEN, LAST, math.log(4),
    ),
    "categorical-focal": (CategoricalFocalCrossentropy(), EVEN, LAST, 9 / 64 * math.log(4)),
    "categorical-focal-alphas": (
        CategoricalFocalCrossentropy([1, 2, 4, 8]), EVEN, LAST, 9 / 2 * math.log(4),
    ),
    "categorical-focal-parts": (
        CategoricalFocalCrossentropy(1, 1, False), [1, 3], [1, 0], 3 / 4 * math.log(4),
    ),
    "categorical-focal-wrong-and-sure": (
        CategoricalFocalCrossentropy(), [1000, 0], [0, 1], -(1 - 1e-7) ** 2 / 4 * math.log(1e-7),
    ),
    "sparse": (SparseCategoricalCrossentropy(), [0, 0, 0, math.log(5)], [3], math.log(8 / 5)),
    "sparse-probability": (SparseCategoricalCrossentropy(False), [0.25, 0.75], [0], math.log(4)),
    "sparse-clipped": (SparseCategoricalCrossentropy(False), [1, 0], [1], -math.log(1e-7)),
    "squared": (MeanSquaredError(), [1, 3], [0, 1], 5 / 2),
    "absolute": (MeanAbsoluteError(), [1, 3], [0, 1], 3 / 2),
    "huber": (Huber(), [1, 3], [0, 1], 1),
    "huber-delta": (Huber(2), [1, 5], [0, 1], 13 / 4),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_a_loss_is_what_its_equation_says(case: str) -> None:
    """By hand, of one row."""
    loss, outputs, labels, expected = BY_HAND[case]
    came = loss(rows(outputs), rows(labels))
    assert came.shape == (1, 1)
    # Logarithms of 4 ULP, the numbers they are taken of, and sums of up to four.
    assert abs(came.item() - expected) <= bounds.gamma(30, bounds.U64) * expected


@pytest.mark.parametrize("name", CLASSES)
def test_gradients_are_derivatives(name: str) -> None:
    """By outputs and by labels, of a row whose labels sum to 1; of second order too."""
    loss, outputs, labels = LOSSES[name](), rows([2.0, -1.0, 0.5]), rows([0.25, 0.5, 0.25])
    if "Sparse" in name:
        numbers = labels.argmax(1)
        assert torch.autograd.gradcheck(lambda z: loss(z, numbers), outputs.requires_grad_())
        return
    given = outputs.requires_grad_(), labels.requires_grad_()
    assert torch.autograd.gradcheck(loss, given)
    labels.requires_grad_(False)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, labels), outputs)


def gradient(loss: RowLoss, outputs: torch.Tensor, labels: torch.Tensor) -> list[float]:
    outputs.requires_grad_()
    loss(outputs, labels).sum().backward()
    return outputs.grad.flatten().tolist()


def test_gradients_at_bends_are_tensorflows() -> None:
    """An error of 0, a missing one, a logit of 0, labels that sum to 0, a clip, a power of 0."""
    assert gradient(MeanAbsoluteError(), rows([2.0], [1.0]), rows([2.0], [3.0])) == [0, -1]
    missing = gradient(MeanAbsoluteError(), rows([math.nan], [1.0]), rows([0.0], [math.nan]))
    assert np.isnan(missing).all()
    assert gradient(BinaryCrossentropy(), rows([0.0]), rows([1.0])) == [-0.5]
    assert gradient(CategoricalCrossentropy(), rows([0.0, 0.0]), rows([0.0, 0.0])) == [0.5, 0.5]
    steep, none = gradient(BinaryCrossentropy(False), rows([1e-7], [5e-8]), rows([1.0], [1.0]))
    assert steep < -0.99e7
    assert none == 0
    assert np.isnan(gradient(BinaryFocalCrossentropy(gamma=0.0), rows([-50.0]), rows([0.0]))).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", CLASSES)
def test_losses_have_the_outputs_dtype(name: str, dtype: torch.dtype) -> None:
    """Whatever the labels', whole numbers too; and a gradient likewise."""
    outputs = torch.tensor([[0.5, 0.25], [1.0, -1.0]], dtype=dtype, requires_grad=True)
    for kind in (torch.int64, torch.float64, torch.bool):
        labels = torch.tensor([[0, 1], [1, 0]]).to(kind)
        losses = keras_loss(name)(outputs, labels[:, :1] if "Sparse" in name else labels)
        assert (losses.dtype, losses.shape) == (dtype, (2, 1))
        losses.sum().backward()
    assert outputs.grad.dtype == dtype


@pytest.mark.parametrize("name", CLASSES)
def test_a_batch_of_no_rows_has_no_losses(name: str) -> None:
    """(0, 1)."""
    labels = torch.zeros(0, 1 if "Sparse" in name else 2)
    assert keras_loss(name)(torch.zeros(0, 2), labels).shape == (0, 1)


SHORT = {"bce": "binarycrossentropy", "mse": "meansquarederror", "mae": "meanabsoluteerror"}


@pytest.mark.parametrize("name", LOSSES)
def test_a_name_means_the_class_that_it_spells(name: str) -> None:
    """With underscores or without; three are short."""
    plain = name.lower().replace("_", "")
    assert SHORT.get(plain, plain) == type(keras_loss(name)).__name__.lower()


def test_a_loss_shows_what_it_was_made_with() -> None:
    """Two of one class differ by it; it is what names a run."""
    assert repr(keras_loss("bce")) == "BinaryCrossentropy(from_logits=True, label_smoothing=0.0)"
    assert repr(Huber(2)) == "Huber(delta=2.0)"
    assert repr(keras_loss("mse")) == "MeanSquaredError()"
    shown = repr(CategoricalFocalCrossentropy([0.5, 1], gamma=1, from_logits=False))
    assert "alpha=(0.5, 1.0), gamma=1.0, from_logits=False" in shown
