"""Training and inference modes that are given back as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["inference", "own_modes"]


@contextmanager
def own_modes(model: nn.Module) -> Iterator[None]:
    """Gives every module back the mode that it had, also after an error."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Runs every module in inference mode, without gradients."""
    with own_modes(model), torch.no_grad():
        for module in model.modules():
            module.training = False
        yield
