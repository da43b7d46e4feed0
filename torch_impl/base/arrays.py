"""Arrays where tensors are taken."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["as_tensor"]


def as_tensor(values: Any, like: Tensor) -> Tensor:
    """A tensor in the dtype and on the device of `like`, a copy only where it must be."""
    if isinstance(values, Tensor):
        tensor = values
    else:
        with warnings.catch_warnings():
            # torch warns of arrays that cannot be written to; nothing here writes to rows.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            tensor = torch.as_tensor(np.asarray(values))
    return tensor.detach().to(like.device, like.dtype)
