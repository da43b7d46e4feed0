"""Texts from files, fit to be shown."""

from __future__ import annotations

__all__ = ["printable"]

_LONGEST_LINE = 8_000  # two of the longest paths


def printable(text: str) -> str:
    """One line that cannot steer a terminal, whatever a file put into it."""
    line = " ".join(text[:_LONGEST_LINE].split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
