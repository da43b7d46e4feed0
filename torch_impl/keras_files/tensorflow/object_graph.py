"""The graph of objects that a TensorFlow checkpoint saves: who holds which variable.

tensorflow/core/protobuf/trackable_object_graph.proto.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch_impl.keras.layers.kinds import SUPPORTED
from torch_impl.keras.layers.network import WEIGHT_NAMES
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.tensorflow.protobuf import Message
from torch_impl.keras_files.tensorflow.tensor_bundle import TensorBundle

__all__ = ["GRAPH_KEY", "Node", "ObjectGraph", "children_of", "read_object_graph", "weight_name"]

_NUMBER = re.compile(r"[0-9]{1,6}\Z")

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"


class Node(NamedTuple):
    """One object."""

    children: Mapping[str, int]
    """Attribute name, or number in a list, to node."""
    key: str | None
    """Of a variable's tensor in the checkpoint; None for what is no variable."""
    name: str
    """Of a variable."""
    slots: tuple[tuple[int, str, int], ...]
    """Of an optimizer: variable, slot's name, slot."""


class ObjectGraph(NamedTuple):
    """All objects; node 0 is what was saved."""

    nodes: tuple[Node, ...]
    where: str

    def child(self, node: int | None, *path: str) -> int | None:
        """The node at the end of a path, None if it breaks off."""
        for name in path:
            node = None if node is None else self.nodes[node].children.get(name)
        return node

    def items(self, node: int | None) -> list[int]:
        """What a list holds, in order."""
        children = {} if node is None else self.nodes[node].children
        numbers = {int(name): node for name, node in children.items() if _NUMBER.match(name)}
        return [numbers[number] for number in sorted(numbers)]

    def below(self, start: int, seen: set[int] | None = None) -> Iterator[int]:
        """Every node reachable from one, each once, but what was seen already."""
        seen = set() if seen is None else seen
        seen.add(start)
        waiting = [start]
        while waiting:
            for child in self.nodes[waiting.pop()].children.values():
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)
                    yield child


def read_object_graph(bundle: TensorBundle) -> ObjectGraph:
    """A checkpoint's own graph.

    Raises:
        KerasFileError: it is missing or contradicts itself.
    """
    where = f"{bundle.prefix}: {GRAPH_KEY}"
    if GRAPH_KEY not in bundle.entries:
        raise KerasFileError(
            f"{bundle.prefix}.index: has no {GRAPH_KEY}; expected what "
            "tf.train.Checkpoint or Keras writes"
        )
    messages = list(Message(bundle.text(GRAPH_KEY), where).messages(1, "node"))
    nodes = tuple(_read_node(message, len(messages)) for message in messages)
    if not nodes:
        raise KerasFileError(f"{where}: has no nodes")
    for index, node in enumerate(nodes):
        if node.key is not None and node.key not in bundle.entries:
            raise KerasFileError(
                f"{where}, node {index}: its tensor {node.key!r} is not in the checkpoint"
            )
    return ObjectGraph(nodes, where)


def children_of(message: Message, count: int) -> dict[str, int]:
    """Field 1 of a node in either graph: references to nodes, of which there are `count`."""
    children: dict[str, int] = {}
    for reference in message.messages(1, "child"):
        node, name = reference.integer(1), reference.text(2)
        if not 0 <= node < count or name in children:
            raise KerasFileError(
                f"{reference.where}: {name[:80]!r} is node {node}; expected a name that comes "
                f"once and a node below {count}"
            )
        children[name] = node
    return children


def weight_name(full_name: str, where: str) -> str:
    """A variable's name without what stands before its layer: `dense/kernel`."""
    parts = full_name.removesuffix(":0").split("/")
    if len(parts) < 2 or not parts[-2] or parts[-1] not in WEIGHT_NAMES:
        raise KerasFileError(
            f"{where}: the variable {full_name[:80]!r} is no weight of a layer; {SUPPORTED}"
        )
    return "/".join(parts[-2:])


def _read_node(message: Message, count: int) -> Node:
    key, name = None, ""
    for attribute in message.messages(2, "attribute"):
        if attribute.text(1) == "VARIABLE_VALUE":
            name, key = attribute.text(2), attribute.text(3)
    slots = []
    for slot in message.messages(3, "slot"):
        variable, value = slot.integer(1), slot.integer(3)
        if not (0 <= variable < count and 0 <= value < count):
            raise KerasFileError(
                f"{slot.where}: is of node {variable} and is node {value}; there are {count}"
            )
        slots.append((variable, slot.text(2), value))
    return Node(children_of(message, count), key, name, tuple(slots))
