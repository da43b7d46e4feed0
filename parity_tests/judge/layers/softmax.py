"""Forward error bounds of softmax and of its logarithm, over the last axis.

As in `parity_tests.judge.bounds`, each takes a `Bounded` (…, n) and gives the next one. The
numbers of a row may each be off by as much as is allowed to them, independently.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from parity_tests.judge.bounds import U32, Bounded, gamma
from parity_tests.judge.layers.elementwise import ACTIVATIONS, FLOOR, claimed

__all__ = ["log_softmax", "softmax"]

_LOG_ULP = 3.48
"""Of a logarithm from 1 up: TensorFlow's errs by 3.4712 just above 1, PyTorch's by 0.9737."""
_UNSURE = 50.0
"""A row with a number that may be off by more has any softmax, in effect."""


def softmax(x: Bounded) -> Bounded:
    """exp(xᵢ - max) / Σ exp(xⱼ - max), summed in any order."""
    shares = _log_shares(x)
    with np.errstate(all="ignore"):
        value, least, most = (np.exp(log) for log in shares.logs)
        carried = np.maximum(most - value, value - least)
        # A quotient, or a reciprocal and a product. Errors are relative: they add to a logarithm.
        own = np.exp(shares.logs[2] + shares.rounding + gamma(2)) - most
    return claimed(value, carried + own + FLOOR, shares.unclaimed)


def log_softmax(x: Bounded) -> Bounded:
    """xᵢ - max - log Σ exp(xⱼ - max), summed in any order."""
    shares = _log_shares(x)
    with np.errstate(all="ignore"):
        value, least, most = shares.logs
        carried = np.maximum(most - value, value - least)
        # What is relative in the sum is absolute in its logarithm, which is at most log n.
        logarithm = 2 * U32 * _LOG_ULP * np.log(value.shape[-1])
        own = shares.rounding + logarithm + gamma(2) * (np.abs(least) + np.log(value.shape[-1]))
    return claimed(value, carried + own + FLOOR, shares.unclaimed)


class _Shares(NamedTuple):
    logs: tuple[np.ndarray, np.ndarray, np.ndarray]
    """log p, and the least and the most that it may be."""
    rounding: np.ndarray
    """What exp(xᵢ - max) and the sum of them may be off by together, relative to them."""
    unclaimed: np.ndarray


def _log_shares(x: Bounded) -> _Shares:
    v, a = x
    n = v.shape[-1]
    known = (a <= _UNSURE).all(-1, keepdims=True)
    a = np.where(known, a, 0)
    with np.errstate(all="ignore"):
        top = v.max(-1, keepdims=True)
        low, middle, high = (np.exp(z - top) for z in (v - a, v, v + a))
        # log pᵢ rises with xᵢ and falls with the others: its ends are theirs. A sum less one of
        # its terms is off by float64's rounding of the sum, to which the other end is added.
        above, below = (np.maximum(e.sum(-1, keepdims=True) - e, 0) for e in (low, high))
        value = v - top - np.log(middle.sum(-1, keepdims=True))
        most, least = v + a - top - np.log(high + above), v - a - top - np.log(low + below)
        # A difference is rounded, which moves its exponential by as much as it is long. Of the
        # sum's terms the mean of that counts: the mean of -log of shares, at most log n.
        steps = np.where(np.isfinite(v), top - v, 0) + a + a.max(-1, keepdims=True) + np.log(n)
        exponentials = 2 * 2 * U32 * ACTIVATIONS["exponential"].ulp
        rounding = U32 * steps + exponentials + gamma(n)
    return _Shares((value, least, most), rounding, ~known)
