"""Adam's state in a TensorFlow checkpoint, of Keras 3, Keras 2 and Keras 2's legacy Adam."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from torch_impl.keras.layers.network import trained
from torch_impl.keras_files.config import adam_fault
from torch_impl.keras_files.contents import AdamState, KerasFileError
from torch_impl.keras_files.hdf5.weights_h5 import is_adam
from torch_impl.keras_files.tensorflow.checkpoint_layers import check_shape
from torch_impl.keras_files.tensorflow.object_graph import ObjectGraph
from torch_impl.keras_files.tensorflow.tensor_bundle import TensorBundle

__all__ = ["read_adam"]

_Slots = dict[str, int]

_MOST_OPTIMIZERS = 4


def read_adam(
    graph: ObjectGraph,
    bundle: TensorBundle,
    weights: Mapping[str, int],
    config: Mapping[str, Any] | None = None,
) -> tuple[AdamState | None, list[str]]:
    """The optimizer's state, or None, and notes that say why, and what was assumed.

    Args:
        graph: of the checkpoint.
        bundle: its tensors.
        weights: the model's, by name, to their nodes.
        config: the optimizer's own, where the file says it.

    Raises:
        KerasFileError: a slot belongs to no weight or has another shape.
    """
    optimizers = _optimizers(graph)
    if not optimizers:
        return None, []
    if len(optimizers) > 1:
        return None, [f"it holds {len(optimizers)} optimizers; none was read"]
    (optimizer,) = optimizers
    name, momentum, velocity = _slots(graph, optimizer, weights)
    if not momentum:
        return None, [f"its optimizer {name[:80]!r} has made no step or is not Adam: not read"]
    if not is_adam(name):
        return None, [f"its optimizer is called {name[:80]!r}; only Adam's state is read"]
    if untrained := [weight for weight in trained(weights) if weight not in momentum]:
        return None, [f"its Adam does not train {_some(untrained)}: not read"]
    children = graph.nodes[optimizer].children
    if (config or {}).get("amsgrad") or graph.items(children.get("_velocity_hats")):
        return None, ["its optimizer is Adam with amsgrad, which is not supported"]
    numbers = {
        kind: _number(graph, bundle, next((children[c] for c in names if c in children), None))
        for kind, names in {
            "iterations": ("_iterations", "iter"),
            "learning_rate": ("_learning_rate", "learning_rate"),
            "beta_1": ("beta_1",),
            "beta_2": ("beta_2",),
        }.items()
    }
    iterations, learning_rate = numbers["iterations"], numbers["learning_rate"]
    if learning_rate is None:
        return None, ["its Adam has a learning rate that is no number (a schedule?); not read"]
    if not isinstance(iterations, int) or iterations < 0:
        raise KerasFileError(
            f"{graph.where}: its Adam has made {iterations} steps; expected a whole number"
        )
    notes = []
    for option in ("weight_decay", "clipnorm", "global_clipnorm", "clipvalue", "use_ema", "decay"):
        value = (config or {}).get(option)
        if value and not isinstance(value, (dict, list)):
            notes.append(f"its Adam has {option}={str(value)[:40]}, which is not carried over")
    rest: dict[str, float] = {}
    for kind in ("beta_1", "beta_2", "epsilon"):
        told = numbers.get(kind) if config is None else config.get(kind)
        if isinstance(told, (int, float)):
            if fault := adam_fault(kind, told):
                raise KerasFileError(f"{graph.where}: {fault}")
            rest[kind] = float(told)
    if missing := sorted({"beta_1", "beta_2", "epsilon"} - set(rest)):
        notes.append(f"it does not say Adam's {', '.join(missing)}: Keras's default was assumed")
    for slots in (momentum, velocity):
        for weight, node in slots.items():
            key = graph.nodes[weights[weight]].key
            expected = bundle.entries[key or ""].shape
            came = bundle.entries[_key(graph, node)].shape
            check_shape(graph.where, f"the optimizer's {graph.nodes[node].name}", came, expected)
    state = AdamState(
        iterations=iterations,
        learning_rate=float(learning_rate),
        momentum=_tensors(graph, bundle, {n: momentum[n] for n in trained(weights)}),
        velocity=_tensors(graph, bundle, {n: velocity[n] for n in trained(weights)}),
        **rest,
    )
    return state, notes


def _optimizers(graph: ObjectGraph) -> set[int]:
    """Whoever counts iterations, less those inside another (loss scaling)."""
    found = {
        index
        for index, node in enumerate(graph.nodes)
        if "_iterations" in node.children or {"iter", "learning_rate"} <= set(node.children)
    }
    if len(found) > _MOST_OPTIMIZERS:
        return found
    inside = {node for outer in found for node in graph.below(outer)}
    return found - inside


def _slots(
    graph: ObjectGraph, optimizer: int, weights: Mapping[str, int]
) -> tuple[str, _Slots, _Slots]:
    """The optimizer's name, and momentum and velocity by weight."""
    node = graph.nodes[optimizer]
    names = {index: name for name, index in weights.items()}
    if node.slots:  # Keras 2's legacy optimizers
        slots: dict[str, _Slots] = {}
        for variable, kind, value in node.slots:
            slots.setdefault(kind, {})[_weight(graph, names, variable)] = value
        if set(slots) != {"m", "v"}:
            return " ".join(sorted(slots)), {}, {}
        counter = graph.child(optimizer, "iter")
        name = "" if counter is None else graph.nodes[counter].name.partition("/")[0]
        return name, *_paired(graph, slots["m"], slots["v"])
    momenta = graph.items(node.children.get("_momentums"))
    velocities = graph.items(node.children.get("_velocities"))
    if {"_trainable_variables", "_iterations"} <= set(node.children):  # Keras 3
        name = graph.nodes[node.children["_iterations"]].name.partition("/")[0]
        variables = graph.items(node.children["_trainable_variables"])
        if not momenta or not velocities:
            return name, {}, {}
        if not len(variables) == len(momenta) == len(velocities):
            raise KerasFileError(
                f"{graph.where}: its optimizer has {len(variables)} variables, {len(momenta)} "
                f"momenta and {len(velocities)} velocities; expected as many of each"
            )
        order = [_weight(graph, names, variable) for variable in variables]
        return name, *_paired(
            graph, dict(zip(order, momenta, strict=True)), dict(zip(order, velocities, strict=True))
        )
    # Keras 2: the slot's own name says whose it is: Adam/m/dense/kernel.
    name = graph.nodes[momenta[0]].name.partition("/")[0] if momenta else ""
    if not velocities:
        return name, {}, {}
    both: list[_Slots] = []
    for kind, nodes in (("m", momenta), ("v", velocities)):
        slots_of: _Slots = {}
        for slot in nodes:
            weight = graph.nodes[slot].name.removeprefix(f"{name}/{kind}/").removesuffix(":0")
            if weight not in weights:
                weight = "/".join(weight.split("/")[-2:])
            if weight not in weights or weight in slots_of:
                raise KerasFileError(
                    f"{graph.where}: the optimizer's {graph.nodes[slot].name[:80]!r} belongs to "
                    f"no weight; expected {name}/{kind}/ and one of {_some(weights)}"
                )
            slots_of[weight] = slot
        both.append(slots_of)
    return name, *_paired(graph, both[0], both[1])


