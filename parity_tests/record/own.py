"""A model of somebody's own, recorded: Keras's answers, and how far any right program may be off.

What is expected and allowed comes from `parity_tests.judge`, computed in NumPy from Keras's own
weights. `torch_impl.proof` reads the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from parity_tests.judge.bounds import Bounded, exactly
from parity_tests.judge.layers.chain import forward_layers
from parity_tests.judge.layers.moving import moving_after
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.sides.own_rows import drawn_rows, outputs_of, told_of
from torch_impl.base.replacing import replace_file

__all__ = ["MOST_ROWS", "record"]

MOST_ROWS = 1000
FORMAT = 1


def record(keras: KerasProcess, path: str, rows: np.ndarray | None, to: Path) -> tuple[int, int]:
    """Asks Keras for everything that the proof needs; gives the file's bytes and rows.

    Args:
        keras: the reference's process.
        path: of the model's file.
        rows: (N, F), float32, the first `MOST_ROWS` are taken; drawn if None.
        to: the file to write.

    Raises:
        ValueError: the rows do not fit, Keras does not open the file, there is a layer of which
            no bound is known, or Keras itself breaks the bounds.
    """
    told = told_of(keras, path)
    if rows is None:
        rows = drawn_rows(np.random.default_rng(0), told["features"], MOST_ROWS // 2)
    elif rows.shape[1] != told["features"]:
        raise ValueError(
            f"{path}: takes rows of {told['features']} features; "
            f"the table has {rows.shape[1]} columns"
        )
    rows = np.ascontiguousarray(rows[:MOST_ROWS], dtype=np.float32)
    answers = outputs_of(keras, path, rows)["float32"]
    bounds = forward_layers(told["rows"], told["weights"], exactly(rows))
    arrays: dict[str, np.ndarray] = {"rows": rows}
    layers: list[dict[str, Any]] = []
    x = rows
    for row in told["rows"]:
        name = row["config"]["name"]
        weights = {
            key.rpartition("/")[2]: value
            for key, value in told["weights"].items()
            if key.rpartition("/")[0] == name
        }
        arrays |= {f"{name}/{key}": value for key, value in weights.items()}
        parts = {"outputs": bounds[name]}
        before = bounds.get(f"{name}: pre-activations")
        if before is not None:
            parts["before"] = before
        moving: dict[str, Bounded] = {}
        if row["class_name"] == "BatchNormalization":
            moving = moving_after(x, weights, row["config"])
        for part, (value, allowance) in (parts | moving).items():
            arrays[f"{name}: {part}: value"] = value
            arrays[f"{name}: {part}: allowance"] = allowance
        arrays[f"{name}: outputs: keras"] = answers[name]
        off = np.abs(answers[name] - bounds[name].value) > bounds[name].allowance
        if off.any():
            raise ValueError(
                f"{path}: Keras's own {name!r} lies outside what is allowed in {int(off.sum())} "
                "places; nothing was recorded"
            )
        layers.append({
            "name": name, "class_name": row["class_name"], "config": row["config"],
            "weights": list(weights), "before": before is not None, "moving": list(moving),
        })  # fmt: skip
        x = answers[name]
    proof = {
        "format": FORMAT, "layers": layers, "source": Path(path).name,
        "versions": keras.call("versions.versions"),
    }  # fmt: skip
    whole = {key: np.array(array, order="C") for key, array in arrays.items()}
    content = save(whole, {"proof": json.dumps(proof)})
    replace_file(to, content)
    return len(content), len(rows)
