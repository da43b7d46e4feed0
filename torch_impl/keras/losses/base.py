"""What Keras's losses share as modules of PyTorch, `loss(outputs, labels)`.

Each gives one loss per row as (N, 1), the shape of `fit`'s weights of rows: losses (N,), as
Keras has them, would make (N, N) of weights (N, 1). `mean_loss` reduces them as Keras's default
`sum_over_batch_size` does.

Differs from Keras's classes:

1. The outputs come first, as in torch; in Keras the labels do.
2. `from_logits=True`, the default here, is what Keras's `fit` computes on TensorFlow for a model
   that ends in a sigmoid or softmax, where Keras's own default is `from_logits=False`: it finds
   the logits behind that layer. `from_logits=False` here is what Keras computes where it sees
   none, as on the output of `predict`.
3. Labels have exactly the shape that is asked for; Keras adds or drops an axis of length 1.
4. Numbers outside their range are refused; Keras takes any.

Source: keras/src/losses/losses.py and keras/src/backend/tensorflow/nn.py.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["RowLoss", "number", "power", "smoothed"]


class RowLoss(nn.Module):
    """What gives one loss per row, (N, 1), of outputs (N, units) and their labels."""

    def __init__(self) -> None:
        super().__init__()

    def extra_repr(self) -> str:
        """The arguments it was made with, by which two of a class are told apart."""
        names = inspect.signature(type(self)).parameters
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)

    def like_outputs(self, outputs: Tensor, labels: Tensor, hint: str = "") -> Tensor:
        """The labels in the outputs' dtype.

        Raises:
            ValueError: they are not both (N, units); (N,) beside (N, 1) would make (N, N).
        """
        if outputs.ndim != 2 or outputs.shape != labels.shape:
            raise ValueError(
                f"{type(self).__name__}: outputs came as {(*outputs.shape,)}, labels as "
                f"{(*labels.shape,)}; expected one shape (N, units) of both{hint}"
            )
        return labels.to(outputs.dtype)


def number(loss: nn.Module, name: str, value: float, least: float, most: float = math.inf) -> float:
    """An argument of a loss, as a `float`.

    Raises:
        ValueError: it is not finite, or out of range.
    """
    if not (math.isfinite(value) and least <= value <= most):
        span = f"{least} or more" if most == math.inf else f"{least} to {most}"
        raise ValueError(f"{type(loss).__name__}: {name}={value}; expected {span}")
    return float(value)


def smoothed(labels: Tensor, smoothing: float, classes: int) -> Tensor:
    """Labels y as y (1 - s) + s / classes."""
    return labels * (1 - smoothing) + smoothing / classes if smoothing else labels


def power(x: Tensor, gamma: float) -> Tensor:
    """x^γ with TensorFlow's gradient γ x^(γ-1); torch's is 0 where γ is, at x = 0 too."""
    raised: Tensor = _Power.apply(x, gamma)  # type: ignore[no-untyped-call]
    return raised


class _Power(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.gamma = gamma
        return x.pow(gamma)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradient * ctx.gamma * x.pow(ctx.gamma - 1), None
