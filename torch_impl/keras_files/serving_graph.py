"""The chain of layers that a SavedModel's serving function computes.

Nothing is run: the function's nodes are followed by name from its output back to its input.
tensorflow/core/framework/function.proto, node_def.proto, saved_object_graph.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from torch_impl.keras_files.contents import KerasFileError, Layer, Network
from torch_impl.keras_files.object_graph import (
    SUPPORTED,
    ObjectGraph,
    children_of,
    weight_name,
)
from torch_impl.keras_files.protobuf import Message
from torch_impl.keras_files.tensor_bundle import TensorBundle

__all__ = ["read_serving"]

_MOST_STEPS = 10_000
_DEEPEST = 16
_CALLS = ("StatefulPartitionedCall", "PartitionedCall")
_PASSING = ("Identity", "StopGradient", "Cast")
_ADDS = ("BiasAdd", "Add", "AddV2")
_ACTIVATIONS: dict[str, Literal["relu", "sigmoid"]] = {"Relu": "relu", "Sigmoid": "sigmoid"}


class _Function(NamedTuple):
    name: str
    inputs: list[str]
    nodes: Mapping[str, Message]
    output: str


class _Frame(NamedTuple):
    function: _Function
    arguments: list[str]
    """What the caller passes, none for the outermost function."""


class _Step(NamedTuple):
    op: str
    scope: str
    """Of the layer: the node's name without its last part."""
    argument: int
    """Which argument of the outermost function is the weight, -1 for none."""


def read_serving(
    meta: Message, graph: ObjectGraph, bundle: TensorBundle
) -> tuple[Network, dict[str, int], list[str]]:
    """Follows the signature `serving_default`.

    Args:
        meta: the SavedModel's `MetaGraphDef`.
        graph: the objects of its checkpoint.
        bundle: their tensors.

    Returns:
        The network; its weights' nodes in `graph`; and notes on what the function does not say.

    Raises:
        KerasFileError: there is no such signature, or it computes what is not supported.
    """
    objects = meta.message(7, "objects")
    nodes = list(objects.messages(1, "node"))
    if not nodes:
        raise KerasFileError(f"{meta.where}: has no objects; expected a SavedModel of Keras")
    children = [children_of(node, len(nodes)) for node in nodes]
    signature = children[children[0].get("signatures", 0)].get("serving_default")
    name = "" if signature is None else nodes[signature].message(8, "signature").text(1)
    concrete = objects.mapping(2, "function").get(name)
    if concrete is None:
        raise KerasFileError(f"{meta.where}: has no signature 'serving_default'")
    bound = concrete.integers(2)
    walk = _Walk(meta)
    top = walk.function(name)
    if len(top.inputs) != len(bound) + 1:
        raise KerasFileError(
            f"{meta.where}: {name} has {len(top.inputs) - len(bound)} inputs; expected 1"
        )
    steps = walk.steps(top)
    # The objects are saved twice, with the function and with the tensors: the same paths
    # lead to the same object.
    pairs = {0: 0}
    waiting = [0]
    while waiting:
        ours = waiting.pop()
        for child, node in children[ours].items():
            theirs = graph.nodes[pairs[ours]].children.get(child)
            if theirs is not None and node not in pairs:
                pairs[node] = theirs
                waiting.append(node)

    def variable(argument: int) -> int:
        node = pairs.get(bound[argument - 1], -1) if argument > 0 else -1
        if node < 0 or graph.nodes[node].key is None:
            raise KerasFileError(f"{meta.where}: argument {argument} of {name} is no variable")
        return node

    return _chain(meta.where, steps, walk, {s.argument: variable(s.argument) for s in steps
                  if s.argument >= 0}, graph, bundle)  # fmt: skip


