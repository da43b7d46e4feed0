"""Arrays where tensors are taken."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["as_tensor"]


def as_tensor(values: Any, like: Tensor) -> Tensor:
    """A tensor in the dtype and on the device of `like`, a copy only where it must be.

    Raises:
        ValueError: the values are no numbers.
    """
    if isinstance(values, Tensor):
        tensor = values
    else:
        with warnings.catch_warnings():
            # torch warns of arrays that cannot be written to; nothing here writes to rows.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            tensor = torch.as_tensor(_numbers(values))
    return tensor.detach().to(like.device, like.dtype)


def _numbers(values: Any) -> NDArray[Any]:
    """An array of numbers; of a table whose columns are of several kinds, in float64."""
    array = np.asarray(values)
    if array.dtype != object and array.dtype.kind in "biufc":
        return array
    try:
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{array.dtype} values came ({error}); expected numbers") from None
