"""Whole numbers that people hand over: of any integer type, and within their range."""

from __future__ import annotations

import operator
from typing import Any

__all__ = ["whole"]


def whole(name: str, value: Any, least: int, most: int = 2**63 - 1) -> int:
    """The number as an `int`.

    Args:
        name: of the argument with its function, for errors: `"fit: batch_size"`.
        value: an `int`, a NumPy integer, or a tensor or array of one; no `bool`.
        least: the least number that serves.
        most: the greatest.

    Raises:
        ValueError: it is no whole number, or out of range.
    """
    span = f"{_said(least)} to {_said(most)}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        told = repr(value) if number is None else str(number)
        raise ValueError(f"{name}={told[:80]}; expected a whole number from {span}")
    return number


def _said(number: int) -> str:
    """A limit as people write it."""
    power = number.bit_length()
    if number > 1000 and number == 2**power - 1:
        return f"2**{power} - 1"
    return str(number)
