"""Pipelines' files that say what they should not, under a digest that is right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from torch_impl import FraudPipeline, save_pipeline
from torch_impl.base.sealed import _digest

__all__ = ["content_of", "sealed_text"]


def content_of(pipeline: FraudPipeline, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Facts and tensors of its file."""
    path = folder / "good"
    save_pipeline(pipeline, path)
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["facts"]), load_file(path)


def sealed_text(text: str, tensors: Mapping[str, Tensor]) -> bytes:
    """A file of these facts, which need not be JSON."""
    return save(dict(tensors), {"facts": text, "sha256": _digest(text, tensors)})
