"""The committed files that each Keras wrote, and how their bits are compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_impl.keras_files.contents import Contents

__all__ = [
    "COMMITTED",
    "FOLDER",
    "KERAS_2",
    "KERAS_3",
    "MANIFESTS",
    "bits",
    "check_bits",
    "same_bits",
]

FOLDER = Path(__file__).parent / "written_by_keras"
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


def same_bits(one: Contents, other: Contents) -> None:
    """Of the same layers, weights and Adam; the rate as HDF5 holds it, in float32."""
    assert list(one.weights) == list(other.weights)
    assert one.network == other.network
    for name, tensor in one.weights.items():
        assert bits(tensor) == bits(other.weights[name]), name
    if one.optimizer is None:
        assert other.optimizer is None
        return
    assert other.optimizer is not None
    for field in ("iterations", "beta_1", "beta_2", "epsilon"):
        assert getattr(one.optimizer, field) == getattr(other.optimizer, field)
    assert np.float32(one.optimizer.learning_rate) == np.float32(other.optimizer.learning_rate)
    for kind in ("momentum", "velocity"):
        for name, tensor in getattr(one.optimizer, kind).items():
            assert bits(tensor) == bits(getattr(other.optimizer, kind)[name]), (kind, name)
