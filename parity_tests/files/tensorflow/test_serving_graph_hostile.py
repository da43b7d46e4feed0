"""A serving function that computes another network, or nothing at all, is refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from parity_tests.files.hostile import refused
from parity_tests.files.tensorflow.bundle_writer import (
    Field,
    GraphNode,
    encode,
    graph_function,
    object_graph,
    saved_model,
    write_bundle,
)
from torch_impl.keras.layers.network import Layer
from torch_impl.keras_files.tensorflow.saved_model import read_saved_model

SHAPES = {"dense/kernel": (2, 3), "dense/bias": (3,), "dense_1/kernel": (3, 1)}
VARIABLES = {"w": "dense/kernel", "b": "dense/bias", "v": "dense_1/kernel"}
"""Arguments of the inner function, after its input x, and the variables that they are."""


def calls(function: str, *inputs: str) -> GraphNode:
    name = encode([(1, 2, function.encode())])
    return GraphNode("StatefulPartitionedCall", inputs, {"f": [(10, 2, name)]})


INNER = {
    "net/dense/Read": GraphNode("ReadVariableOp", ["w"]),
    "net/dense/MatMul": GraphNode("MatMul", ["x", "net/dense/Read:value:0"]),
    "net/dense/BiasRead": GraphNode("ReadVariableOp", ["b"]),
    "net/dense/BiasAdd": GraphNode(
        "BiasAdd", ["net/dense/MatMul:product:0", "net/dense/BiasRead:value:0"]
    ),
    "net/dense/Relu": GraphNode("Relu", ["net/dense/BiasAdd:output:0"]),
    "net/drop/Identity": GraphNode("Identity", ["net/dense/Relu:activations:0", "^net/dense/Relu"]),
    "net/dense_1/Read": GraphNode("ReadVariableOp", ["v"]),
    "net/dense_1/MatMul": GraphNode(
        "MatMul", ["net/drop/Identity:output:0", "net/dense_1/Read:value:0"]
    ),
    "net/squash/Sigmoid": GraphNode("Sigmoid", ["net/dense_1/MatMul:product:0"]),
}
OUTPUT = "net/squash/Sigmoid:y:0"
OUTER = {"Call": calls("inner", "x", "one", "two", "three")}
OBJECTS: Sequence[tuple[dict[str, int], str]] = [
    ({"variables": 1, "signatures": 2}, ""),
    ({"0": 4, "1": 5, "2": 6}, ""),
    ({"serving_default": 3}, ""),
    ({}, "outer"),
    ({}, ""),
    ({}, ""),
    ({}, ""),
]
NODES: Sequence[tuple[dict[str, int], str]] = [
    ({"variables": 1}, ""),
    ({"0": 2, "1": 3, "2": 4}, ""),
    ({}, "net/dense/kernel"),
    ({}, "net/dense/bias"),
    ({}, "net/dense_1/kernel"),
]


def write(
    folder: Path,
    *,
    inner: Mapping[str, GraphNode] = INNER,
    outer: Mapping[str, GraphNode] = OUTER,
    outputs: Sequence[str] = (OUTPUT,),
    arguments: Sequence[str] = ("x", "one", "two", "three"),
    objects: Sequence[tuple[dict[str, int], str]] = OBJECTS,
    nodes: Sequence[tuple[dict[str, int], str]] = NODES,
    shapes: Mapping[str, Sequence[int]] = SHAPES,
    bound: Sequence[int] = (4, 5, 6),
    at: str = "net/",
    more: Sequence[bytes] = (),
) -> Path:
    """A SavedModel of two Dense layers, whose serving function calls the one that computes."""
    functions = [
        graph_function("outer", arguments, outer, "Call:output:0"),
        graph_function("inner", ["x", *VARIABLES], inner, *outputs),
        *more,
    ]
    tensors = {
        f"{at}{name}": (1, shape, bytes(4 * math.prod(shape))) for name, shape in shapes.items()
    }
    write_bundle(folder / "variables" / "variables", tensors, object_graph(nodes))
    (folder / "saved_model.pb").write_bytes(saved_model(functions, objects, {"outer": bound}))
    return folder


def changed(**nodes: Any) -> dict[str, Any]:
    """The function with some nodes replaced; a name's `__` is `/`."""
    return {"inner": {**INNER, **{name.replace("__", "/"): node for name, node in nodes.items()}}}


