"""`keras_metadata.pb`, in which Keras 2 says what the layers of a SavedModel are.

tensorflow/python/keras/protobuf/saved_metadata.proto: objects with JSON. Names of classes in
it are compared, never imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from torch_impl.keras_files.contents import KerasFileError, Layer, Network
from torch_impl.keras_files.object_graph import SUPPORTED
from torch_impl.keras_files.protobuf import Message

__all__ = ["Keras2Metadata", "read_keras2_metadata"]

_LONGEST_JSON = 1 << 20
_ACTIVATIONS: dict[Any, Literal["linear", "relu", "sigmoid"]] = {
    None: "linear",
    "linear": "linear",
    "relu": "relu",
    "sigmoid": "sigmoid",
}


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
    network, notes = _network(root, where)
    return Keras2Metadata(
        network,
        paths,
        optimizer if isinstance(optimizer, dict) else None,
        version if isinstance(version, str) else None,
        notes,
    )


def _json(node: Message) -> dict[str, Any]:
    (text,) = node.texts(5)[-1:] or [""]
    try:
        if len(text) > _LONGEST_JSON:
            raise ValueError(f"{len(text)} characters")
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error) or "nested too deeply"
        raise KerasFileError(f"{node.where}: is no JSON ({reason})") from error
    if not isinstance(value, dict):
        raise KerasFileError(f"{node.where}: is {type(value).__name__}; expected an object")
    return value


def _network(root: dict[str, Any], where: str) -> tuple[Network, tuple[str, ...]]:
    kind, config = root.get("class_name"), root.get("config")
    rows = config.get("layers") if isinstance(config, dict) else None
    if kind not in ("Sequential", "Functional", "Model") or not isinstance(rows, list):
        raise KerasFileError(
            f"{where}: the model is a {str(kind)[:80]!r}; expected Sequential or Functional, "
            "with its layers in its config"
        )
    assert isinstance(config, dict)
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("config"), dict):
            raise KerasFileError(f"{where}: a layer is {str(row)[:80]}; expected an object")
    if kind != "Sequential":
        rows = _in_order(rows, config, where)
    width: int | None = None
    layers: list[Layer] = []
    notes: list[str] = []
    for row in rows:
        layer = row["config"]
        shape = layer.get("batch_input_shape")
        if width is None and not layers and shape is not None:
            width = _width(shape, where)
        if row.get("class_name") != "InputLayer":
            layers.append(_layer(row.get("class_name"), layer, where))
            policy = layer.get("dtype")
            if isinstance(policy, dict) and not notes:
                notes.append(f"its layers compute with the policy {json.dumps(policy)[:120]}")
    if width is None:
        width = _width(root.get("build_input_shape"), where)
    names = [layer.name for layer in layers]
    if len(set(names)) != len(names):
        raise KerasFileError(f"{where}: two layers have one name; they are {', '.join(names)}")
    name = config.get("name")
    return Network(width, tuple(layers), str(name or "sequential")), tuple(notes)


def _layer(kind: Any, config: dict[str, Any], where: str) -> Layer:
    name = config.get("name")
    if kind not in ("Dense", "Dropout", "Activation") or not isinstance(name, str):
        raise KerasFileError(
            f"{where}: the layer {str(name)[:80]!r} is a {str(kind)[:80]}; {SUPPORTED}"
        )
    if kind == "Dropout":
        rate, seed = config.get("rate"), config.get("seed")
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
            raise KerasFileError(f"{where}: {name!r} has the rate {rate!r}; expected it in [0, 1)")
        if config.get("noise_shape") is not None:
            raise KerasFileError(f"{where}: {name!r} has a noise_shape, which is not supported")
        return Layer("Dropout", name, rate=float(rate), seed=seed if type(seed) is int else None)
    told = config.get("activation")
    if not (told is None or isinstance(told, str)) or told not in _ACTIVATIONS:
        raise KerasFileError(
            f"{where}: {name!r} has the activation {str(told)[:80]!r}; expected linear, relu or "
            "sigmoid"
        )
    if kind == "Activation":
        return Layer("Activation", name, activation=_ACTIVATIONS[told])
    units, use_bias = config.get("units"), config.get("use_bias", True)
    if type(units) is not int or units < 1 or type(use_bias) is not bool:
        raise KerasFileError(
            f"{where}: {name!r} has units={str(units)[:80]} and use_bias={str(use_bias)[:80]}; "
            "expected a positive number, and true or false"
        )
    return Layer("Dense", name, units, _ACTIVATIONS[told], use_bias)


def _width(shape: Any, where: str) -> int:
    items = shape.get("items") if isinstance(shape, dict) else shape
    if not isinstance(items, list) or len(items) != 2 or type(items[1]) is not int or items[1] < 1:
        raise KerasFileError(
            f"{where}: the input has shape {str(items)[:80]}; expected [null, features]"
        )
    return items[1]


def _in_order(rows: list[dict[str, Any]], config: dict[str, Any], where: str) -> list[Any]:
    """A functional model's layers from input to output, if each feeds the next and no other."""
    after: dict[str, dict[str, Any]] = {}
    start: list[dict[str, Any]] = []
    for row in rows:
        name = row["config"].get("name")
        if row.get("class_name") == "InputLayer":
            start.append(row)
            continue
        source = _source(row.get("inbound_nodes"))
        if source is None or source in after:
            raise KerasFileError(
                f"{where}: the layer {str(name)[:80]!r} has not one input of its own; {SUPPORTED}"
            )
        after[source] = row
    if len(start) != 1:
        raise KerasFileError(f"{where}: the model has {len(start)} inputs; expected 1")
    order = start
    while (name := order[-1]["config"].get("name")) in after:
        order.append(after.pop(name))
    outputs = config.get("output_layers")
    if after or _source([outputs]) != name:
        raise KerasFileError(
            f"{where}: the layers do not run from the input to one output {name!r}; {SUPPORTED}"
        )
    return order


def _source(inbound: Any) -> str | None:
    """The one layer in `[[["name", 0, 0, {}]]]`."""
    match inbound:
        case [[[str(name), 0, 0, *_]]]:
            return name
    return None
