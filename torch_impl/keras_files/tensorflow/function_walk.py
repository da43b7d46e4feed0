"""A value followed backwards through the functions of a TensorFlow graph.

tensorflow/core/framework/function.proto, node_def.proto. Nothing is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch_impl.keras.layers.kinds import SUPPORTED
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.tensorflow.protobuf import Message

__all__ = ["ACTIVATIONS", "Function", "FunctionWalk", "Step"]

_MOST_STEPS = 5000
_MOST_INPUTS = 300
_DEEPEST = 16
_CALLS = ("StatefulPartitionedCall", "PartitionedCall")
_PASSING = ("Identity", "StopGradient", "Cast")
_FLOATS = (1, 2, 14, 19)  # float32, float64, bfloat16, float16
_ADDS = ("BiasAdd", "Add", "AddV2")
ACTIVATIONS = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softmax": "softmax",
    "Elu": "elu",
    "Selu": "selu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Relu6": "relu6",
}
"""TensorFlow's operation to Keras's activation, where one makes the other."""


class Function(NamedTuple):
    """One function: its nodes by name, and which value it returns."""

    name: str
    inputs: dict[str, int]
    """Name to position."""
    nodes: Mapping[str, Message]
    output: str


class _Frame(NamedTuple):
    function: Function
    arguments: list[str]
    """What the caller passes, none for the outermost function."""


class Step(NamedTuple):
    """One thing that is done to the input."""

    op: str
    scope: str
    """Of the layer: the node's name without its last part."""
    argument: int
    """Which argument of the outermost function is the weight, -1 for none."""


class FunctionWalk:
    """Follows a value through the functions of a graph."""

    def __init__(self, meta: Message) -> None:
        self._where = meta.where
        self._functions: dict[str, Message] = {}
        library = meta.message(2, "graph").message(2, "library")
        for function in library.messages(1, "function"):
            self._functions[function.message(1, "signature").text(1)] = function
        self._read: dict[str, Function] = {}
        self._steps = 0
        self.casts = False
        self.identities: list[str] = []

    def function(self, name: str) -> Function:
        """A function by name."""
        if name not in self._read:
            if name not in self._functions:
                raise KerasFileError(f"{self._where}: has no function {name[:80]!r}")
            message = self._functions[name]
            arguments = message.message(1, "signature").messages(2, "input")
            names = [argument.text(1) for argument in arguments]
            inputs = {argument: index for index, argument in enumerate(names)}
            if len(inputs) != len(names):
                raise KerasFileError(f"{self._where}: {name[:80]!r} has two inputs of one name")
            outputs = [entry.text(2) for entry in message.messages(4, "output")]
            if len(outputs) != 1:
                raise KerasFileError(
                    f"{self._where}: {name} has {len(outputs)} outputs; expected 1"
                )
            nodes = {node.text(1): node for node in message.messages(3, "node")}
            self._read[name] = Function(name, inputs, nodes, outputs[0])
        return self._read[name]

    def steps(self, top: Function) -> list[Step]:
        """What is done to the input, in order."""
        found: list[Step] = []
        frames: tuple[_Frame, ...] = (_Frame(top, []),)
        value = top.output
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
            elif op not in ACTIVATIONS or len(inputs) != 1:
                raise KerasFileError(f"{self._where}: {name!r} is a {op[:80]}; {SUPPORTED}")
            found.append(Step(op, name.rpartition("/")[0], weight))
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
                position = function.inputs[value]
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
                if op == "Cast":
                    dtype = node.mapping(5, "attribute").get("DstT")
                    if dtype is None or dtype.integer(6) not in _FLOATS:
                        raise KerasFileError(
                            f"{self._where}: {name[:80]!r} casts to what is no float; {SUPPORTED}"
                        )
                    self.casts = True
                scope = name.rpartition("/")[0]
                if op == "Identity" and scope:
                    self.identities.append(scope.rpartition("/")[2])
                value = inputs[0]
            else:
                return frames, node, -1


def _data_inputs(node: Message) -> list[str]:
    if len(node.raw(3)) > _MOST_INPUTS:
        raise KerasFileError(f"{node.where}: has more than {_MOST_INPUTS} inputs")
    return [name for name in node.texts(3) if not name.startswith("^")]