class _Walk:
    """Follows a value through the functions of a graph."""

    def __init__(self, meta: Message) -> None:
        self._where = meta.where
        self._functions: dict[str, Message] = {}
        library = meta.message(2, "graph").message(2, "library")
        for function in library.messages(1, "function"):
            self._functions[function.message(1, "signature").text(1)] = function
        self._read: dict[str, _Function] = {}
        self._steps = 0
        self.casts = False
        self.identities: list[str] = []

    def function(self, name: str) -> _Function:
        """A function by name."""
        if name not in self._read:
            if name not in self._functions:
                raise KerasFileError(f"{self._where}: has no function {name[:80]!r}")
            message = self._functions[name]
            inputs = [a.text(1) for a in message.message(1, "signature").messages(2, "input")]
            outputs = [entry.text(2) for entry in message.messages(4, "output")]
            if len(outputs) != 1:
                raise KerasFileError(
                    f"{self._where}: {name} has {len(outputs)} outputs; expected 1"
                )
            nodes = {node.text(1): node for node in message.messages(3, "node")}
            self._read[name] = _Function(name, inputs, nodes, outputs[0])
        return self._read[name]

    def steps(self, top: _Function) -> list[_Step]:
        """What is done to the input, in order."""
        found = []
        frames, value = (_Frame(top, []),), top.output
        while True:
            frames, node, argument = self._follow(frames, value, _PASSING)
            if node is None:
                if argument != 0:
                    raise KerasFileError(f"{self._where}: {top.name} does not use its input")
                return found[::-1]
            name, op, inputs = node.text(1), node.text(2), _data_inputs(node)
            weight = -1
            if op == "MatMul" or op in _ADDS:
                attributes = node.mapping(5, "attribute")
                if any(t in attributes and attributes[t].integer(5)
                       for t in ("transpose_a", "transpose_b")) or len(inputs) != 2:  # fmt: skip
                    raise KerasFileError(f"{self._where}: {name!r} is a transposing {op}")
                _, other, weight = self._follow(frames, inputs[1], (*_PASSING, "ReadVariableOp"))
                if other is not None or weight == 0:
                    came = "the input" if other is None else f"a {other.text(2)}"
                    raise KerasFileError(
                        f"{self._where}: {name!r} is a {op} with {came}; expected a variable: "
                        f"{SUPPORTED}"
                    )
            elif op not in _ACTIVATIONS or len(inputs) != 1:
                raise KerasFileError(f"{self._where}: {name!r} is a {op[:80]}; {SUPPORTED}")
            found.append(_Step(op, name.rpartition("/")[0], weight))
            value = inputs[0]

    def _follow(
        self, frames: tuple[_Frame, ...], value: str, passing: tuple[str, ...]
    ) -> tuple[tuple[_Frame, ...], Message | None, int]:
        """To the node that computes a value, or the outermost argument that it is."""
        while True:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise KerasFileError(f"{self._where}: its functions run in a circle")
            function = frames[-1].function
            name = value.partition(":")[0]
            if value in function.inputs:
                position = function.inputs.index(value)
                if len(frames) == 1:
                    return frames, None, position
                if position >= len(frames[-1].arguments):
                    raise KerasFileError(
                        f"{self._where}: {function.name} is called without its {value[:80]!r}"
                    )
                value = frames[-1].arguments[position]
                frames = frames[:-1]
                continue
            if name not in function.nodes:
                raise KerasFileError(f"{self._where}: {function.name} has no node {name[:80]!r}")
            node = function.nodes[name]
            op, inputs = node.text(2), _data_inputs(node)
            if op in _CALLS:
                called = node.mapping(5, "attribute").get("f")
                if called is None or len(frames) >= _DEEPEST:
                    raise KerasFileError(
                        f"{self._where}: {name[:80]!r} calls no function, or the "
                        f"{_DEEPEST}th in a row"
                    )
                inner = self.function(called.message(10, "function").text(1))
                frames = (*frames, _Frame(inner, inputs))
                value = inner.output
            elif op in passing and inputs:
                self.casts |= op == "Cast"
                scope = name.rpartition("/")[0]
                if op == "Identity" and scope:
                    self.identities.append(scope.rpartition("/")[2])
                value = inputs[0]
            else:
                return frames, node, -1


def _data_inputs(node: Message) -> list[str]:
    return [name for name in node.texts(3) if not name.startswith("^")]


def _chain(
    where: str,
    steps: list[_Step],
    walk: _Walk,
    variables: Mapping[int, int],
    graph: ObjectGraph,
    bundle: TensorBundle,
) -> tuple[Network, dict[str, int], list[str]]:
    layers: list[Layer] = []
    weights: dict[str, int] = {}
    name, first, scope, model = "", 0, "", ""
    for step in steps:
        if step.argument >= 0:
            node = variables[step.argument]
            weight = weight_name(graph.nodes[node].name, where)
            kind = "kernel" if step.op == "MatMul" else "bias"
            shape = bundle.entries[graph.nodes[node].key or ""].shape
            last = layers[-1] if layers else None
            bias_fits = (
                last is not None
                and last.kind == "Dense"
                and not last.use_bias
                and last.activation == "linear"
                and step.scope == scope
                and weight == f"{last.name}/bias"
            )
            if not weight.endswith(kind) or weight in weights or (kind == "bias" and not bias_fits):
                raise KerasFileError(
                    f"{where}: the {step.op} of {step.scope!r} uses {weight}; expected a kernel "
                    f"and then, at most, a bias of each Dense layer: {SUPPORTED}"
                )
            weights[weight] = node
            if last is not None and kind == "bias":
                layers[-1] = Layer("Dense", last.name, last.units, use_bias=True)
                continue
            if len(shape) != 2:
                raise KerasFileError(
                    f"{where}: {weight} has shape {shape}; expected (inputs, units)"
                )
            name = weight.rpartition("/")[0]
            model = model or graph.nodes[node].name.removesuffix(weight).strip("/")
            first = first or shape[0]
            scope = step.scope
            layers.append(Layer("Dense", name, shape[1], use_bias=False))
            continue
        activation = _ACTIVATIONS[step.op]
        if step.scope == scope and layers and layers[-1].activation == "linear":
            last = layers[-1]
            layers[-1] = Layer("Dense", name, last.units, activation, last.use_bias)
        else:
            layers.append(Layer("Activation", step.scope.rpartition("/")[2], activation=activation))
            scope = ""
    if not weights:
        raise KerasFileError(f"{where}: its serving function uses no weights; {SUPPORTED}")
    notes = ["a serving function has no Dropout: where layers were and their rates is unknown"]
    if walk.identities:
        names = ", ".join(reversed(walk.identities))
        notes[0] += f" (it passes through {names[:200]} unchanged)"
    if walk.casts:
        notes.append("the serving function converts its input or weights to another dtype")
    if any(layer.kind == "Activation" for layer in layers):
        notes.append("Activation layers are called as in the function, maybe with _1 at the end")
    return Network(first, tuple(layers), model or "sequential"), weights, notes