def test_a_function_made_here_is_read(tmp_path: Path) -> None:
    """The twin of all that follows: layers, names, sizes, and what the function passes through."""
    came = read_saved_model(write(tmp_path))
    assert came.network is not None
    assert (came.network.in_features, came.network.name) == (2, "net")
    assert came.format == "SavedModel"
    assert came.network.layers == (
        Layer("Dense", "dense", 3, "relu"),
        Layer("Dense", "dense_1", 1, use_bias=False),
        Layer("Activation", "squash", activation="sigmoid"),
    )
    assert came.notes[:2] == (
        "a serving function has no Dropout: where layers were and their rates is unknown "
        "(it passes through drop unchanged)",
        "Activation layers are called as in the function, maybe with _1 at the end",
    )


def test_an_activation_is_its_layers_where_both_have_one_scope(tmp_path: Path) -> None:
    """Also of a layer without bias; a layer of its own is called by its scope's last part."""
    inside = {"net/dense_1/Sigmoid": INNER["net/squash/Sigmoid"]}
    came = read_saved_model(
        write(tmp_path, inner=INNER | inside, outputs=["net/dense_1/Sigmoid:y:0"])
    )
    dense = Layer("Dense", "dense", 3, "relu")
    assert came.network is not None
    assert came.network.layers == (dense, Layer("Dense", "dense_1", 1, "sigmoid", use_bias=False))
    assert len(came.notes) == 1
    apart = {"net/block/squash/Sigmoid": INNER["net/squash/Sigmoid"]}
    came = read_saved_model(
        write(tmp_path, inner=INNER | apart, outputs=["net/block/squash/Sigmoid:y:0"])
    )
    assert came.network is not None
    assert came.network.layers[-1] == Layer("Activation", "squash", activation="sigmoid")


def renamed(**names: str) -> list[tuple[dict[str, int], str]]:
    """The checkpoint's objects with some variables called otherwise."""
    index = {name: number for number, name in enumerate(VARIABLES, 2)}
    nodes = list(NODES)
    for name, title in names.items():
        nodes[index[name]] = {}, title
    return nodes


def test_a_function_is_followed_through_others(tmp_path: Path) -> None:
    """Each passes its arguments on in an order of its own."""
    outer = {"Call": calls("middle", "three", "two", "one", "x")}
    middle = {
        "First": calls("last", "q", "s"),
        "Call": calls("inner", "First:output:0", "r", "q", "p"),
    }
    last = {"net/early/Identity": GraphNode("Identity", ["b"])}
    came = read_saved_model(write(
        tmp_path, outer=outer, bound=[4, 5, 6],
        more=[
            graph_function("middle", ["p", "q", "r", "s"], middle, "Call:output:0"),
            graph_function("last", ["a", "b"], last, "net/early/Identity:output:0"),
        ],
    ))  # fmt: skip
    assert list(came.weights) == ["dense/kernel", "dense/bias", "dense_1/kernel"]
    assert "(it passes through early, drop unchanged)" in came.notes[0]


def test_a_weight_of_another_width_is_refused_with_the_folder(tmp_path: Path) -> None:
    """There is no one file that it is in."""
    write(tmp_path, shapes=SHAPES | {"dense_1/kernel": (4, 1)})
    error = f"^{tmp_path}: dense_1/kernel has shape .4, 1.; expected .3, 1.$"
    refused(lambda: read_saved_model(tmp_path), error)


def test_a_model_without_a_name_is_called_as_keras_would(tmp_path: Path) -> None:
    """Its variables have no path then."""
    nodes = renamed(w="dense/kernel", b="dense/bias", v="dense_1/kernel")
    came = read_saved_model(write(tmp_path, nodes=nodes, at=""))
    assert came.network is not None
    assert came.network.name == "sequential"


def test_objects_that_hold_each_other_are_gone_through_once(tmp_path: Path) -> None:
    """And what the checkpoint does not hold is not looked for."""
    objects = [({**OBJECTS[0][0], "root": 0, "traces": 3}, ""), *OBJECTS[1:]]
    nodes = [({**NODES[0][0], "root": 0}, ""), *NODES[1:]]
    assert len(read_saved_model(write(tmp_path, objects=objects, nodes=nodes)).weights) == 3


def test_what_is_passed_through_is_told_in_the_order_of_the_layers(tmp_path: Path) -> None:
    """By the layers' own names; an Identity of no layer is not told."""
    more = {
        "net/block/first/Identity": GraphNode("Identity", ["x"]),
        "net/dense/MatMul": GraphNode(
            "MatMul", ["net/block/first/Identity:output:0", "net/dense/Read:value:0"]
        ),
        "Identity": GraphNode("Identity", [OUTPUT]),
    }
    came = read_saved_model(write(tmp_path, inner=INNER | more, outputs=["Identity:output:0"]))
    assert "(it passes through first, drop unchanged)" in came.notes[0]


