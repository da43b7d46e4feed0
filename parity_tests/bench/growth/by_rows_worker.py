"""`by_rows_worker WORK RAW FILE ROWS`: the time and the peak memory of one work on so many rows.

Prints JSON. The peak is the process's own, above what it is after its imports, the rows that
it is given included.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

import torch_impl.__main__ as command
from parity_tests.bench.growth.launch import tell
from parity_tests.bench.race import seconds_of
from torch_impl import FraudClassifier, fit, load_pipeline
from torch_impl.keras.random import shuffle_permutation

_BRIEF = 1.0
"""Seconds; what takes less is measured three times."""

_REPEATED = 10_000
"""Rows; what is repeated is memory, too."""

Work = Callable[[], Any]


def _order(raw: Path, file: Path, rows: int) -> Work:
    return lambda: shuffle_permutation(42, rows)


def _transform(raw: Path, file: Path, rows: int) -> Work:
    transform, table = load_pipeline(file).transform, torch.from_numpy(_rows(raw, rows))
    return lambda: transform(table)


def _probabilities(raw: Path, file: Path, rows: int) -> Work:
    pipeline, table = load_pipeline(file), torch.from_numpy(_rows(raw, rows))
    return lambda: pipeline.predict_proba(table)


def _epoch(raw: Path, file: Path, rows: int) -> Work:
    x = _rows(raw, rows, np.float32)
    y = np.zeros((rows, 1), np.float32)
    y[:: max(1, rows // 16)] = 1

    def train(x: np.ndarray, y: np.ndarray) -> None:
        model = FraudClassifier(seed=42)
        fit(model, x, y, batch_size=2048, seed=42, metrics=False, progress=False)

    train(x[:64], y[:64])  # builds what is compiled
    return lambda: train(x, y)


def _score(raw: Path, file: Path, rows: int) -> Work:
    """Of a table beside the pipeline."""
    table, pipeline = file, file.with_name("pipeline.safetensors")
    out = file.with_name(f"scores{file.suffix}")
    return lambda: command.main(["score", str(pipeline), str(table), str(out), "--json"])


WORKS = {
    "order of rows": _order,
    "transform": _transform,
    "raw rows to probabilities": _probabilities,
    "bare epoch": _epoch,
    "score, CSV": _score,
    "score, Parquet": _score,
    "score, CSV, 2 processes": _score,
    "score, Parquet, 2 processes": _score,
}


def _rows(raw: Path, count: int, dtype: type[np.generic] = np.float64) -> np.ndarray:
    """The first rows of a file, over and over; with few beside them."""
    few = np.load(raw, mmap_mode="r")[:_REPEATED]
    rows = np.empty((count, few.shape[1]), dtype)
    for start in range(0, count, len(few)):
        part = rows[start : start + len(few)]
        part[:] = few[: len(part)]
    return rows


def peak_bytes() -> int:
    """The most memory that this process has held (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status has no VmHWM")


def main(arguments: list[str]) -> None:
    """Measures, and prints it."""
    work, raw, file, rows = arguments
    imported = peak_bytes()
    do = WORKS[work](Path(raw), Path(file), int(rows))
    seconds = [seconds_of(do)]
    if seconds[0] < _BRIEF and not distributed.is_torchelastic_launched():
        seconds += [seconds_of(do) for _ in range(2)]
    found = {"seconds": statistics.median(seconds), "bytes": peak_bytes() - imported}
    tell(found)


if __name__ == "__main__":
    main(sys.argv[1:])
