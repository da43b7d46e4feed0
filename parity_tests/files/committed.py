"""The committed files that each Keras wrote, and how their bits are compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torch_impl.keras_files.contents import Contents

__all__ = ["COMMITTED", "FOLDER", "KERAS_2", "KERAS_3", "MANIFESTS", "bits", "check_bits"]

FOLDER = Path(__file__).parent / "keras_files"
MANIFESTS = {
    path.parent.name.removeprefix("keras_"): json.loads(path.read_text())
    for path in sorted(FOLDER.glob("keras_*/manifest.json"))
}
COMMITTED = [(version, name) for version, told in MANIFESTS.items() for name in told["files"]]
KERAS_2 = FOLDER / "saved_model_keras_2_15"
KERAS_3 = KERAS_2.with_name("saved_model_keras_3_15")


def bits(tensor: Tensor) -> tuple[str, tuple[int, ...], bytes]:
    """Of a tensor: its dtype, its shape and its bytes."""
    raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), raw


def check_bits(came: Contents, told: dict[str, Any], optimizer: bool) -> None:
    """Names in order, dtypes, shapes and bytes are those that Keras told."""
    groups = {"weights": came.weights}
    if optimizer:
        assert came.optimizer is not None, came.notes
        groups |= {"momentum": came.optimizer.momentum, "velocity": came.optimizer.velocity}
        assert came.optimizer.iterations == told["iterations"]
        assert came.optimizer.learning_rate == told["learning_rate"]
    for group, tensors in groups.items():
        assert list(tensors) == list(told[group])
        for name, (dtype, raw) in told[group].items():
            assert bits(tensors[name]) == (dtype, told["shapes"][name], raw), (group, name)
