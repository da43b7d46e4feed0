"""Any Keras file, told apart by what is in it and not by its name."""

from __future__ import annotations

import mmap
import os
import stat
import struct
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_impl.keras.layers.kinds import kind_of
from torch_impl.keras.layers.network import Network, trained
from torch_impl.keras_files.archive import Archive
from torch_impl.keras_files.config import adam_fault, adam_of, network_of, parsed_json
from torch_impl.keras_files.contents import AdamState, Contents, KerasFileError, by_layer
from torch_impl.keras_files.hdf5.legacy_h5 import read_legacy_h5
from torch_impl.keras_files.hdf5.reader import Group, read_hdf5
from torch_impl.keras_files.hdf5.weights_h5 import (
    adam_from,
    is_adam,
    layer_groups,
    named_weights,
    optimizer_tensors,
)
from torch_impl.keras_files.tensorflow.saved_model import read_checkpoint, read_saved_model
from torch_impl.keras_files.tensors import read_tensors

__all__ = ["read_keras"]


def read_keras(path: str | os.PathLike[str], like: Network | None = None) -> Contents:
    """Reads weights, and network and optimizer where they are there, from any Keras format.

    Takes `.keras`, `.weights.h5`, legacy `.h5` (a model or weights alone), a SavedModel folder,
    a `tf.train.Checkpoint` (its prefix or folder), and what `save_keras` writes as safetensors.
    Nothing in the file is executed or imported and nothing outside of it is read.

    Args:
        path: of the file or folder.
        like: what is known of the network of a file that holds weights alone.

    Raises:
        KerasFileError: the file is damaged or hostile, or holds what is not supported.
        FileNotFoundError: nothing is there.
    """
    path = Path(path)
    if path.is_dir():
        saved_model = (path / "saved_model.pb").exists()
        _check_folder(path, saved_model)
        found = read_saved_model(path) if saved_model else read_checkpoint(path)
    elif path.suffix == ".index" or (
        not path.exists() and path.with_name(path.name + ".index").exists()
    ):
        found = read_checkpoint(path)
    else:
        found = _read_file(_mapped(path), path, like)
    return _checked(found, str(path))


def _read_file(content: memoryview, path: Path, like: Network | None) -> Contents:
    where, start = str(path), bytes(content[:8])
    if start[:4] == b"PK\3\4":
        return _read_archive(Archive(content, where), where)
    if start[:4] == b"\x89HDF":
        root = read_hdf5(content, where)
        if "model_weights" in root.members or any(n.startswith("layer_names") for n in root.attrs):
            return read_legacy_h5(root, where)
        return _read_weights(root, where, like)
    if struct.unpack("<Q", start)[0] < len(content) and content[8] == 0x7B:
        return read_tensors(path)
    begins = bytes(content[:32])
    known = next((why for start, why in _NO_MODELS.items() if begins.startswith(start)), None)
    if path.name in ("saved_model.pb", "keras_metadata.pb"):
        known = "part of a SavedModel; give the folder that it is in"
    raise KerasFileError(
        f"{where}: no Keras file; expected .keras, .h5, a SavedModel, a checkpoint or safetensors"
        if known is None
        else f"{where}: is {known}"
    )


# By how they begin.
_NO_MODELS = {
    b"version https://git-lfs": "a Git LFS pointer in the file's place; `git lfs pull` fetches it",
    b'{"': "JSON, which holds no weights; give the file of the weights, and this as its config=",
    b"{\n": "JSON, which holds no weights; give the file of the weights, and this as its config=",
    b"\x80": "a pickle, which is not read: it could run anything",
}


def _check_folder(folder: Path, saved_model: bool) -> None:
    """Folders that are nearly what is read are told by what they are."""
    if saved_model:
        if not (folder / "variables").exists() and (folder / "variables.index").exists():
            raise KerasFileError(
                f"{folder}: is a SavedModel without its folder 'variables'; move variables.index "
                "and variables.data-… there"
            )
        return
    if (folder / "config.json").exists() and (folder / "model.weights.h5").exists():
        raise KerasFileError(
            f"{folder}: is an unzipped .keras; give its model.weights.h5 with its config.json as "
            "config=, or zip it again"
        )
    within = [entry for entry in islice(folder.iterdir(), 1000) if entry.is_dir()]
    models = [entry.name for entry in within if (entry / "saved_model.pb").exists()]
    if models and not (folder / "checkpoint").exists():
        named = ", ".join(sorted(models))[:200]
        raise KerasFileError(f"{folder}: is a folder above SavedModels; give one of {named}")


def _read_archive(archive: Archive, where: str) -> Contents:
    if "model.weights.h5" not in archive and "model.weights.npz" in archive:
        raise KerasFileError(f"{where}: its weights are a pickle (model.weights.npz): refused")
    config = parsed_json(bytes(archive.read("config.json")), f"{where}: config.json")
    metadata = parsed_json(bytes(archive.read("metadata.json")), f"{where}: metadata.json")
    network, notes = network_of(config, f"{where}: config.json")
    compiled = config.get("compile_config")
    row = compiled.get("optimizer") if isinstance(compiled, dict) else None
    root = read_hdf5(archive.read("model.weights.h5"), f"{where}: model.weights.h5")
    weights = named_weights(layer_groups(root, where), network, where)
    optimizer, more = _adam(root, weights, row, where)
    version = metadata.get("keras_version")
    return Contents(
        weights, network, optimizer, ".keras",
        version if isinstance(version, str) else None, notes, more,
    )  # fmt: skip


