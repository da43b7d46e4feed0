"""The one error for bad input."""

from __future__ import annotations

__all__ = ["DataError"]


class DataError(ValueError):
    """Bad input, in one line: where, what came, what was expected."""
