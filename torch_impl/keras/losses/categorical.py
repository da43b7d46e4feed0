"""Keras's losses of one class out of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from torch_impl.keras.losses.base import RowLoss, number, power, smoothed
from torch_impl.keras.losses.functions import clipped

__all__ = [
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "SparseCategoricalCrossentropy",
]

_HINT = "; SparseCategoricalCrossentropy takes the numbers of classes"


class CategoricalCrossentropy(RowLoss):
    """`keras.losses.CategoricalCrossentropy`: -Σ y log p.

    1. With logits, p is their softmax, unclipped, and the gradient is p - y whatever a row's
       labels sum to (`tf.nn.softmax_cross_entropy_with_logits`). The derivative, which
       `torch.nn.CrossEntropyLoss` takes, is (Σy) p - y: the same where they sum to 1.
    2. Without, the outputs are divided by their sum and then clipped to [1e-7, 1 - 1e-7].

    Args:
        from_logits: whether the outputs are logits; see `loss_base`.
        label_smoothing: s, 0 to 1, makes y (1 - s) + s / C of the labels.

    Raises:
        ValueError: a number is outside its range.
    """

    def __init__(self, from_logits: bool = True, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.from_logits = from_logits
        self.label_smoothing = number(self, "label_smoothing", label_smoothing, 0, 1)

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Both (N, C); labels are one-hot or a distribution over the classes."""
        labels = self.like_outputs(outputs, labels, _HINT)
        labels = smoothed(labels, self.label_smoothing, outputs.shape[1])
        if self.from_logits:
            losses: Tensor = _SoftmaxCrossEntropy.apply(outputs, labels)  # type: ignore[no-untyped-call]
            return losses
        p = clipped(outputs / outputs.sum(-1, keepdim=True))
        return -(labels * torch.log(p)).sum(-1, keepdim=True)


class CategoricalFocalCrossentropy(RowLoss):
    """`keras.losses.CategoricalFocalCrossentropy`: Σ α (1 - p)^γ · (-y log p).

    1. Inside `fit` too p is the softmax, divided by its sum and clipped to [1e-7, 1 - 1e-7];
       the logits behind it are used nowhere. No row costs more than α · 16.118, and one whose
       p are all clipped has no gradient: a model that is wrong and sure stays so.
    2. A single α stays the number it is; of a list TensorFlow makes float32, in float64 too.

    Args:
        alpha: α, 0 or more, of all classes or one for each.
        gamma: γ, 0 or more.
        from_logits: whether the outputs are logits; see `loss_base`.
        label_smoothing: as in `CategoricalCrossentropy`.

    Raises:
        ValueError: a number is outside its range.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = True,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.alpha: float | tuple[float, ...]
        if isinstance(alpha, Sequence):
            self.alpha = tuple(float(np.float32(number(self, "alpha", a, 0))) for a in alpha)
        else:
            self.alpha = number(self, "alpha", alpha, 0)
        self.gamma = number(self, "gamma", gamma, 0)
        self.from_logits = from_logits
        self.label_smoothing = number(self, "label_smoothing", label_smoothing, 0, 1)

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Both (N, C); labels are one-hot or a distribution over the classes.

        Raises:
            ValueError: shapes do not fit, or α has another number of classes.
        """
        labels = self.like_outputs(outputs, labels, _HINT)
        if isinstance(self.alpha, tuple) and len(self.alpha) != outputs.shape[1]:
            raise ValueError(
                f"CategoricalFocalCrossentropy: alpha has {len(self.alpha)} numbers; expected "
                f"{outputs.shape[1]}, one for each class"
            )
        labels = smoothed(labels, self.label_smoothing, outputs.shape[1])
        p = torch.softmax(outputs, -1) if self.from_logits else outputs
        p = clipped(p / p.sum(-1, keepdim=True))
        weights = power(1 - p, self.gamma) * outputs.new_tensor(self.alpha)
        return (weights * (-labels * torch.log(p))).sum(-1, keepdim=True)


class SparseCategoricalCrossentropy(RowLoss):
    """`keras.losses.SparseCategoricalCrossentropy`: -log p of the row's class.

    1. With logits, p is their softmax, unclipped. Without, the outputs are clipped to
       [1e-7, 1 - 1e-7] first, and divided by their sum then: the other way round than in
       `CategoricalCrossentropy`.
    2. A label that is no whole number is refused; Keras cuts its fraction off. To know, the
       labels are read, for which a GPU is waited for.

    Args:
        from_logits: as in `CategoricalCrossentropy`.
    """

    def __init__(self, from_logits: bool = True) -> None:
        super().__init__()
        self.from_logits = from_logits

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Outputs (N, C); labels (N,) or (N, 1), whole numbers 0 to C - 1 of any dtype.

        Raises:
            ValueError: shapes do not fit, or a label is no such number.
        """
        numbers = _class_numbers(outputs, labels)
        logits = outputs if self.from_logits else torch.log(clipped(outputs))
        return functional.cross_entropy(logits, numbers, reduction="none").unsqueeze(-1)


def _class_numbers(outputs: Tensor, labels: Tensor) -> Tensor:
    """The labels as (N,), int64."""
    if outputs.ndim != 2 or labels.shape not in (outputs.shape[:1], (len(outputs), 1)):
        raise ValueError(
            f"SparseCategoricalCrossentropy: outputs came as {(*outputs.shape,)}, labels as "
            f"{(*labels.shape,)}; expected (N, C) and (N,) or (N, 1)"
        )
    classes = outputs.shape[1]
    flat = labels.flatten()
    numbers = flat.long()
    served = (numbers == flat) & (numbers >= 0) & (numbers < classes)
    if not served.all():
        raise ValueError(
            f"SparseCategoricalCrossentropy: labels hold {flat[~served][0].item()}; expected whole "
            f"numbers from 0 to {classes - 1}"
        )
    return numbers


class _SoftmaxCrossEntropy(torch.autograd.Function):
    """-Σ y log softmax(z) with TensorFlow's gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        ctx.save_for_backward(logits, labels)
        return -(labels * torch.log_softmax(logits, -1)).sum(-1, keepdim=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        logits, labels = ctx.saved_tensors
        p = torch.softmax(logits, -1)
        return (p - labels) * gradient, -torch.log_softmax(logits, -1) * gradient
