"""Binary cross-entropy as Keras computes it, and weights of rows as Keras takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torch_impl.base.arguments import whole

__all__ = [
    "binary_crossentropy",
    "binary_crossentropy_from_logits",
    "class_weight_to_sample_weight",
    "clipped",
    "mean_loss",
]

_EPSILON = 1e-7  # keras.config.epsilon()


def binary_crossentropy_from_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """Loss of each row, unclipped, as `fit` computes it on the TensorFlow backend.

    There Keras finds the logits behind a sigmoid layer and calls
    `tf.nn.sigmoid_cross_entropy_with_logits`: max(z, 0) - z y + log(1 + exp(-|z|)).

    At z = 0 the gradient is 1/2 - y, as there; differentiating `clamp` and `abs` would give
    1 - y. A row whose hidden units were all dropped has z = 0 as long as the output bias is 0.

    Args:
        logits: (N, 1).
        labels: (N, 1), 0 to 1, of the logits' dtype.

    Returns:
        (N, 1).
    """
    if logits.shape != labels.shape:
        raise ValueError(
            f"logits came as {(*logits.shape,)}, labels as {(*labels.shape,)}; expected (N, 1)"
        )
    losses: Tensor = _CrossEntropyFromLogits.apply(logits, labels)  # type: ignore[no-untyped-call]
    return losses


class _CrossEntropyFromLogits(torch.autograd.Function):
    """The formula, with its gradient σ(z) - y in closed form: a third of the operations."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        ctx.save_for_backward(logits, labels)
        softplus = torch.log1p(torch.exp(-logits.abs()))
        return logits.clamp(min=0).sub_(logits * labels).add_(softplus)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, labels = ctx.saved_tensors
        to_labels = -logits * gradient if ctx.needs_input_grad[1] else None
        return (torch.sigmoid(logits) - labels) * gradient, to_labels


def binary_crossentropy(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Loss of each row from probabilities clipped to [1e-7, 1 - 1e-7].

    What Keras computes where it cannot see logits: on the output of `predict`, and on the
    JAX and torch backends (keras/src/backend/tensorflow/nn.py). The clip caps a row's loss
    at 16.118, and kills its gradient beyond.

    Args:
        probabilities: (N, 1), 0 to 1.
        labels: (N, 1), 0 to 1, of the same dtype.

    Returns:
        (N, 1).
    """
    p = clipped(probabilities)
    return -(labels * torch.log(p) + (1 - labels) * torch.log(1 - p))


def clipped(probabilities: Tensor) -> Tensor:
    """Probabilities in [1e-7, 1 - 1e-7]; a gradient passes where they were, ends included.

    Args:
        probabilities: of any shape.
    """
    return probabilities.clamp(_EPSILON, 1 - _EPSILON)


def mean_loss(
    losses: Tensor, sample_weight: Tensor | None = None, rows: int | None = None
) -> Tensor:
    """Keras's `sum_over_batch_size`: sum of w·loss over the number of rows.

    Not over the sum of the weights, which is what `reduction="mean"` with `weight` gives in
    `torch.nn.CrossEntropyLoss`.

    Args:
        losses: (N, 1).
        sample_weight: (N, 1), or None for ones.
        rows: of the batch, where the N are a part of it; the parts' results add up to the mean.

    Raises:
        ValueError: the shapes differ; (N,) beside (N, 1) would make (N, N).
    """
    if sample_weight is not None and sample_weight.shape != losses.shape:
        raise ValueError(
            f"mean_loss: sample_weight came as {(*sample_weight.shape,)}; "
            f"expected {(*losses.shape,)} as the losses"
        )
    weighted = losses if sample_weight is None else losses * sample_weight
    return weighted.mean() if rows is None else weighted.sum() / rows


def class_weight_to_sample_weight(
    labels: Tensor, class_weight: Mapping[int, float], last: int = 1
) -> Tensor:
    """The weight of each row's class; 1 for a class that is not named.

    Args:
        labels: (N, 1), numbers of classes.
        class_weight: class to weight, such as {0: 0.5, 1: 289.4}.
        last: the largest class.

    Returns:
        (N, 1) of the labels' dtype.

    Raises:
        ValueError: a class is none of 0 to `last`.
    """
    if not isinstance(class_weight, Mapping):
        kind = type(class_weight).__name__
        raise ValueError(f"class_weight: a {kind} came; expected a dict of class to weight")
    weights = torch.ones_like(labels)
    for told, weight in class_weight.items():
        label: Any = told  # Keras takes 1.0 for 1
        label = int(label) if isinstance(label, float) and label.is_integer() else label
        weights[labels == whole("class_weight: class", label, 0, last)] = weight
    return weights
