"""What Keras answered of a model, in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FORMAT", "Layer", "Recording", "RecordingError", "read_recording"]

FORMAT = 1
_LARGEST_HEADER = 1 << 24


class RecordingError(ValueError):
    """The file is damaged, or no recording of a model. One line."""


class Layer(NamedTuple):
    """One layer of the model in Keras, and what it gives of the recorded rows."""

    kind: str
    """Keras's class."""
    config: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]]
    """By Keras's names, in Keras's layout."""
    value: NDArray[np.float64]
    """(N, units), computed in float64."""
    allowance: NDArray[np.float64]
    """How far a right float32 computation may be off, for each element."""
    keras: NDArray[np.float32]
    """What Keras gave."""
    before: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    """Value and allowance before a Dense layer's activation, where it has one."""
    moving: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    """A BatchNormalization's statistics after a batch in training, and their allowance."""


class Recording(NamedTuple):
    """A model's answers."""

    rows: NDArray[np.float32]
    """(N, F), what everything was answered of."""
    layers: Mapping[str, Layer]
    """By Keras's names, in the order of the chain."""
    versions: Mapping[str, str]
    """Of Keras and what it ran on."""
    source: str
    """The model's file."""


def read_recording(path: str | PathLike[str]) -> Recording:
    """Reads what `python -m parity_tests.record --model` wrote.

    Raises:
        RecordingError: it is damaged, or something else.
        FileNotFoundError: nothing is there.
    """
    from safetensors import SafetensorError, safe_open

    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _LARGEST_HEADER:
        raise RecordingError(f"{path}: a header of {size} bytes; no recording of a model")
    try:
        with safe_open(path, framework="np") as opened:
            told = json.loads((opened.metadata() or {}).get("proof", "null"))
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if not isinstance(told, dict) or told["format"] != FORMAT:
            raise RecordingError(
                f"{path}: is no recording of a model in format {FORMAT}; "
                "`python -m parity_tests.record --model FILE OUT` writes one"
            )
        layers = {row["name"]: _layer(row, arrays) for row in told["layers"]}
        return Recording(arrays["rows"], layers, told["versions"], told["source"])
    except (SafetensorError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        why = " ".join(str(error).split())[:200]
        raise RecordingError(f"{path}: is damaged ({type(error).__name__}: {why})") from None


def _layer(row: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Layer:
    name = row["name"]

    def bounded(part: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return arrays[f"{name}: {part}: value"], arrays[f"{name}: {part}: allowance"]

    value, allowance = bounded("outputs")
    return Layer(
        row["class_name"], row["config"],
        {weight: arrays[f"{name}/{weight}"] for weight in row["weights"]},
        value, allowance, arrays[f"{name}: outputs: keras"],
        bounded("before") if row["before"] else None,
        {statistic: bounded(statistic) for statistic in row["moving"]},
    )  # fmt: skip
