"""Probabilities for another base rate: a shift of the log-odds, and back."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["log_odds", "shift_log_odds"]


def log_odds(rate: float) -> float:
    """`log(rate / (1 - rate))`, in float64.

    Raises:
        ValueError: the rate is not between 0 and 1.
    """
    if not 0 < rate < 1:
        raise ValueError(f"base rate={rate}; expected a share between 0 and 1")
    return math.log(rate) - math.log1p(-rate)


def shift_log_odds(probabilities: Tensor, shift: float) -> Tensor:
    """Probabilities whose odds are multiplied by `exp(shift)`.

    The shift of the other sign leads back, but for rounding. 0 and 1 stay what they are.

    Args:
        probabilities: of any shape, 0 to 1.
        shift: difference of two prior log-odds, natural logarithm.
    """
    return torch.sigmoid(torch.logit(probabilities) + shift)
