"""Raw rows to features in one pass over memory, where torch's operations take five.

To torch's bits: subtraction, division, clipping and rounding have one right answer each, and the
logarithm, which has not, stays torch's. Rows are taken by blocks that the cache holds.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from torch_impl.base.compiled import library, pointer

__all__ = ["Scaling", "blocks", "scale_rows"]

_SOURCE = Path(__file__).with_name("scaling.cpp")
_ROUND = 8  # of the header
_BLOCK = 8192  # rows; of 29 numbers, the 2 MB that stay in a cache

_FUNCTIONS = {torch.float32: "scale_to_float", torch.float64: "scale_to_double"}


class Scaling(ctypes.Structure):
    """`struct Scaling` of the header; holds the numbers that it points to.

    Args:
        mean: float64 (F,), plain numbers.
        scale: likewise.
        clip: features are limited to ±clip.
        log_column: 0 to F - 1, or None for no such column.
    """

    _fields_ = (
        ("means", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("columns", ctypes.c_int64),
        ("logged", ctypes.c_int64),
        ("clip", ctypes.c_double),
    )

    def __init__(self, mean: Tensor, scale: Tensor, clip: float, log_column: int | None) -> None:
        self.numbers = mean.repeat(_ROUND), scale.repeat(_ROUND)
        logged = -1 if log_column is None else log_column
        super().__init__(*map(pointer, self.numbers), len(mean), logged, clip)


def blocks(rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Consecutive rows (n, F) as contiguous float64, and where they stand among all."""
    for start in range(0, len(rows), _BLOCK):
        place = slice(start, start + _BLOCK)
        yield place, rows[place].to(torch.float64).contiguous()


def scale_rows(
    rows: Tensor,
    scaling: Scaling,
    logarithms: Callable[[Tensor], Tensor | None],
    dtype: torch.dtype,
) -> Tensor | None:
    """Features (N, F) of plain numbers (N, F).

    Args:
        rows: float64.
        scaling: what is done to them.
        logarithms: gives those of a block's column, (n, 1), or None if none is taken.
        dtype: of the features.

    Returns:
        None for a dtype that the source does not know and, with a warning, where no compiler is.
    """
    slower = "raw rows become features by torch's slower operations"
    built = library(_SOURCE, slower) if dtype in _FUNCTIONS else None
    if built is None:
        return None
    function = built[_FUNCTIONS[dtype]]
    features = torch.empty(rows.shape, dtype=dtype, device="cpu")
    for place, block in blocks(rows):
        logged, out = logarithms(block), features[place]
        function(
            ctypes.byref(scaling), pointer(block), pointer(logged), ctypes.c_int64(len(block)),
            pointer(out),
        )  # fmt: skip
    return features
