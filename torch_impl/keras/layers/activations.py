"""Keras's activations by Keras's names, as modules of PyTorch.

Source: keras/src/activations/activations.py and keras/src/backend/tensorflow/nn.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "KerasReLU", "activation_module", "leaky_relu"]


class _Exponential(nn.Module):
    """exp(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return torch.exp(x)


class _Gelu(nn.Module):
    """x Φ(x), where TensorFlow makes √½ a float32 on its way, in float64 too."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return 0.5 * x * torch.erfc(-x * _ROOT)


# At a bend TensorFlow's gradient may be another than that of PyTorch's own module. A unit whose
# inputs were all dropped stands just there as long as its bias is 0.


class _Selu(nn.Module):
    """λ x where it is positive, else λ α (exp(x) - 1); at 0 the gradient is λ, not λ α."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        below = _SELU[0] * _SELU[1] * torch.expm1(x.clamp(max=0))
        return torch.where(x < 0, below, _SELU[0] * x)


_SELU = (1.0507009873554804934193349852946, 1.6732632423543772848170429916717)


class _Celu(nn.Module):
    """max(x, 0) + exp(min(x, 0)) - 1; at 0 both let a gradient through, so that it is 2."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x.clamp(min=0) + torch.expm1(x.clamp(max=0))


class _HardTanh(nn.Module):
    """x between -1 and 1, where a gradient still passes."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x.clamp(-1, 1)


class _HardSigmoid(nn.Module):
    """relu6(x + 3) / 6; the gradient of PyTorch's own has 1/6 as a float32, in float64 too."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return nn.functional.relu6(x + 3) / 6


class _Squareplus(nn.Module):
    """(x + √(x² + 4)) / 2."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return (x + (x.square() + 4).sqrt()) / 2


class _SparsePlus(nn.Module):
    """0 below -1, x above 1, (x + 1)² / 4 between."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return torch.where(x < 1, (x.clamp(-1, 1) + 1).square() / 4, x)


class _SparseSigmoid(nn.Module):
    """0 below -1, 1 above 1, (x + 1) / 2 between."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        inside = torch.where(x < 1, (x + 1) / 2, 1.0)
        return torch.where(x > -1, inside, 0.0)


class KerasReLU(nn.Module):
    """`keras.layers.ReLU` with options: 0 up to a threshold, sloped below it, clipped above.

    Args:
        max_value: what is given at most; None for no limit.
        negative_slope: of x - threshold below the threshold.
        threshold: up to which nothing passes.
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
    ) -> None:
        super().__init__()
        self.max_value, self.negative_slope, self.threshold = max_value, negative_slope, threshold

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        # TensorFlow's cast makes threshold and max_value float32, in float64 too.
        threshold = float(np.float32(self.threshold))
        above = torch.where(x > threshold, x, 0) if threshold else torch.relu(x)
        if self.max_value is not None:
            above = above.clamp(0, float(np.float32(self.max_value)))
        if not self.negative_slope:
            return above
        plain = self.max_value is None and not self.threshold
        slope = float(np.float32(self.negative_slope)) if plain else self.negative_slope
        return above - slope * torch.relu(self.threshold - x)

    def extra_repr(self) -> str:
        """What `print` shows."""
        told = (self.max_value, self.negative_slope, self.threshold)
        return "max_value={}, negative_slope={}, threshold={}".format(*told)


_ROOT = float(np.float32(0.7071067811865476))


def leaky_relu(slope: float) -> nn.LeakyReLU:
    """x where it is positive, else slope · x.

    Args:
        slope: TensorFlow makes it float32, in a network of float64 too.
    """
    return nn.LeakyReLU(float(np.float32(slope)))


# Where PyTorch's own default is another number, it stands here.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softmax": lambda: nn.Softmax(-1),
    "log_softmax": lambda: nn.LogSoftmax(-1),
    "elu": nn.ELU,
    "selu": _Selu,
    "celu": _Celu,
    # PyTorch's leaves the curve at 20, where it is 2e-9 away from a straight line.
    "softplus": lambda: nn.Softplus(threshold=40),
    "softsign": nn.Softsign,
    "silu": nn.SiLU,
    "gelu": _Gelu,
    "mish": nn.Mish,
    "exponential": _Exponential,
    "relu6": nn.ReLU6,
    "leaky_relu": lambda: leaky_relu(0.2),
    "hard_silu": nn.Hardswish,
    "hard_tanh": _HardTanh,
    "hard_shrink": nn.Hardshrink,
    "soft_shrink": nn.Softshrink,
    "tanh_shrink": nn.Tanhshrink,
    "log_sigmoid": nn.LogSigmoid,
    "hard_sigmoid": _HardSigmoid,
    "squareplus": _Squareplus,
    "sparse_plus": _SparsePlus,
    "sparse_sigmoid": _SparseSigmoid,
}
"""Name to what makes the module. `hard_sigmoid` is Keras 3's; Keras 2's has another slope."""


def activation_module(name: str) -> nn.Module:
    """The module of a Keras activation's name.

    Raises:
        ValueError: there is none of the name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation is {name[:80]!r}; expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()
