"""Orders of many rows, in compiled code.

Rows lie farther apart in memory than a cache reaches. `shuffle.cpp` asks for each some steps
before it is needed; Python and torch wait for one after the other.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torch_impl.base.compiled import library, pointer
from torch_impl.base.memory import plain_numbers

__all__ = ["compiled_shuffle", "take_rows"]

_SOURCE = Path(__file__).with_name("shuffle.cpp")
_SLOWER = "the order of rows is drawn in a slower Python loop"

_MANY = 2**17
"""Fewer rows are in order before a compiler has begun."""


def compiled_shuffle(n: int, key: Sequence[int], upper: Sequence[int]) -> Tensor | None:
    """The order of `shuffle_permutation`, int64 (n,).

    Args:
        n: number of rows.
        key: of the stream, two words.
        upper: the upper two of its counter.

    Returns:
        None for few rows and, with a warning, where no compiler is.
    """
    built = library(_SOURCE, _SLOWER) if n >= _MANY else None
    if built is None:
        return None
    order = torch.empty(n, dtype=torch.int64, device="cpu")
    words = np.array([*key, *upper], dtype=np.uint32)
    built.shuffle(pointer(order), ctypes.c_int64(n), pointer(words[:2]), pointer(words[2:]))
    return order


def take_rows(table: Tensor, order: Tensor) -> Tensor:
    """`table[order]`, a copy.

    Args:
        table: (N, …).
        order: int64 (n,), each of 0 to N - 1.
    """
    plain = plain_numbers(table, order) and table.is_contiguous() and order.is_contiguous()
    built = library(_SOURCE, _SLOWER) if plain and len(order) >= _MANY else None
    if built is None:
        return table[order]
    taken = table.new_empty(len(order), *table.shape[1:])
    width = ctypes.c_int64(table[0].nbytes)
    built.take(
        pointer(table), pointer(order), ctypes.c_int64(len(order)), width, pointer(taken)
    )  # fmt: skip
    return taken
