"""Raw rows to features in one pass over memory, where torch's operations take five.

To torch's bits: subtraction, division, clipping and rounding have one right answer each, and the
logarithm, which has not, stays torch's. Rows are taken by blocks that the cache holds.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from torch_impl.base.compiled import library, pointer

__all__ = ["Scaling", "blocks", "scale_rows"]

_SOURCE = Path(__file__).with_name("scaling.cpp")
_ROUND = 8  # of the header
_BLOCK = 2048  # rows; of 29 numbers, half of a core's second-level cache
_RUN = 64

_FUNCTIONS = {torch.float32: "scale_to_float", torch.float64: "scale_to_double"}


class Scaling(ctypes.Structure):
    """`struct Scaling` of the header; holds the numbers that it points to.

    Args:
        mean: float64 (F,), plain numbers.
        scale: likewise.
        clip: features are limited to ±clip.
        log_column: 0 to F - 1, or None for no such column.
        log_offset: added before the logarithm.
    """

    _fields_ = (
        ("means", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("columns", ctypes.c_int64),
        ("logged", ctypes.c_int64),
        ("clip", ctypes.c_double),
    )

    def __init__(
        self,
        mean: Tensor,
        scale: Tensor,
        clip: float,
        log_column: int | None,
        log_offset: float,
    ) -> None:
        self.numbers = mean.repeat(_ROUND), scale.repeat(_ROUND)
        self.log_column, self.log_offset = log_column, log_offset
        logged = -1 if log_column is None else log_column
        super().__init__(*map(pointer, self.numbers), len(mean), logged, clip)

    def logarithms(self, block: Tensor) -> Tensor | None:
        """Float64 (n,) of a block (n, F), if a column's are taken; the whole work of one thread.

        torch shares more than 2048 of them out among threads, and MKL in torch a run of 128 where
        anyone has set their number; each time all wait for a core that another process may have.
        So runs are short here, and do not lie together.
        """
        if self.log_column is None:
            return None
        column = block[:, self.log_column]
        whole = len(column) // _RUN * _RUN
        apart = column.new_empty(whole // _RUN, _RUN + 1)[:, :_RUN]
        torch.add(column[:whole].view(-1, _RUN), self.log_offset, out=apart)
        logarithms = torch.log(apart).view(-1)
        if whole == len(column):
            return logarithms
        return torch.cat([logarithms, torch.log(column[whole:] + self.log_offset)])


def blocks(rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Consecutive rows (n, F) as contiguous float64, and where they stand among all."""
    for start in range(0, len(rows), _BLOCK):
        place = slice(start, start + _BLOCK)
        yield place, rows[place].to(torch.float64).contiguous()


def scale_rows(rows: Tensor, scaling: Scaling, dtype: torch.dtype) -> Tensor | None:
    """Features (N, F) of plain numbers (N, F).

    Args:
        rows: float64.
        scaling: what is done to them.
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
        logged, out = scaling.logarithms(block), features[place]
        function(
            ctypes.byref(scaling), pointer(block), pointer(logged), ctypes.c_int64(len(block)),
            pointer(out),
        )  # fmt: skip
    return features
