"""Any Keras file, told apart by what is in it and not by its name."""

from __future__ import annotations

import mmap
import os
import stat
import struct
from pathlib import Path

import torch

from torch_impl.keras_files.archive import Archive
from torch_impl.keras_files.config import adam_of, network_of, parsed_json
from torch_impl.keras_files.contents import Contents, KerasFileError
from torch_impl.keras_files.hdf5 import Group, read_hdf5
from torch_impl.keras_files.legacy_h5 import read_legacy_h5
from torch_impl.keras_files.saved_model import read_checkpoint, read_saved_model
from torch_impl.keras_files.tensors import read_tensors
from torch_impl.keras_files.weights_h5 import (
    adam_from,
    dense_groups,
    is_adam,
    named_weights,
    optimizer_tensors,
)

__all__ = ["read_keras"]


def read_keras(path: str | os.PathLike[str]) -> Contents:
    """Reads weights, and network and optimizer where they are there, from any Keras format.

    Takes `.keras`, `.weights.h5`, legacy `.h5` (a model or weights alone), a SavedModel folder,
    a `tf.train.Checkpoint` (its prefix or folder), and what `save_keras` writes as safetensors.
    Nothing in the file is executed or imported and nothing outside of it is read.

    Raises:
        KerasFileError: the file is damaged or hostile, or holds what is not supported.
        FileNotFoundError: nothing is there.
    """
    path = Path(path)
    if path.is_dir():
        saved_model = (path / "saved_model.pb").exists()
        found = read_saved_model(path) if saved_model else read_checkpoint(path)
    elif path.suffix == ".index" or (
        not path.exists() and path.with_name(path.name + ".index").exists()
    ):
        found = read_checkpoint(path)
    else:
        found = _read_file(_mapped(path), path)
    return _checked(found, str(path))


def _read_file(content: memoryview, path: Path) -> Contents:
    where, start = str(path), bytes(content[:8])
    if start[:4] == b"PK\3\4":
        return _read_archive(Archive(content, where), where)
    if start[:4] == b"\x89HDF":
        root = read_hdf5(content, where)
        if "model_weights" in root.members or any(n.startswith("layer_names") for n in root.attrs):
            return read_legacy_h5(root, where)
        return _read_weights(root, where)
    if struct.unpack("<Q", start)[0] < len(content) and content[8] == 0x7B:
        return read_tensors(path)
    raise KerasFileError(
        f"{where}: no Keras file; expected .keras, .h5, a SavedModel, a checkpoint or safetensors"
    )


def _read_archive(archive: Archive, where: str) -> Contents:
    if "model.weights.h5" not in archive and "model.weights.npz" in archive:
        raise KerasFileError(f"{where}: its weights are a pickle (model.weights.npz): refused")
    config = parsed_json(bytes(archive.read("config.json")), f"{where}: config.json")
    metadata = parsed_json(bytes(archive.read("metadata.json")), f"{where}: metadata.json")
    network, notes = network_of(config, f"{where}: config.json")
    compiled = config.get("compile_config")
    row = compiled.get("optimizer") if isinstance(compiled, dict) else None
    numbers, more = adam_of(row, where)
    root = read_hdf5(archive.read("model.weights.h5"), f"{where}: model.weights.h5")
    weights = named_weights(dense_groups(root, where), network, where)
    optimizer = None
    if numbers is not None:
        optimizer, why = adam_from(optimizer_tensors(root, where), weights, numbers)
        more += why
    version = metadata.get("keras_version")
    return Contents(
        weights, network, optimizer, ".keras",
        version if isinstance(version, str) else None, notes + more,
    )  # fmt: skip


def _read_weights(root: Group, where: str) -> Contents:
    weights = named_weights(dense_groups(root, where), None, where)
    group = root.group("optimizer/vars")
    name = "adam" if group is None else group.attrs.get("name", "adam")
    tensors = optimizer_tensors(root, where)
    if not is_adam(str(name)):
        note = f"its optimizer is {str(name)[:80]}; only Adam's state is read"
        return Contents(weights, None, None, ".weights.h5", None, (note,))
    optimizer, notes = adam_from(tensors, weights, {})
    return Contents(weights, None, optimizer, ".weights.h5", None, notes)


def _checked(found: Contents, where: str) -> Contents:
    """Weights of the network's shapes, of one floating-point type, and finite."""
    if not found.weights:
        raise KerasFileError(f"{where}: holds no weights")
    faults = []
    expected = {} if found.network is None else found.network.weight_shapes()
    dtypes = {str(t.dtype).removeprefix("torch.") for t in found.weights.values()}
    if len(dtypes) > 1 or not next(iter(found.weights.values())).is_floating_point():
        faults.append(f"weights are {', '.join(sorted(dtypes))}; expected one float type")
    if found.network is not None and found.weights.keys() != expected.keys():
        faults.append(f"weights are {', '.join(found.weights)}; expected {', '.join(expected)}")
    shapes = {name: tuple(t.shape) for name, t in found.weights.items()} | expected
    rows = [(name, tensor, shapes[name]) for name, tensor in found.weights.items()]
    if found.optimizer is not None:
        for kind in ("momentum", "velocity"):
            slots = getattr(found.optimizer, kind)
            rows += [(f"{kind} of {name}", t, shapes[name]) for name, t in slots.items()]
        if not 0 <= found.optimizer.iterations < 2**53:
            faults.append(f"the optimizer made {found.optimizer.iterations} steps")
    for name, tensor, shape in rows:
        if tuple(tensor.shape) != shape:
            faults.append(f"{name} has shape {tuple(tensor.shape)}; expected {shape}")
        bad = ~torch.isfinite(tensor)
        if bool(bad.any()):
            at = tuple(bad.nonzero()[0].tolist())
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
