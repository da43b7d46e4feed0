"""Keras's losses whose labels have the outputs' shape; the mean over the units is a row's."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_impl.keras.losses.base import RowLoss, number, power, smoothed
from torch_impl.keras.losses.functions import binary_crossentropy, binary_crossentropy_from_logits

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "Huber",
    "MeanAbsoluteError",
    "MeanSquaredError",
]


class BinaryCrossentropy(RowLoss):
    """`keras.losses.BinaryCrossentropy`, the mean over the units of a row.

    With logits as `binary_crossentropy_from_logits`, else as `binary_crossentropy`. A softmax
    at the end of a model changes nothing of that: Keras takes what stands behind it as the
    logits of sigmoids too.

    Args:
        from_logits: whether the outputs are logits; see `loss_base`.
        label_smoothing: s, 0 to 1, makes y (1 - s) + s / 2 of the labels.

    Raises:
        ValueError: a number is outside its range.
    """

    def __init__(self, from_logits: bool = True, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.from_logits = from_logits
        self.label_smoothing = number(self, "label_smoothing", label_smoothing, 0, 1)

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Both (N, units); labels 0 to 1."""
        labels = smoothed(self.like_outputs(outputs, labels), self.label_smoothing, 2)
        return _mean(_entropies(outputs, labels, self.from_logits))


class BinaryFocalCrossentropy(RowLoss):
    """`keras.losses.BinaryFocalCrossentropy`: (1 - pₜ)^γ · cross-entropy, pₜ = y p + (1-y)(1-p).

    1. The probability p comes from the sigmoid, the cross-entropy beside it from the logits: a
       row that is wrong and sure costs its whole logit, unclipped. Without logits the
       cross-entropy is clipped, and p is not.
    2. The gradient goes through both. Where pₜ rounds to 1, γ (1 - pₜ)^(γ-1) is infinite if
       γ < 1, γ = 0 included, and the gradient is NaN, as it is in Keras.
    3. α weighs the labels only with `apply_class_balancing`: by α where y is 1, by 1 - α where
       it is 0.

    Args:
        apply_class_balancing: whether α is used.
        alpha: α, 0 to 1.
        gamma: γ, 0 or more.
        from_logits: as in `BinaryCrossentropy`.
        label_smoothing: as in `BinaryCrossentropy`.

    Raises:
        ValueError: a number is outside its range.
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = True,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.apply_class_balancing = apply_class_balancing
        self.alpha = number(self, "alpha", alpha, 0, 1)
        self.gamma = number(self, "gamma", gamma, 0)
        self.from_logits = from_logits
        self.label_smoothing = number(self, "label_smoothing", label_smoothing, 0, 1)

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Both (N, units); labels 0 to 1."""
        labels = smoothed(self.like_outputs(outputs, labels), self.label_smoothing, 2)
        p = torch.sigmoid(outputs) if self.from_logits else outputs
        p_of_label = labels * p + (1 - labels) * (1 - p)
        losses = power(1 - p_of_label, self.gamma) * _entropies(outputs, labels, self.from_logits)
        if self.apply_class_balancing:
            losses = (labels * self.alpha + (1 - labels) * (1 - self.alpha)) * losses
        return _mean(losses)


class MeanSquaredError(RowLoss):
    """`keras.losses.MeanSquaredError`, over the units of a row."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Both (N, units)."""
        labels = self.like_outputs(outputs, labels)
        return _mean((labels - outputs).square())


class MeanAbsoluteError(RowLoss):
    """`keras.losses.MeanAbsoluteError`, over the units of a row.

    The gradient of |e| is the sign of e, 0 at 0. Of a missing number it is NaN, where that of
    `torch.nn.L1Loss` is 0.
    """

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Both (N, units)."""
        error = self.like_outputs(outputs, labels) - outputs
        sign = torch.where(error.isnan(), error, error.sign()).detach()  # torch's sign of NaN is 0
        return _mean(error * sign)


class Huber(RowLoss):
    """`keras.losses.Huber`: e² / 2 where |e| ≤ δ, else δ |e| - δ² / 2; the mean over the units.

    As `torch.nn.HuberLoss`, but for the gradient of an infinite error, which is NaN here as in
    Keras. `torch.nn.SmoothL1Loss(beta=δ)` is 1 / δ times that.

    Args:
        delta: δ, 0 or more.

    Raises:
        ValueError: it is negative or not finite.
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = number(self, "delta", delta, 0)

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Both (N, units)."""
        error = outputs - self.like_outputs(outputs, labels)
        size, delta = error.abs(), outputs.new_tensor(self.delta)
        # Both sides are differentiated, the square of infinity too.
        losses = torch.where(size <= delta, error.square() / 2, delta * size - delta.square() / 2)
        return _mean(losses)


def _entropies(outputs: Tensor, labels: Tensor, from_logits: bool) -> Tensor:
    return (binary_crossentropy_from_logits if from_logits else binary_crossentropy)(
        outputs, labels
    )


def _mean(losses: Tensor) -> Tensor:
    """Of a row; one unit is its own mean, which saves `fit` two operations in each step."""
    return losses if losses.shape[1] == 1 else losses.mean(-1, keepdim=True)
