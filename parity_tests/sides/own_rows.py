"""What a model of somebody's own is compared on: its file, rows, and labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from parity_tests.reference.keras_process import KerasProcess
from torch_impl.keras_files.contents import printable

__all__ = ["ORDINARY", "drawn_rows", "labels_for", "outputs_of", "told_of"]


def told_of(keras: KerasProcess, path: str) -> dict[str, Any]:
    """What Keras reads in a file, as `keras_ref.own.told`.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: Keras does not open it. One line.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: does not exist; expected a model's file")
    try:
        found: dict[str, Any] = keras.call("own.told", str(Path(path).resolve()))
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(
            f"{path}: Keras does not open it ({_one_line(error)}); PARITY_KERAS_PYTHON may name "
            "the Python of an environment whose Keras does"
        ) from None
    return found


def _one_line(error: Exception) -> str:
    """What it says, without what would colour a terminal."""
    return printable(re.sub(r"\x1b\[[0-9;]*m", "", str(error)))[:300]


def outputs_of(keras: KerasProcess, path: str, rows: np.ndarray) -> dict[str, Any]:
    """What every layer gives of rows (N, F), as `keras_ref.own.outputs`.

    Raises:
        ValueError: Keras cannot run the model. One line.
    """
    try:
        found: dict[str, Any] = keras.call("own.outputs", str(Path(path).resolve()), rows)
    except ValueError as error:
        raise ValueError(f"{path}: Keras does not run it ({_one_line(error)})") from None
    return found


ORDINARY = 2000
"""So many of the drawn rows come first, and are ordinary."""


def drawn_rows(rng: np.random.Generator, width: int, ordinary: int = ORDINARY) -> np.ndarray:
    """Ordinary rows, rows of zeros, of one feature alone, of tiny and of large numbers.

    Args:
        rng: to draw with.
        width: of a row.
        ordinary: how many are normally distributed; a tenth as many are of all sizes.
    """
    few = ordinary // 10
    alone = np.eye(width) * 10.0
    sizes = 10.0 ** rng.uniform(-30, 6, size=(few, width)) * rng.choice([-1, 1], (few, width))
    rows = [rng.normal(size=(ordinary, width)), np.zeros((1, width)), alone, -alone, sizes]
    return np.concatenate(rows).astype(np.float32)


def labels_for(
    loss: str, given: np.ndarray | None, rows: int, units: int, rng: np.random.Generator
) -> np.ndarray:
    """Labels as a loss takes them.

    Args:
        loss: Keras's class.
        given: (N,) numbers of a column, or None to draw some.
        rows: N.
        units: of the model.
        rng: to draw with.

    Raises:
        ValueError: the column does not serve the loss.
    """
    if "Categorical" in loss:
        classes = rng.integers(0, units, rows) if given is None else given.astype(int)
        if not ((classes >= 0) & (classes < units)).all():
            raise ValueError(f"--label: {loss} takes whole numbers from 0 to {units - 1}")
        one_hot = np.eye(units, dtype=np.float32)[classes]
        return classes.astype(np.float32) if loss.startswith("Sparse") else one_hot
    if "Binary" in loss and given is not None and not np.isin(given, (0, 1)).all():
        raise ValueError(f"--label: holds numbers other than 0 and 1, which {loss} takes")
    if given is not None:
        return np.repeat(given.astype(np.float32)[:, None], units, axis=1)
    binary = "Binary" in loss
    drawn = rng.integers(0, 2, (rows, units)) if binary else rng.normal(size=(rows, units))
    return drawn.astype(np.float32)
