"""Penalties on weights, as Keras adds them to the loss.

Source: keras/src/regularizers/regularizers.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["L1L2", "penalty", "regularizer_of"]


class L1L2(NamedTuple):
    """`keras.regularizers.L1L2`: l1 Σ|w| + l2 Σw² of a weight, added to the loss of each batch.

    Differs from the `weight_decay` of a torch optimizer:

    1. The gradient is 2 l2 w; weight_decay's is weight_decay w.
    2. It passes through the optimizer's moments, where AdamW's decay passes them by.
    3. The reported loss has it in, of validation too.
    4. In float64 too, TensorFlow makes l1 and l2 float32 on their way.

    Args:
        l1: factor of the sum of absolute values.
        l2: factor of the sum of squares.
    """

    l1: float = 0.0
    l2: float = 0.0

    def __call__(self, weight: Tensor) -> Tensor:
        """The penalty of one weight, a scalar of its dtype."""
        total = weight.new_zeros(())
        if self.l1:
            total = total + float(np.float32(self.l1)) * weight.abs().sum()
        if self.l2:
            total = total + float(np.float32(self.l2)) * weight.square().sum()
        return total


# Keras 2 knows "l1_l2"; Keras 3 has "l1l2" in its place, whose factors are 0.
_BY_NAME = {
    "l1": L1L2(l1=0.01), "l2": L1L2(l2=0.01), "l1_l2": L1L2(0.01, 0.01), "l1l2": L1L2(),
}  # fmt: skip
_CLASSES = {"L1": ("l1",), "L2": ("l2",), "L1L2": ("l1", "l2")}


def regularizer_of(told: Any) -> L1L2:
    """The regularizer of Keras's name or serialized object.

    Raises:
        ValueError: it is another one, or a factor is none.
    """
    if isinstance(told, L1L2):
        factors: Mapping[str, Any] = told._asdict()
    elif isinstance(told, str) and told.lower() in _BY_NAME:
        return _BY_NAME[told.lower()]
    else:
        config = told.get("config") if isinstance(told, Mapping) else None
        kind = str(told.get("class_name")) if isinstance(told, Mapping) else None
        if not isinstance(config, Mapping) or kind not in _CLASSES or told.get("registered_name"):
            raise ValueError(f"regularizer={str(told)[:80]}; expected l1, l2 or l1_l2")
        factors = {name: config.get(name, 0.01) for name in _CLASSES[kind]}
    for name, value in factors.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or abs(value) > 1e30:
            raise ValueError(f"regularizer has {name}={str(value)[:80]}; expected a number")
    return L1L2(**{name: float(value) for name, value in factors.items()})


def penalty(model: nn.Module) -> Tensor | None:
    """What the weights of a module, and of those within it, add to the loss; None for nothing.

    A module says so itself in an attribute `regularizers`: its parameters' names to `L1L2`.
    """
    terms = [
        regularizer(module.get_parameter(name))
        for module in model.modules()
        for name, regularizer in getattr(module, "regularizers", {}).items()
    ]
    return torch.stack(terms).sum() if terms else None