def _read_weights(root: Group, where: str, like: Network | None) -> Contents:
    weights = named_weights(layer_groups(root, where), None, where, like)
    kinds = {kind_of(own) for own in by_layer(weights).values()}
    if like is None and len(kinds) > 1 and optimizer_tensors(root, where):
        note = "it does not say in which order its layers, and their Adam's moments, stand"
        return Contents(weights, None, None, ".weights.h5", None, optimizer_notes=(note,))
    optimizer, notes = _adam(root, weights, None, where)
    return Contents(weights, None, optimizer, ".weights.h5", None, optimizer_notes=notes)


def _adam(
    root: Group, weights: Mapping[str, Tensor], row: Any, where: str
) -> tuple[AdamState | None, tuple[str, ...]]:
    """Adam's state; where nothing but its variables' name tells what it is, by that."""
    numbers: Mapping[str, float] | None = {}
    notes: tuple[str, ...] = ()
    if row is not None:
        numbers, notes = adam_of(row, where)
    else:
        group = root.group("optimizer/vars")
        name = "adam" if group is None else str(group.attrs.get("name", "adam"))
        if group is not None and "name" not in group.attrs:
            notes = ("it does not say which optimizer it is: taken for Adam",)
        if not is_adam(name):
            numbers, notes = None, (f"its optimizer is {name[:80]}; only Adam's state is read",)
    if numbers is None:
        return None, notes
    optimizer, more = adam_from(optimizer_tensors(root, where), weights, numbers)
    return optimizer, notes + more


_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _checked(found: Contents, where: str) -> Contents:
    """Weights of the network's shapes, of one floating-point type, and finite; Adam's numbers."""
    if not found.weights:
        raise KerasFileError(f"{where}: holds no weights")
    faults = []
    expected = {} if found.network is None else found.network.weight_shapes()
    if found.network is not None and found.weights.keys() != expected.keys():
        faults.append(f"weights are {', '.join(found.weights)}; expected {', '.join(expected)}")
    for layer, own in by_layer(found.weights).items():
        if kind_of(own) is None:
            faults.append(f"{layer} has {', '.join(own)}, which no one kind of layer has")
    shapes = {name: tuple(t.shape) for name, t in found.weights.items()} | expected
    rows = [(name, tensor, shapes[name]) for name, tensor in found.weights.items()]
    if found.optimizer is not None:
        for kind in ("momentum", "velocity"):
            slots = getattr(found.optimizer, kind)
            rows += [(f"{kind} of {name}", t, shapes[name]) for name, t in slots.items()]
            if list(slots) != trained(found.weights):
                faults.append(f"the optimizer has the {kind} of {', '.join(slots)[:200]}")
        if not 0 <= found.optimizer.iterations < 2**53:
            faults.append(f"the optimizer made {found.optimizer.iterations} steps")
        for name in ("learning_rate", "beta_1", "beta_2", "epsilon"):
            fault = adam_fault(name, getattr(found.optimizer, name))
            faults += [] if fault is None else [fault]
    for name, tensor, _ in [row for row in rows if row[0].endswith("/count")]:
        if tensor.shape != () or tensor.is_floating_point():
            faults.append(f"{name} is {tensor.dtype}{(*tensor.shape,)}; expected one whole number")
    rows = [row for row in rows if not row[0].endswith("/count")]  # a Normalization's, of rows
    dtypes = {t.dtype for name, t in found.weights.items() if not name.endswith("/count")}
    dtypes |= {t.dtype for _, t, _ in rows}.difference(_FLOATS)
    if len(dtypes) > 1 or not dtypes <= set(_FLOATS):
        told = sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)
        faults.append(f"weights are {', '.join(told)}; expected one float type")
    for name, tensor, shape in rows:
        if tuple(tensor.shape) != shape:
            faults.append(f"{name} has shape {tuple(tensor.shape)}; expected {shape}")
        elif tensor.ndim > 2 or not tensor.numel():
            faults.append(f"{name} has shape {shape}; expected one or two axes, none of them 0")
        if tensor.ndim > 2 or tensor.dtype not in _FLOATS:
            continue
        bad = ~torch.isfinite(tensor)
        if bool(bad.any()):
            first = bad.flatten().byte().argmax()
            at = tuple(int(place) for place in np.unravel_index(int(first), bad.shape))
            faults.append(f"{name} is not finite in {int(bad.sum())} places, first at {at}")
    if faults:
        raise KerasFileError(f"{where}: " + "; ".join(faults)[:1000])
    return found


def _mapped(path: Path) -> memoryview:
    """The file's bytes where they lie; they are let go with the last view of them."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)  # a pipe without a writer would block otherwise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KerasFileError(f"{path}: is no plain file")
        if status.st_size < 16:
            raise KerasFileError(f"{path}: {status.st_size} bytes; too short for a Keras file")
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)
