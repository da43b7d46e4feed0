"""Looking for garbage among a million objects that stay takes a second: not while they are made.

The first import of `conftest.py`, before torch and the tests' modules are loaded; it goes on
looking when they are.
"""

from __future__ import annotations

import gc

__all__ = ["look_again", "look_no_more"]

gc.disable()


def look_again() -> None:
    """From now on, but seldom, and never again among what there is by now."""
    gc.freeze()
    gc.set_threshold(100_000)  # new objects, not 700: half a second of the fast part
    gc.enable()


def look_no_more() -> None:
    """Not even as the interpreter ends: half a second over what goes anyway."""
    gc.freeze()
