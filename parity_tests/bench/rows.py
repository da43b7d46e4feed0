"""What is done to rows: the transform, from raw rows to probabilities, and their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity_tests.bench import floors
from parity_tests.bench.material import BATCH_SIZE, Material
from parity_tests.bench.processes import Processes
from parity_tests.bench.race import Comparison, Contestant, Rounds, race

__all__ = ["compare_order", "compare_probabilities", "compare_transform"]


def compare_transform(material: Material, processes: Processes, rounds: Rounds) -> Comparison:
    """Of all rows, raw in float64, to features."""
    files = (material.raw, material.scaler)
    contestants = [
        _called(processes, "torch_impl", "ours", "transform_seconds", *files),
        _called(processes, "scikit-learn", "scikit_learn", "transform_seconds", *files),
    ]
    return race("transform", contestants, rounds, floors.of_transform(material.rows))


def compare_probabilities(material: Material, processes: Processes, rounds: Rounds) -> Comparison:
    """Of all rows, raw in float64, to probabilities."""

    def keras() -> Callable[[], float]:
        files = (material.raw, material.scaler, material.keras_model)
        return lambda: processes.call_in_keras(
            "tensorflow", "scikit_learn", "predict_seconds", *files, BATCH_SIZE
        )

    def exported(module: str, ending: str, *needs: str) -> Callable[[], Callable[[], float]]:
        def start() -> Callable[[], float]:
            processes.require(needs)
            files = (material.raw, material.exported(ending))
            return lambda: processes.call(module, "probabilities_seconds", *files)

        return start

    contestants = [
        _called(
            processes, "torch_impl", "ours", "probabilities_seconds", material.raw,
            material.pipeline,
        ),
        Contestant("keras-tensorflow", keras),
        Contestant(
            "onnxruntime",
            exported("onnx_runtime", ".onnx", "onnx", "onnxscript", "onnxruntime"),
        ),
        Contestant("torch-export", exported("pytorch", ".pt2")),
    ]  # fmt: skip
    alone = floors.of_probabilities(material.rows)
    return race("raw rows to probabilities", contestants, rounds, alone)


def compare_order(processes: Processes, rounds: Rounds, rows: int) -> Comparison:
    """Of Keras's order of rows; nobody else draws the same."""
    contestants = [
        _called(processes, "torch_impl", "ours", "order_seconds", rows),
        _called(processes, "torch-randperm", "pytorch", "order_seconds", rows),
    ]
    return race(f"order of {rows:,} rows", contestants, rounds, floors.of_order(rows))


def _called(
    processes: Processes, key: str, module: str, function: str, *arguments: Any
) -> Contestant:
    return Contestant(key, lambda: lambda: processes.call(module, function, *arguments))
