"""Dropout with Keras's own random stream."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from torch_impl.keras.layers.drawing import Drawing
from torch_impl.keras.random import Conversion, dropout_masks

__all__ = ["KerasDropout"]


class KerasDropout(Drawing):
    """`keras.layers.Dropout(rate, seed=seed)`: the same units, bit for bit.

    Differs from `nn.Dropout` in where the mask comes from alone: a unit's fate is a function
    of the seed, of how many training calls came before, and of its place in the batch. The mask
    is float32's in every dtype; a float64 layer of Keras draws other bits.
    Source: keras/src/layers/regularization/dropout.py.

    Args:
        rate: share of units dropped in training, 0 to 1.
        seed: the layer's, as given or as `layer_seeds` draws it.
        conversion: `"xla"` for a reference under `jit_compile=True`.

    Raises:
        ValueError: the rate is outside 0 to 1.
    """

    seed: int

    def __init__(self, rate: float, seed: int, conversion: Conversion = "op") -> None:
        super().__init__(seed)
        if not 0 <= rate <= 1:
            raise ValueError(f"KerasDropout: rate={rate}; expected a share from 0 to 1")
        self.rate = rate
        self.conversion = conversion

    def forward(self, x: Tensor) -> Tensor:
        """Drops and scales units of (…, units) in training; else the identity."""
        if not self.training or self.rate == 0:
            return x
        if self.rate == 1:  # Keras draws nothing then, and does not count the call
            return torch.zeros_like(x)
        return self._counted(self._drop, x)

    def _drop(self, x: Tensor) -> Tensor:
        units = x.shape[-1]
        rows = math.prod(x.shape[:-1])
        # A power of two, so that batches of every size share few blocks.
        drawn = 1 << (rows - 1).bit_length() if rows else 0
        ahead = max(1, min(_CALLS_AHEAD, _UNITS_AHEAD // max(drawn * units, 1)))
        block, call = divmod(self.calls, ahead)
        stream = (self.seed, self.rate, self.conversion, x.device)
        first = self._before(x) // units
        mask = _masks(*stream, block * ahead, ahead, first, drawn, units, x.dtype)[call, :rows]
        self.calls += 1
        kept: Tensor = _Scaled.apply(x, mask.view(x.shape), 1 / (1 - self.rate))  # type: ignore[no-untyped-call]
        return kept

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"rate={self.rate}, seed={self.seed}"


class _Scaled(torch.autograd.Function):
    """x · scale where the mask's bits are ones, +0 where they are zeros, whatever x is there.

    The bits of `torch.where(mask, x * scale, 0)`, and of its gradient, in a tenth of its time:
    on the CPU `where` decides unit by unit, and nobody foresees a random mask.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        # TensorFlow rounds the scale to the dtype first (nn_ops.py, `_dropout`).
        scaled = x * torch.tensor(scale, dtype=x.dtype)
        scaled.view(mask.dtype).bitwise_and_(mask)
        return scaled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Scaled.apply(gradient, *ctx.saved_tensors, ctx.scale), None, None  # type: ignore[no-untyped-call]


# Masks of so many calls are made together, since the kernels are short, up to what stays in
# a core's cache: one and a half times as fast. Being functions of the counter alone they may
# be forgotten and made again at any time.
_CALLS_AHEAD = 16
_UNITS_AHEAD = 2**18
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@lru_cache(maxsize=4)
def _masks(
    seed: int,
    rate: float,
    conversion: Conversion,
    device: torch.device,
    first: int,
    calls: int,
    first_row: int,
    rows: int,
    units: int,
    dtype: torch.dtype,
) -> Tensor:
    """Masks of `dropout_masks` as integers as wide as `dtype`, all bits one where kept."""
    steps = range(first, first + calls)
    drawn = range(first_row, first_row + rows)
    kept = dropout_masks(seed, steps, rate, drawn, units, conversion, device)
    return -kept.to(_INTEGERS[dtype.itemsize])
