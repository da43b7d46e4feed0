"""Makes the SavedModels and checkpoints of today's Keras that the tests read.

From the root of a checkout:

    python -m parity_tests.files.written_by_keras.make_export

The networks are those of `keras_ref.files`, which the live tests write anew each time. The files
go to `saved_model_keras_<release>/`, beside them `expected.json`: what the living models held, byte
for byte, as `CASE/WEIGHT`, and of Adam `CASE/m/WEIGHT`, `CASE/v/WEIGHT`, `CASE/iterations` and
`CASE/learning_rate`; and `manifest.json`: versions, and how each case was made.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parity_tests.reference.keras_process import KerasProcess

CASES = {
    "sequential": {"kind": "sequential", "dtype": "float32", "api": "export"},
    "functional": {"kind": "functional", "dtype": "float32", "api": "export"},
    "functional_bfloat16": {"kind": "functional", "dtype": "bfloat16", "api": "export"},
    "trained": {"kind": "sequential", "dtype": "float32", "api": "saved_model"},
}
"""Arguments of `keras_ref.files.export_saved_model`."""

CHECKPOINTS: dict[str, dict[str, Any]] = {
    "checkpoint": {"kind": "sequential", "dtype": "float32", "api": "write"},
    "checkpoint_bfloat16": {"kind": "functional", "dtype": "bfloat16", "api": "save"},
    "checkpoint_sgd": {"kind": "sequential", "dtype": "float32", "optimizer": "sgd"},
    "checkpoint_of_no_step": {"kind": "sequential", "dtype": "float32", "steps": 0},
}
"""Arguments of `keras_ref.files.write_checkpoint`; each is called `x`, in a folder of its own."""


def main() -> None:
    """Writes all cases anew."""
    expected: dict[str, dict[str, Any]] = {}
    with KerasProcess() as keras:
        versions = keras.call("versions.versions")
        release = "_".join(versions["keras"].split(".")[:2])
        folder = Path(__file__).with_name(f"saved_model_keras_{release}")
        shutil.rmtree(folder, ignore_errors=True)
        for case, options in CASES.items():
            told = keras.call("files.export_saved_model", str(folder / case), **options)
            with_optimizer = options["api"] == "saved_model"
            expected |= {f"{case}/{name}": row for name, row in rows_of(told, with_optimizer)}
        for case, options in CHECKPOINTS.items():
            told = keras.call("files.write_checkpoint", str(folder / case / "x"), **options)
            with_optimizer = not {"optimizer", "steps"} & set(options)
            expected |= {f"{case}/{name}": row for name, row in rows_of(told, with_optimizer)}
    (folder / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")
    manifest = {"versions": versions, "cases": CASES | CHECKPOINTS}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def rows_of(told: dict[str, Any], with_optimizer: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """What Keras told of a model, as rows of `expected.json`."""
    groups = {"": "weights"} | ({"m/": "momentum", "v/": "velocity"} if with_optimizer else {})
    for sign, group in groups.items():
        for name, (dtype, raw) in told[group].items():
            yield sign + name, {"dtype": dtype, "shape": told["shapes"][name], "bits": raw.hex()}
    if with_optimizer:
        for name, dtype, raw in (
            ("iterations", "int64", struct.pack("<q", told["iterations"])),
            ("learning_rate", "float64", struct.pack("<d", told["learning_rate"])),
        ):
            yield name, {"dtype": dtype, "shape": [], "bits": raw.hex()}


if __name__ == "__main__":
    main()
