"""Keras's activations by Keras's names, as modules of PyTorch.

Source: keras/src/activations/activations.py and keras/src/backend/tensorflow/nn.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "activation_module", "leaky_relu"]


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
    "selu": nn.SELU,
    "celu": nn.CELU,
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
    "hard_tanh": nn.Hardtanh,
    "hard_shrink": nn.Hardshrink,
    "soft_shrink": nn.Softshrink,
    "tanh_shrink": nn.Tanhshrink,
    "log_sigmoid": nn.LogSigmoid,
    "hard_sigmoid": nn.Hardsigmoid,
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