def cast(dtype: int | None) -> GraphNode:
    fields: dict[str, Sequence[Field]] = {} if dtype is None else {"DstT": [(6, 0, dtype)]}
    return GraphNode("Cast", ["net/dense/Relu:activations:0"], fields)


@pytest.mark.parametrize("dtype", [1, 2, 14, 19])
def test_a_cast_to_a_float_is_told_in_a_note(dtype: int, tmp_path: Path) -> None:
    """To float32, float64, bfloat16 and float16; the layers stay."""
    came = read_saved_model(write(tmp_path, **changed(net__drop__Identity=cast(dtype))))
    assert came.network is not None
    assert [layer.name for layer in came.network.layers] == ["dense", "dense_1", "squash"]
    assert came.notes[0].endswith("is unknown")
    assert came.notes[1] == ("the serving function converts its input or weights to another dtype")


def matmul(*inputs: str, **attributes: int) -> GraphNode:
    return GraphNode("MatMul", inputs, {key: [(5, 0, n)] for key, n in attributes.items()})


RELU, READ = "net/dense/Relu:activations:0", "net/dense_1/Read:value:0"


def test_a_matmul_may_say_that_it_does_not_transpose(tmp_path: Path) -> None:
    """TensorFlow writes both attributes, as false; and what has to be done before it, with a ^."""
    node = matmul(RELU, READ, "^net/dense/Relu", transpose_a=0, transpose_b=0)
    assert read_saved_model(write(tmp_path, **changed(net__dense_1__MatMul=node))).weights


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (changed(net__squash__Sigmoid=GraphNode("Tan", ["net/dense_1/MatMul:product:0"])),
         r"saved_model.pb, graph 0: 'net/squash/Sigmoid' is a Tan; supported: Input, Dense"),
        (changed(net__squash__Sigmoid=GraphNode("Sigmoid", ["net/dense_1/MatMul:product:0", RELU])),
         "'net/squash/Sigmoid' is a Sigmoid; supported"),
        (changed(net__drop__Identity=GraphNode("Identity", [])),
         "'net/drop/Identity' is a Identity; supported"),
        (changed(net__drop__Identity=cast(None)),
         "graph 0: 'net/drop/Identity' casts to what is no float; supported: Input"),
        (changed(net__drop__Identity=cast(3)), "casts to what is no float"),
        (changed(net__dense_1__MatMul=matmul(RELU, READ, transpose_b=1)),
         "graph 0: 'net/dense_1/MatMul' is a transposing MatMul"),
        (changed(net__dense_1__MatMul=matmul(RELU, READ, transpose_a=1)), "a transposing MatMul"),
        (changed(net__dense_1__MatMul=matmul(RELU, READ, READ)), "a transposing MatMul"),
        (changed(net__dense_1__MatMul=matmul(RELU, RELU)),
         "'net/dense_1/MatMul' is a MatMul with a Relu; expected a variable: supported"),
        (changed(net__dense_1__MatMul=matmul(RELU, "x")),
         "'net/dense_1/MatMul' is a MatMul with the input; expected a variable: supported"),
        (changed(net__dense__MatMul=matmul("w", "net/dense/Read:value:0")),
         "graph 0: outer does not use its input"),
        (changed(net__dense_1__MatMul=matmul(RELU, "net/none:value:0")),
         "graph 0: inner has no node 'net/none'"),
        (changed(net__dense__Relu=GraphNode("Relu", ["net/dense/Relu:activations:0"])),
         "graph 0: its functions run in a circle"),
        (changed(net__dense__Relu=GraphNode("Relu", ["^x"] * 301)), "has more than 300 inputs"),
        (changed(net__dense_1__Read=GraphNode("ReadVariableOp", ["w"])),
         "the MatMul of 'net/dense_1' uses dense/kernel; expected a kernel and then, at most, a "
         "bias of each Dense layer: supported"),
        (changed(net__dense_1__Read=GraphNode("ReadVariableOp", ["b"])),
         "the MatMul of 'net/dense_1' uses dense/bias; expected a kernel"),
        (changed(net__dense__BiasRead=GraphNode("ReadVariableOp", ["v"])),
         "the BiasAdd of 'net/dense' uses dense_1/kernel; expected a kernel"),
        (changed(net__dense__MatMul=GraphNode("BiasAdd", ["x", "net/dense/BiasRead:value:0"])),
         "graph 0: the BiasAdd of 'net/dense' uses dense/bias; expected a kernel"),
        (changed(net__dense__Relu=GraphNode("Relu", ["net/dense/MatMul:product:0"]),
                 net__dense__BiasAdd=GraphNode("BiasAdd", [RELU, "net/dense/BiasRead:value:0"]),
                 net__drop__Identity=GraphNode("Identity", ["net/dense/BiasAdd:output:0"])),
         "the BiasAdd of 'net/dense' uses dense/bias"),
        (changed(net__dense__Relu=GraphNode("AddV2", ["net/dense/BiasAdd:output:0",
                                                      "net/dense/BiasRead:value:0"])),
         "the AddV2 of 'net/dense' uses dense/bias"),
        (changed(net__apart__Add=GraphNode("Add", ["net/dense/MatMul:product:0",
                                                   "net/dense/BiasRead:value:0"]),
                 net__dense__Relu=GraphNode("Relu", ["net/apart/Add:z:0"])),
         "the Add of 'net/apart' uses dense/bias"),
        (changed(net__dense__BiasAdd=GraphNode("Relu", ["net/dense/MatMul:product:0"]),
                 net__dense__Relu=GraphNode("Relu", ["net/dense/BiasAdd:output:0"]),
                 net__drop__Identity=GraphNode("BiasAdd", [RELU, "net/dense/BiasRead:value:0"])),
         "the BiasAdd of 'net/drop' uses dense/bias"),
        ({"nodes": renamed(b="net/dense_2/bias"),
          "shapes": SHAPES | {"dense_2/bias": (3,)}}, "uses dense_2/bias; expected a kernel"),
        ({"nodes": renamed(b="net/dense/delta"), "shapes": SHAPES | {"dense/delta": (3,)}},
         "graph 0: the variable 'net/dense/delta' is no weight of a layer; supported"),
        ({"outputs": ()}, "graph 0: inner has 0 outputs; expected 1"),
        ({"outputs": (OUTPUT, OUTPUT)}, "inner has 2 outputs; expected 1"),
        ({"outputs": ("x",)}, "its serving function uses no weights; supported: Input"),
        ({"outputs": ("w",)}, "outer does not use its input"),
        ({"outer": {"Call": calls("none", "x")}}, "graph 0: has no function 'none'"),
        ({"outer": {"Call": calls("outer", "x")}},
         "'Call' calls no function, or the 16th in a row"),
        ({"outer": {"Call": GraphNode("PartitionedCall", ["x"])}}, "'Call' calls no function"),
        ({"outer": {"Call": calls("inner", "x", "one", "two")}},
         "graph 0: inner is called without its 'v'"),
        ({"outer": {"Call": calls("inner", "x", "one", "two", "x")}},
         "'net/dense_1/MatMul' is a MatMul with the input"),
        ({"arguments": ("x", "y", "one", "two", "three")}, "outer has 2 inputs; expected 1"),
        ({"arguments": ("one", "two", "three")}, "graph 0: outer has 0 inputs; expected 1"),
        ({"bound": (4, 5, 3)}, "graph 0: argument 3 of outer is no variable"),
        ({"bound": (4, 1, 6)}, "argument 2 of outer is no variable"),
        ({"objects": []}, "graph 0: has no objects; expected a SavedModel of Keras"),
        ({"objects": [({}, "outer")]}, "graph 0: has no signature 'serving_default'"),
        ({"objects": [*OBJECTS[:2], ({"serving": 3}, ""), *OBJECTS[3:]]},
         "has no signature 'serving_default'"),
        ({"objects": [*OBJECTS[:3], ({}, "inner"), *OBJECTS[4:]]},
         "has no signature 'serving_default'"),
        ({"shapes": SHAPES | {"dense/kernel": (2, 3, 1)}},
         r"graph 0: dense/kernel has shape \(2, 3, 1\); expected \(inputs, units\)"),
        ({"shapes": SHAPES | {"dense_1/kernel": (4, 1)}},
         r"dense_1/kernel has shape \(4, 1\); expected \(3, 1\)"),
    ],
)  # fmt: skip
def test_a_function_that_computes_no_chain_of_dense_layers_is_refused(
    change: dict[str, Any], match: str, tmp_path: Path
) -> None:
    """Each node, function or variable that is not as Keras writes it is named."""
    write(tmp_path, **change)
    refused(lambda: read_saved_model(tmp_path), match)