def _paired(graph: ObjectGraph, momentum: _Slots, velocity: _Slots) -> tuple[_Slots, _Slots]:
    if set(momentum) != set(velocity):
        raise KerasFileError(
            f"{graph.where}: its optimizer has momenta of {_some(momentum)} but velocities "
            f"of {_some(velocity)}"
        )
    return momentum, velocity


def _some(names: Iterable[str]) -> str:
    return ", ".join(names)[:200]


def _weight(graph: ObjectGraph, names: Mapping[int, str], node: int) -> str:
    if node not in names:
        raise KerasFileError(
            f"{graph.where}: its optimizer trains {graph.nodes[node].name[:80]!r}, which is no "
            f"weight of the model; expected {_some(names.values())}"
        )
    return names[node]


def _key(graph: ObjectGraph, node: int) -> str:
    key = graph.nodes[node].key
    if key is None:
        raise KerasFileError(f"{graph.where}, node {node}: is no variable; expected a slot")
    return key


def _number(graph: ObjectGraph, bundle: TensorBundle, node: int | None) -> int | float | None:
    if node is None or graph.nodes[node].key is None:
        return None
    value = bundle.tensor(_key(graph, node))
    check_shape(graph.where, graph.nodes[node].name, tuple(value.shape), ())
    return value.item()


def _tensors(graph: ObjectGraph, bundle: TensorBundle, slots: _Slots) -> dict[str, Tensor]:
    return {weight: bundle.tensor(_key(graph, node)) for weight, node in slots.items()}
