"""A module for other runtimes: an exported program (.pt2) or ONNX, with any number of rows."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from torch_impl.base.modes import inference
from torch_impl.base.replacing import replace_file
from torch_impl.features import FeatureTransform
from torch_impl.pipeline.onnx_operators import exact_translations
from torch_impl.pipeline.pipeline import FraudPipeline

__all__ = ["OPSET", "export", "exported_program", "onnx_bytes", "quiet"]

OPSET = 20
"""Of ONNX; onnxruntime from 1.17 on knows it."""

_OUTPUTS = ("probability", "decision")


def export(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Writes a module as `.pt2` or `.onnx`, by the ending, replacing the file in one move.

    `.pt2` is read by `torch.export.load(path).module()`, which needs torch alone; `.onnx` by
    ONNX Runtime, which needs neither torch nor this package. Both take `rows`, (N, F) with any N.
    Of a `FraudPipeline` they are raw rows in float64 and the outputs `probability` and
    `decision`, (N, 1); of a `FraudClassifier` features, and `logits`.

    Args:
        module: what is exported, in inference mode.
        path: of the file.

    Raises:
        ValueError: the ending is another.
        ModuleNotFoundError: for `.onnx`, onnx or onnxscript is not installed.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix == ".pt2":
        buffer = io.BytesIO()
        with quiet():
            torch.export.save(exported_program(module), buffer)
        replace_file(path, buffer.getvalue())
    elif path.suffix == ".onnx":
        replace_file(path, onnx_bytes(module))
    else:
        raise ValueError(f"{path}: ends in {path.suffix!r}; expected .pt2 or .onnx")


def exported_program(module: nn.Module) -> torch.export.ExportedProgram:
    """The module's inference as `torch.export` has it, with any number of rows.

    No path of this machine is in it.
    """
    rows = torch.export.Dim("rows")
    with inference(module), quiet():
        program = torch.export.export(module, (_example(module),), dynamic_shapes=({0: rows},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # somebody's files, and lines of them
    return program


def onnx_bytes(module: nn.Module) -> bytes:
    """The module's inference in ONNX, of opset `OPSET`; nothing of this machine is in it.

    Raises:
        ModuleNotFoundError: onnx or onnxscript is not installed.
    """
    import onnx

    outputs = _OUTPUTS if isinstance(module, FraudPipeline) else ("logits",)
    with inference(module), quiet():
        model = torch.onnx.export(
            exported_program(module),
            input_names=["rows"],
            output_names=outputs,
            opset_version=OPSET,
            custom_translation_table=exact_translations(),
            dynamo=True,
            verbose=False,
        ).model_proto
    # torch notes beside each part where in somebody's files it comes from.
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        del part.metadata_props[:]
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextmanager
def quiet() -> Iterator[None]:
    """Torch's exporters tell their users of torch's own affairs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _example(module: nn.Module) -> torch.Tensor:
    """Rows of which the exporters see the width and the dtype."""
    for part in module.modules():
        if isinstance(part, FeatureTransform):
            return part.mean.new_zeros(2, len(part.mean))
    weight = next(module.parameters())
    return weight.new_zeros(2, weight.shape[1])
