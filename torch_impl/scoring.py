"""Raw rows to probabilities in one pass over memory."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from torch_impl.base.arrays import as_tensor
from torch_impl.base.compiled import library, pointer
from torch_impl.base.memory import plain_numbers
from torch_impl.base.modes import inference
from torch_impl.base.scaling import blocks
from torch_impl.features import FeatureTransform
from torch_impl.keras.layers.dropout import KerasDropout
from torch_impl.model import FraudClassifier
from torch_impl.training.plain import REALS, altered, is_plain, packed, parameters_of, sizes

__all__ = ["probabilities"]

_SOURCE = Path(__file__).with_name("scoring.cpp")
_PART = 8192  # rows at a time, as in `predict`
_MANY = 2**20
"""Of fewer numbers torch's operations are through before a compiler has begun."""


def probabilities(
    transform: FeatureTransform,
    model: FraudClassifier,
    rows: ArrayLike | Tensor,
    log_odds_shift: float = 0.0,
) -> Tensor:
    """What `model.predict_proba(transform(rows))` gives, with no more memory than its result.

    Rows go through transform and network block by block, compiled where both are plain, on the
    CPU and of one dtype. No units are dropped and no gradient is tracked.

    Args:
        transform: of raw rows.
        model: gives logits of its features.
        rows: (N, F) raw rows, a tensor or an array of numbers.
        log_odds_shift: added to every logit, such as the correction for another base rate.

    Returns:
        (N, 1), in the model's dtype and on its device.

    Raises:
        ValueError: the rows have another width, or the shift is not finite.
    """
    if not math.isfinite(log_odds_shift):
        raise ValueError(f"probabilities: log_odds_shift={log_odds_shift}; expected it finite")
    table = as_tensor(rows, transform.mean) if not isinstance(rows, Tensor) else rows
    if table.ndim == 2 and table.numel() >= _MANY:
        compiled = _compiled(transform, model, table, log_odds_shift)
        if compiled is not None:
            return compiled
    starts = range(0, len(table), _PART) if table.ndim > 1 else ()
    # No rows, and one alone, make a part too, for its shape and errors.
    parts = [table[start : start + _PART] for start in starts] or [table]
    with inference(model):
        return torch.cat([torch.sigmoid(model(transform(p)) + log_odds_shift) for p in parts])


def _compiled(
    transform: FeatureTransform, model: FraudClassifier, rows: Tensor, shift: float
) -> Tensor | None:
    """None where something is at work that `scoring.cpp` does not know."""
    dtype = transform.dtype
    plain = (
        type(transform) is FeatureTransform
        and is_plain(model, dtype)
        and rows.shape[1] == len(transform.mean) == model.in_features
        and type(model.dropout) in (nn.Dropout, KerasDropout)
        and plain_numbers(rows, transform.mean, transform.scale)
        and not altered(transform, model)
    )
    slower = "raw rows become probabilities by torch's slower operations"
    built = library(_SOURCE, slower, **sizes(model)) if plain else None
    if built is None:
        return None
    real, scaling = REALS[dtype][1], transform.scaling()
    weights = packed(parameters_of(model))
    found = torch.empty(len(rows), 1, dtype=dtype, device="cpu")
    for place, block in blocks(rows):
        logged, out = scaling.logarithms(block), found[place]
        built.probabilities(
            ctypes.byref(scaling), pointer(block), pointer(logged), ctypes.c_int64(len(block)),
            pointer(weights), real(shift), pointer(out),
        )  # fmt: skip
    return found
