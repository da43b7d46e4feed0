"""Small files of each format that tests bend, under a name that is hostile itself."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parity_tests.files.hdf5.hdf5_writer import Writer, attribute, fixed, text
from parity_tests.files.hostile import zipped

__all__ = ["DENSE", "FILE", "SHOWN", "compiled", "keras", "kernel_of", "legacy", "written"]

FILE = "hostile\x1b[2J.bin"
SHOWN = "hostile\N{REPLACEMENT CHARACTER}[2J"
"""Its name has a terminal's command in it, which reaches no message."""


def written(folder: Path, content: bytes) -> Path:
    """Where the content lies then."""
    path = folder / FILE
    path.write_bytes(content)
    return path


def legacy(file: Writer, more: dict[str, int]) -> bytes:
    """A legacy model of one layer, and more."""
    held = file.group({"d": kernel_of(file)}, attribute("layer_names", fixed(1), [1], b"d"))
    row = {"name": "d", "units": 1, "use_bias": False, "batch_input_shape": [None, 2]}
    config = {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": row}]}
    training = {"optimizer_config": {"class_name": "Adam", "config": {}}}
    root = file.group(
        {"model_weights": held, **more},
        text("model_config", json.dumps(config)),
        text("training_config", json.dumps(training)),
    )
    return file.finished(root)


def kernel_of(file: Writer) -> int:
    """A legacy layer of one kernel."""
    kernel = file.dataset((2, 1), struct.pack("<2f", 1, 2))
    return file.group({"kernel": kernel}, attribute("weight_names", fixed(6), [1], b"kernel"))


def keras(
    *layers: dict[str, Any], kind: int = zipfile.ZIP_STORED, compiled: Any = None, **members: bytes
) -> bytes:
    """A `.keras` of one layer of two weights, or of these."""
    rows = layers or ({"class_name": "Dense", "config": DENSE},)
    config = {"class_name": "Sequential", "config": {"layers": rows}, "compile_config": compiled}
    weights = Writer()
    kernel = weights.dataset((2, 1), struct.pack("<2f", 1, 2))
    slots = [
        weights.dataset((), struct.pack("<q", 3), bytes([0x10, 8, 0, 0, 8, 0, 0, 0, 0, 0, 64, 0])),
        weights.dataset((), struct.pack("<f", 0.5)),
        *(weights.dataset((2, 1), bytes(8)) for _ in range(2)),
    ]
    values = weights.group({str(i): slot for i, slot in enumerate(slots)})
    root = weights.group({
        "layers": weights.group({"dense": weights.group({"vars": weights.group({"0": kernel})})}),
        "optimizer": weights.group({"vars": values}),
    })  # fmt: skip
    standard = {
        "metadata.json": members.pop("metadata", b"{}"),
        "config.json": json.dumps(config),
        "model.weights.h5": weights.finished(root),
    }
    return zipped(standard | members, kind)


DENSE = {"name": "d", "units": 1, "use_bias": False, "batch_input_shape": [None, 2]}


def compiled(**numbers: Any) -> Callable[[], bytes]:
    """A `.keras` whose Adam has these numbers."""
    return lambda: keras(compiled={"optimizer": {"class_name": "Adam", "config": numbers}})
