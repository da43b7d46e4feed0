"""The proof: the one room that knows the other three."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
"""Of the checkout."""
