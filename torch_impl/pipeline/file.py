"""A pipeline in one safetensors file: weights, transform, threshold, columns and counts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torch_impl.base.printing import printable
from torch_impl.base.replacing import replace_file
from torch_impl.base.sealed import header_size, sealed, unsealed
from torch_impl.features import FeatureTransform
from torch_impl.keras.layers.dropout import KerasDropout
from torch_impl.model import FraudClassifier
from torch_impl.pipeline.pipeline import FraudPipeline, TrainedOn

__all__ = ["PipelineFileError", "load_pipeline", "save_pipeline"]

_FORMAT = "torch_impl-pipeline-1"
_LARGEST_HEADER = 1 << 16  # bytes: of some thousands of columns
_FLOATS = (torch.float32, torch.float64)


class PipelineFileError(ValueError):
    """A file is no whole pipeline, or says what no pipeline can be.

    The message is one line; what a file put into it cannot steer a terminal.

    Args:
        message: is made one printable line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def save_pipeline(pipeline: FraudPipeline, path: str | os.PathLike[str]) -> None:
    """Writes a pipeline, replacing the file in one move.

    What training alone needs is not in it: the seed of the dropout's masks, the optimizer,
    the history. A checkpoint of `fit` has them.

    Args:
        pipeline: what is kept.
        path: of the file; `.safetensors` is its customary ending.

    Raises:
        ValueError: a number in it is not finite, or of no type that is kept, or its columns'
            names are too long; nothing is written.
        OSError: the file cannot be written.
    """
    tensors = {
        name: value
        for name, value in pipeline.state_dict().items()
        if not name.startswith("classifier.dropout.")
    }
    for name, value in tensors.items():
        if value.dtype not in _FLOATS:
            raise ValueError(f"save_pipeline: {name} is {value.dtype}; expected float32 or float64")
        if not bool(value.isfinite().all()) and not name.endswith("_extra_state"):
            raise ValueError(f"save_pipeline: {name} holds NaN or infinity; expected it finite")
    facts = {
        "format": _FORMAT,
        "columns": list(pipeline.columns),
        "dropout": _rate(pipeline.classifier),
        "output_bias": pipeline.classifier.output_bias,
        "trained_on": None if pipeline.trained_on is None else list(pipeline.trained_on),
    }
    content = sealed(facts, tensors)
    header = header_size(content)
    if header > _LARGEST_HEADER:
        raise ValueError(
            f"save_pipeline: a header of {header} bytes; expected {_LARGEST_HEADER} at most, "
            "which fewer columns or shorter names need"
        )
    replace_file(Path(path), content)


def load_pipeline(path: str | os.PathLike[str]) -> FraudPipeline:
    """Reads what `save_pipeline` wrote, bit for bit; in inference mode.

    Everything is checked before it is used, and nothing in the file is executed. It needs
    torch and safetensors.

    Args:
        path: of the file.

    Raises:
        PipelineFileError: the file is damaged, of another kind, or holds what is no pipeline.
        OSError: there is no such file.
    """
    path = Path(path)
    facts, tensors = unsealed(path, "pipeline", _FORMAT, PipelineFileError, _LARGEST_HEADER)
    try:
        with torch.random.fork_rng([]):  # loading a file draws from no one's generator
            return _built(facts, tensors)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise PipelineFileError(f"{path}: is no pipeline: {str(error)[:1000]}") from None


def _built(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FraudPipeline:
    expected = {"format", "columns", "dropout", "output_bias", "trained_on"}
    if facts.keys() != expected:
        raise PipelineFileError(f"its facts are {sorted(facts)}; expected {sorted(expected)}")
    kernel = tensors.get("classifier.hidden.weight")
    if kernel is None or kernel.ndim != 2 or kernel.dtype not in _FLOATS:
        raise PipelineFileError("has no classifier.hidden.weight (units, F), float32 or float64")
    units, features = kernel.shape
    columns, dropout, bias = (facts[name] for name in ("columns", "dropout", "output_bias"))
    if not isinstance(columns, list) or len(columns) != features:
        raise PipelineFileError(f"its columns are not {features} names")
    if not all(type(number) is float for number in (dropout, bias)):
        raise PipelineFileError("its dropout or output bias is no number")
    trained_on = facts["trained_on"]
    if trained_on is not None:
        if not isinstance(trained_on, list) or len(trained_on) != len(TrainedOn._fields):
            raise PipelineFileError(f"its trained_on is not {', '.join(TrainedOn._fields)}")
        trained_on = TrainedOn(*trained_on)
    pipeline = FraudPipeline(
        FeatureTransform(torch.zeros(features), torch.ones(features)),
        FraudClassifier(features, units, dropout, bias, dtype=kernel.dtype),
        columns=columns,
        trained_on=trained_on,
    )
    faults = [
        f"{name} is {_kind(tensors.get(name))}; expected {_kind(own)}"
        for name, own in pipeline.state_dict().items()
        if _kind(tensors.get(name)) != _kind(own)
    ]
    faults += [f"{name[:80]} is unknown" for name in tensors.keys() - pipeline.state_dict().keys()]
    faults = faults or [
        f"{name} holds NaN or infinity"
        for name, value in tensors.items()
        if not name.endswith("_extra_state") and not bool(value.isfinite().all())
    ]
    if faults:
        raise PipelineFileError("; ".join(faults))
    # Through the constructors, which refuse what is out of range.
    FeatureTransform(tensors["transform.mean"], tensors["transform.scale"])
    pipeline.threshold = float(tensors["_threshold"].item())
    pipeline.load_state_dict(dict(tensors))
    return pipeline.eval()


def _kind(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"


def _rate(classifier: FraudClassifier) -> float:
    drop = classifier.dropout
    return float(drop.rate if isinstance(drop, KerasDropout) else getattr(drop, "p", 0.0))
