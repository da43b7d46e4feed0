"""The layers of a Keras model in a checkpoint, found by who holds whom."""

from __future__ import annotations

from collections.abc import Mapping

from torch_impl.keras.layers.kinds import SUPPORTED
from torch_impl.keras.layers.network import WEIGHTS
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.tensorflow.object_graph import ObjectGraph, weight_name
from torch_impl.keras_files.tensorflow.tensor_bundle import TensorBundle

__all__ = ["check_shape", "model_weights"]


def model_weights(graph: ObjectGraph, bundle: TensorBundle) -> dict[str, int]:
    """`layer/weight` of the one model to their nodes, in the layers' order.

    Keras 3 lists a functional model's layers in `_operations` (a Sequential has such a model
    in `_functional`), Keras 2 as `layer-0`, `layer-1` and so on.

    Raises:
        KerasFileError: there is not one model, or a layer is not supported.
    """
    held = {node for node in graph.nodes[0].children.values() if _is_model(graph, node)}
    models = {0} if _is_model(graph, 0) else held
    if len(models) != 1:
        raise KerasFileError(
            f"{graph.where}: holds {len(models)} Sequential or functional Keras models; expected 1"
        )
    weights: dict[str, int] = {}
    width: int | None = None
    seen: set[int] = set()
    for number, layer in enumerate(_layers(graph, models.pop())):
        found = _layer_weights(graph, number, layer, seen)
        for name, node in found.items():
            if name in weights:
                raise KerasFileError(f"{graph.where}: two layers have a weight {name}")
            weights[name] = node
            shape = bundle.entries[graph.nodes[node].key or ""].shape
            if name.endswith("/kernel"):
                if len(shape) != 2 or width not in (None, shape[0]):
                    raise KerasFileError(
                        f"{graph.where}: {name} has shape {shape}; expected "
                        f"({width or 'inputs'}, units): {SUPPORTED}"
                    )
                width = shape[1]
            else:
                width = shape[0] if width is None and len(shape) == 1 else width
                check_shape(graph.where, name, shape, (width or 0,))
    return weights


def check_shape(where: str, name: str, came: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raises KerasFileError if a weight has another shape than its layer."""
    if came != expected:
        raise KerasFileError(f"{where}: {name} has shape {came}; expected {expected}")


def _is_model(graph: ObjectGraph, node: int) -> bool:
    return bool({"_functional", "_operations", "layer-0"} & set(graph.nodes[node].children))


def _layers(graph: ObjectGraph, node: int) -> list[int]:
    children: Mapping[str, int] = graph.nodes[node].children
    if "_functional" in children:
        node = children["_functional"]
        children = graph.nodes[node].children
    if "_operations" in children:
        return graph.items(children["_operations"])
    layers: list[int] = []
    while f"layer-{len(layers)}" in children:
        layers.append(children[f"layer-{len(layers)}"])
    return layers


def _layer_weights(graph: ObjectGraph, number: int, layer: int, seen: set[int]) -> dict[str, int]:
    """The weights of a layer, nothing for a layer without."""
    own = graph.nodes[layer].children
    if _is_model(graph, layer):
        raise KerasFileError(f"{graph.where}: layer {number} is a model itself; {SUPPORTED}")
    found = {}
    for kind in dict.fromkeys(name for names in WEIGHTS.values() for name in names):
        node = own.get(f"_{kind}", own.get(kind))
        if node is None or (graph.nodes[node].key is None and kind != "kernel"):
            continue
        name = weight_name(graph.nodes[node].name, f"{graph.where}, layer {number}")
        if name.rpartition("/")[2] != kind or graph.nodes[node].key is None:
            raise KerasFileError(f"{graph.where}, layer {number}: its {kind} is {name}")
        found[name] = node
    kinds = [name.rpartition("/")[2] for name in found]
    if len({name.rpartition("/")[0] for name in found}) > 1 or kinds == ["bias"]:
        raise KerasFileError(
            f"{graph.where}, layer {number}: has {', '.join(found)}; expected the weights of one "
            "layer"
        )
    for node in graph.below(layer, seen):
        name = graph.nodes[node].name
        if graph.nodes[node].key is None or node in found.values():
            continue
        # A Dropout layer's state, where it is saved.
        if name.endswith("/seed_generator_state"):
            continue
        raise KerasFileError(
            f"{graph.where}: layer {number} has a variable {name[:80]!r}; {SUPPORTED}"
        )
    return found
