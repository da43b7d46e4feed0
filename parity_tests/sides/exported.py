"""What is exported, run by the runtimes that people run it in."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from torch_impl import FraudClassifier, FraudPipeline, export

__all__ = ["RUNTIMES", "run_exported"]

RUNTIMES = {"torch.export": ".pt2", "ONNX Runtime": ".onnx"}
"""Name to the ending of the file that it reads."""


def run_exported(
    runtime: str, module: FraudClassifier | FraudPipeline, rows: np.ndarray
) -> list[np.ndarray]:
    """Exports a module to a file and gives all that the runtime makes of it.

    Args:
        runtime: one of `RUNTIMES`.
        module: what is exported.
        rows: (N, F) in the dtype that the module takes.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{RUNTIMES[runtime]}"
        export(module, path)
        return (_by_onnxruntime if path.suffix == ".onnx" else _by_torch)(path, rows)


def _by_torch(path: Path, rows: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        came = torch.export.load(path).module()(torch.from_numpy(rows))
    return [tensor.numpy() for tensor in (came if isinstance(came, tuple) else (came,))]


def _by_onnxruntime(path: Path, rows: np.ndarray) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"rows": rows}))
