"""What is exported, run by the runtimes that people run it in."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from torch_impl import FraudClassifier, FraudPipeline, export

__all__ = ["RUNTIMES", "exported", "run_exported"]

RUNTIMES = {"torch.export": ".pt2", "ONNX Runtime": ".onnx"}
"""Name to the ending of the file that it reads."""


Run = Callable[[np.ndarray], list[np.ndarray]]
"""All that a runtime makes of rows (N, F), in the dtype that the module takes."""


def exported(runtime: str, module: FraudClassifier | FraudPipeline) -> Run:
    """Exports a module to a file, and opens it in one of `RUNTIMES`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{RUNTIMES[runtime]}"
        export(module, path)
        return (_by_onnxruntime if path.suffix == ".onnx" else _by_torch)(path)


def run_exported(
    runtime: str, module: FraudClassifier | FraudPipeline, rows: np.ndarray
) -> list[np.ndarray]:
    """The same, of rows that are asked once."""
    return exported(runtime, module)(rows)


def _by_torch(path: Path) -> Run:
    program = torch.export.load(path).module()

    def run(rows: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            came = program(torch.from_numpy(rows))
        return [tensor.numpy() for tensor in (came if isinstance(came, tuple) else (came,))]

    return run


def _by_onnxruntime(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda rows: list(session.run(None, {"rows": rows}))
