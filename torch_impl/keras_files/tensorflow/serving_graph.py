"""The chain of layers that a SavedModel's serving function computes.

Nothing is run: the function's nodes are followed by name from its output back to its input.
tensorflow/core/protobuf/saved_object_graph.proto.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch_impl.keras.layers.kinds import SUPPORTED
from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.tensorflow.function_walk import ACTIVATIONS, FunctionWalk, Step
from torch_impl.keras_files.tensorflow.object_graph import ObjectGraph, children_of, weight_name
from torch_impl.keras_files.tensorflow.protobuf import Message
from torch_impl.keras_files.tensorflow.tensor_bundle import TensorBundle

__all__ = ["read_serving"]


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
    walk = FunctionWalk(meta)
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
        node = pairs.get(bound[argument - 1])  # argument 0 is the input, which is no weight
        if node is None or graph.nodes[node].key is None:
            raise KerasFileError(f"{meta.where}: argument {argument} of {name} is no variable")
        return node

    return _chain(meta.where, steps, walk, {s.argument: variable(s.argument) for s in steps
                  if s.argument >= 0}, graph, bundle)  # fmt: skip


def _chain(
    where: str,
    steps: list[Step],
    walk: FunctionWalk,
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
        activation = ACTIVATIONS[step.op]
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
