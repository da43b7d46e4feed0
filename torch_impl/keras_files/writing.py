"""Contents as the files that Keras 3 itself opens. `h5py` writes the HDF5."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from torch_impl.base.replacing import replace_file
from torch_impl.keras.layers.kinds import kind_of, snake_case
from torch_impl.keras.layers.network import Network, trained
from torch_impl.keras_files.config import compile_config, model_config
from torch_impl.keras_files.contents import Contents, KerasFileError, by_layer
from torch_impl.keras_files.tensors import tensors_bytes

if TYPE_CHECKING:
    import h5py

__all__ = ["write_keras"]

_LIKE_KERAS = "3.15.1"  # whose layout is written; every Keras 3 reads it


def write_keras(contents: Contents, path: str | os.PathLike[str]) -> None:
    """Writes `.keras`, `.weights.h5`, legacy `.h5` or `.safetensors`, by the path's ending.

    A file that is there is replaced in one move, when the new one is whole.

    Raises:
        ValueError: another ending, a format that needs the network and contents without one, or
            a name that the format cannot hold (a `KerasFileError`).
        OSError: it could not be written.
    """
    path = Path(path)
    _check_names(contents, path)
    if path.name.endswith(".weights.h5"):
        make = _weights_h5
    elif path.suffix == ".safetensors":
        make = tensors_bytes
    elif path.suffix in (".keras", ".h5"):
        if contents.network is None:
            raise ValueError(f"{path}: {path.suffix} holds the network; expected contents with one")
        make = _archive if path.suffix == ".keras" else _legacy_h5
    else:
        raise ValueError(
            f"{path}: unknown ending; expected .keras, .weights.h5, .h5 or .safetensors"
        )
    try:
        content = make(contents)
    except (OSError, RuntimeError, ValueError) as error:  # what h5py raises, without a path
        raise KerasFileError(f"{path}: cannot be written ({error})") from error
    replace_file(path, content)


def _check_names(contents: Contents, path: Path) -> None:
    """Names come from files: not every one can stand in a file of another kind."""
    named = [("layer", name) for _, name in _layers(contents)]
    if contents.network is not None:
        named.append(("model", contents.network.name))
    members = path.suffix == ".h5" and not path.name.endswith(".weights.h5")
    for kind, name in named:
        why = ""
        if not _is_text(name):
            why = "it is no text in UTF-8"
        elif "\0" in name and path.suffix != ".safetensors":
            why = "HDF5's texts end at a NUL"
        elif members and kind == "layer" and name in (".", "top_level_model_weights"):
            why = "an HDF5 group has another member of that name"
        if why:
            raise KerasFileError(f"{path}: the {kind} {name[:80]!r} cannot be written: {why}")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _archive(contents: Contents) -> bytes:
    assert contents.network is not None
    config = model_config(contents.network, _dtype(contents))
    if contents.optimizer is not None:
        config["compile_config"] = compile_config(contents.optimizer)
    metadata = {
        "keras_version": _LIKE_KERAS,
        "date_saved": datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", json.dumps(metadata))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", _weights_h5(contents))
    return file.getvalue()


def _weights_h5(contents: Contents) -> bytes:
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w", libver=("earliest", "v114")) as root:
        name = "sequential" if contents.network is None else contents.network.name
        root.create_group("vars").attrs["name"] = name
        counts: dict[str, int] = {}
        weights = by_layer(contents.weights)
        for kind, layer in _layers(contents):
            number = counts.get(kind, 0)
            counts[kind] = number + 1
            group = root.create_group(
                f"layers/{snake_case(kind)}{f'_{number}' if number else ''}/vars"
            )
            group.attrs["name"] = layer
            for i, tensor in enumerate(weights.get(layer, {}).values()):
                _put(group, str(i), tensor)
        if contents.optimizer is not None:
            group = root.create_group("optimizer/vars")
            group.attrs["name"] = "adam"
            for i, tensor in enumerate(_adam_variables(contents).values()):
                _put(group, str(i), tensor)
    return file.getvalue()


def _legacy_h5(contents: Contents) -> bytes:
    import h5py

    assert contents.network is not None
    config = model_config(contents.network, _dtype(contents))
    file = io.BytesIO()
    with h5py.File(file, "w", libver=("earliest", "v114")) as root:
        root.attrs["keras_version"], root.attrs["backend"] = _LIKE_KERAS, "tensorflow"
        root.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": config["config"]}
        )
        held = root.create_group("model_weights")
        held.attrs["keras_version"], held.attrs["backend"] = _LIKE_KERAS, "tensorflow"
        held.attrs["layer_names"] = [name for _, name in _layers(contents)]
        model = contents.network.name
        for _, layer in _layers(contents):
            group = held.create_group(layer)
            own = by_layer(contents.weights).get(layer, {})
            _put_named(group, {f"{model}/{layer}/{name}": own[name] for name in own})
        _put_named(held.create_group("top_level_model_weights"), {})
        if contents.optimizer is not None:
            compiled = compile_config(contents.optimizer)
            compiled["optimizer_config"] = {
                key: compiled["optimizer"][key] for key in ("class_name", "config")
            }
            del compiled["optimizer"]
            root.attrs["training_config"] = json.dumps(compiled)
            _put_named(root.create_group("optimizer_weights"), _adam_variables(contents))
    return file.getvalue()


def _layers(contents: Contents) -> list[tuple[str, str]]:
    """Kind and name of each layer; without a network those that have weights."""
    if contents.network is not None:
        return [(layer.kind, layer.name) for layer in contents.network.layers]
    return [(str(kind_of(own)), name) for name, own in by_layer(contents.weights).items()]


def _adam_variables(contents: Contents) -> dict[str, Tensor]:
    """Adam's variables in Keras's order, by the names they have in a legacy file."""
    optimizer = contents.optimizer
    assert optimizer is not None
    model = (contents.network or Network(1, ())).name
    variables = {
        "adam/iteration": torch.tensor(optimizer.iterations, dtype=torch.int64),
        "adam/learning_rate": torch.tensor(optimizer.learning_rate, dtype=torch.float32),
    }
    for name in trained(contents.weights):
        flat = f"adam/{model}_{name.replace('/', '_')}"
        variables[f"{flat}_momentum"] = optimizer.momentum[name]
        variables[f"{flat}_velocity"] = optimizer.velocity[name]
    return variables


def _put_named(group: h5py.Group, tensors: Mapping[str, Tensor]) -> None:
    group.attrs["weight_names"] = list(tensors)
    for name, tensor in tensors.items():
        _put(group, name, tensor)


def _put(group: h5py.Group, name: str, tensor: Tensor) -> None:
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:  # which HDF5 lacks
        array: Any = tensor.view(torch.int16).numpy().view(np.dtype("V2"))
        group.create_dataset(name, data=array).attrs["dtype"] = "bfloat16"
    else:
        group.create_dataset(name, data=tensor.numpy())


def _dtype(contents: Contents) -> str:
    return str(next(iter(contents.weights.values())).dtype).removeprefix("torch.")
