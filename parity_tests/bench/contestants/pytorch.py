"""What PyTorch has of its own: an order of rows, and a program that was exported."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from parity_tests.bench.race import seconds_of

__all__ = ["order_seconds", "probabilities_seconds"]


def order_seconds(rows: int) -> float:
    """Of `torch.randperm`."""
    return seconds_of(lambda: torch.randperm(rows))


def probabilities_seconds(raw: Path, program: Path) -> float:
    """Of raw rows to probabilities by an exported program."""
    rows, module = _ready(raw, program)

    def work() -> None:
        with torch.inference_mode():
            module(rows)

    return seconds_of(work)


@cache
def _ready(raw: Path, program: Path) -> tuple[torch.Tensor, torch.nn.Module]:
    return torch.from_numpy(np.load(raw)), torch.export.load(program).module()
