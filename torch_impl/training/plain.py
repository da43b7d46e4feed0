"""Which classifiers the compiled network is, and their numbers as it takes them.

`network.h`, in the folder of what every room stands on, knows one recipe. Where anything else is
at work, or somebody waits to be called, PyTorch's own operations run.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torch_impl.model import FraudClassifier
from torch_impl.training.shares import TILE

__all__ = ["REALS", "altered", "is_plain", "packed", "parameters_of", "sizes", "unpack"]

REALS = {torch.float32: ("float", ctypes.c_float), torch.float64: ("double", ctypes.c_double)}
"""What the source may be built for: C++'s name, and its type."""

_MOST_WEIGHTS = 2**14
"""More than these, four times over, might not find room on a thread's stack."""


def is_plain(model: nn.Module, dtype: torch.dtype) -> TypeGuard[FraudClassifier]:
    """Whether a module is the network of `network.h`, in this dtype and on the CPU."""
    return (
        type(model) is FraudClassifier
        and model.hidden_units % 8 == 0  # whole vectors
        and model.in_features * model.hidden_units <= _MOST_WEIGHTS
        and dtype in REALS
        and (type(model.activation), type(model.hidden)) == (nn.ReLU, nn.Linear)
        and type(model.output) is nn.Linear
        and all(p.dtype == dtype and p.device.type == "cpu" for p in parameters_of(model))
        and not torch.is_autocast_enabled("cpu")
    )


def parameters_of(model: FraudClassifier) -> list[Tensor]:
    """Its four, in the source's order."""
    return [model.hidden.weight, model.hidden.bias, model.output.weight, model.output.bias]


def sizes(model: FraudClassifier) -> dict[str, str | int]:
    """What the source is compiled with."""
    real = REALS[model.hidden.weight.dtype][0]
    return {
        "FEATURES": model.in_features, "HIDDEN": model.hidden_units, "TILE": TILE, "REAL": real,
    }  # fmt: skip


def altered(*things: nn.Module | torch.optim.Optimizer) -> bool:
    """Whether a hook of any kind or a replaced method waits to be called.

    A kind of hook is known by torch's name for where it keeps them. A learning-rate scheduler
    replaces the optimizer's `step`, and warns where it is not called.
    """
    modules = [m for thing in things if isinstance(thing, nn.Module) for m in thing.modules()]
    objects = [*modules, *(thing for thing in things if not isinstance(thing, nn.Module))]
    keepers: list[Mapping[str, Any]] = [vars(thing) for thing in objects]
    keepers += [vars(sys.modules[kind.__module__]) for kind in (nn.Module, torch.optim.Optimizer)]
    keepers += [
        {name: getattr(p, name, None) for name in _TENSOR_HOOKS}
        for module in modules
        for p in module.parameters(recurse=False)
    ]
    hooked = any(
        # What waits for a registration is not called while a model is trained; a failed export of
        # torch 2.12 leaves such a one behind.
        name.endswith("_hooks") and "registration" not in name and kept
        for keeper in keepers
        for name, kept in keeper.items()
    )
    return hooked or any(
        callable(getattr(type(thing), name, None)) for thing in objects for name in vars(thing)
    )


_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def packed(tensors: list[Tensor]) -> NDArray[Any]:
    """One vector in the source's order: kernels in Keras's layout, (in, out)."""
    return np.concatenate([t.detach().numpy().T.ravel() for t in tensors])


def unpack(vector: NDArray[Any], tensors: list[Tensor]) -> None:
    """Writes what `packed` gave back into the tensors."""
    at = 0
    with torch.no_grad():
        for tensor in tensors:
            part = torch.from_numpy(vector[at : at + tensor.numel()])
            tensor.copy_(part.reshape(tensor.shape[::-1]).T if tensor.ndim == 2 else part)
            at += tensor.numel()
