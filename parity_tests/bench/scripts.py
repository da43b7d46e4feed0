"""The contestants that are whole programs, and how one is run within a process."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

__all__ = ["SCRIPTS", "run_script"]

SCRIPTS = Path(__file__).with_name("contestants")


def run_script(name: str, arguments: list[str]) -> None:
    """As its command would, but here."""
    before, sys.argv = sys.argv, [name, *arguments]
    try:
        runpy.run_path(str(SCRIPTS / name))
    finally:
        sys.argv = before
