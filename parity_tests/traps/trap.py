"""A row of the migration reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from parity_tests.traps.plain_loop import Lab

__all__ = ["Trap"]


class Trap(NamedTuple):
    """One row."""

    name: str
    keras: str
    """What Keras does."""
    torch: str
    """What PyTorch does by default."""
    measure: Callable[[Lab], Mapping[str, float]]
    """Gives the figures; its docstring says what is done wrong to get them."""
    says: str
    """What goes wrong, with the figures as they are rounded for the page."""
    right: str
    """The file below `torch_impl/`, and what in it does it right."""
    proof: str
    """The file below `parity_tests/`, and the test."""
    recorded: Mapping[str, float] | None = None
    """Figures from another machine, for one that cannot measure them."""

    def said(self, figures: Mapping[str, float]) -> str:
        """What goes wrong, in words and measured figures."""
        text = self.says.format(**figures)
        return text.replace("%", " %").replace("e-0", "e-")
