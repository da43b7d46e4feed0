"""ONNX Runtime, with its defaults."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime

from parity_tests.bench.race import seconds_of

__all__ = ["probabilities_seconds"]


def probabilities_seconds(raw: Path, model: Path) -> float:
    """Of raw rows to probabilities."""
    rows, session = _ready(raw, model)
    return seconds_of(lambda: session.run(["probability"], {"rows": rows}))


@cache
def _ready(raw: Path, model: Path) -> tuple[np.ndarray, onnxruntime.InferenceSession]:
    return np.load(raw), onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
