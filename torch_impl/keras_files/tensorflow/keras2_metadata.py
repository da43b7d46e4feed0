"""`keras_metadata.pb`, in which Keras 2 says what the layers of a SavedModel are.

tensorflow/python/keras/protobuf/saved_metadata.proto: objects with JSON. Names of classes in
it are compared, never imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch_impl.keras.layers.network import Network
from torch_impl.keras_files.config import network_of, parsed_json
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.tensorflow.protobuf import Message

__all__ = ["Keras2Metadata", "read_keras2_metadata"]


class Keras2Metadata(NamedTuple):
    """What it says."""

    network: Network
    paths: Mapping[str, tuple[str, ...]]
    """A layer's name to the path of attributes that leads to it from the model."""
    optimizer: Mapping[str, Any] | None
    """The optimizer's config with its class under `class_name`, if the model was compiled."""
    keras_version: str | None
    notes: tuple[str, ...]


def read_keras2_metadata(data: bytes, where: str) -> Keras2Metadata:
    """Reads the file's content.

    Raises:
        KerasFileError: it is damaged, or a layer is not supported.
    """
    root: dict[str, Any] | None = None
    paths: dict[str, tuple[str, ...]] = {}
    for node in Message(data, where).messages(1, "object"):
        path = node.text(3).split(".")
        if path == ["root"]:
            root = _json(node)
        elif path[0] == "root" and len(path) == 2 and node.text(4).startswith("_tf_keras_"):
            name = _json(node).get("name")
            if isinstance(name, str):
                paths[name] = tuple(path[1:])
    if root is None:
        raise KerasFileError(f"{where}: says nothing about the model itself (the object 'root')")
    training = root.get("training_config")
    optimizer = training.get("optimizer_config") if isinstance(training, dict) else None
    if isinstance(optimizer, dict) and isinstance(optimizer.get("config"), dict):
        optimizer = {**optimizer["config"], "class_name": optimizer.get("class_name")}
    version = root.get("keras_version")
    network, notes = network_of(root, where)
    return Keras2Metadata(
        network,
        paths,
        optimizer if isinstance(optimizer, dict) else None,
        version if isinstance(version, str) else None,
        notes,
    )


def _json(node: Message) -> dict[str, Any]:
    (text,) = node.texts(5)[-1:] or [""]
    return parsed_json(text, node.where)
