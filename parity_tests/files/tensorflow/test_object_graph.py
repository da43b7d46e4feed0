"""The graph of objects in a TensorFlow file, by hand: who holds whom, and what cannot be."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parity_tests.files.tensorflow.bundle_writer import (
    encode,
    object_graph,
    saved_model,
    write_bundle,
)
from torch_impl.keras_files.config import SUPPORTED
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.tensorflow.object_graph import (
    GRAPH_KEY,
    ObjectGraph,
    children_of,
    read_object_graph,
    weight_name,
)
from torch_impl.keras_files.tensorflow.protobuf import Message
from torch_impl.keras_files.tensorflow.saved_model import read_saved_model
from torch_impl.keras_files.tensorflow.tensor_bundle import TensorBundle

NODES: list[tuple[dict[str, int], str]] = [
    ({"a": 1, "list": 2}, ""), ({"b": 3, "up": 0}, ""),
    ({"10": 3, "2": 1, "x": 0, "1234567": 0}, ""), ({}, "net/dense/kernel"),
]  # fmt: skip


def graph_of(folder: Path, nodes: Any = NODES, slots: Any = None, more: bytes = b"") -> ObjectGraph:
    rows = {name: (1, (), struct.pack("<f", 1)) for _, name in nodes if name}
    write_bundle(folder / "x", rows, object_graph(nodes, slots) + more)
    return read_object_graph(TensorBundle(folder / "x"))


def test_objects_are_found_by_path_and_lists_are_in_order(tmp_path: Path) -> None:
    """What breaks off is None, what is seen is not seen again."""
    graph = graph_of(tmp_path, slots={1: [(3, "m", 2)]})
    assert graph.child(0, "a", "b") == 3
    assert graph.child(0) == 0
    assert graph.child(0, "b") is graph.child(0, "none", "b") is graph.child(None, "a") is None
    assert (graph.items(2), graph.items(None), graph.items(3)) == ([1, 3], [], [])
    assert sorted(graph.below(0)) == [1, 2, 3]
    assert sorted(graph.below(2)) == [0, 1, 3]
    seen = {1}
    assert sorted(graph.below(0, seen)) == [2, 3]
    assert seen == {0, 1, 2, 3}
    assert (graph.nodes[3].name, graph.nodes[3].key) == ("net/dense/kernel",) * 2
    assert (graph.nodes[0].name, graph.nodes[0].key) == ("", None)
    assert [node.slots for node in graph.nodes] == [(), ((3, "m", 2),), (), ()]
    assert graph.where == f"{tmp_path / 'x'}: {GRAPH_KEY}"


def test_an_attribute_that_is_no_variable_is_passed_over(tmp_path: Path) -> None:
    """TensorFlow may save others beside it."""
    other = encode([(1, 2, b"OBJECT_CONFIG_JSON"), (2, 2, b"n"), (3, 2, b"none")])
    graph = graph_of(tmp_path, more=encode([(1, 2, encode([(2, 2, other)]))]))
    assert (graph.nodes[4].name, graph.nodes[4].key) == ("", None)


REFERENCE = encode([(1, 2, encode([(1, 0, 0), (2, 2, b"a")]))])
GRAPHS: dict[str, tuple[Callable[[Path], object], str]] = {
    "child-outside": (
        lambda f: graph_of(f, [({"a": 1}, "")]),
        ", node 0, child 0: 'a' is node 1; expected a name that comes once and a node below 1",
    ),
    "child-below-0": (
        lambda f: graph_of(f, [({"a": -1}, "")]),
        ", node 0, child 0: 'a' is node -1; expected a name that comes once and a node below 1",
    ),
    "child-twice": (
        lambda f: graph_of(f, [], more=encode([(1, 2, REFERENCE * 2)])),
        ", node 0, child 1: 'a' is node 0; expected a name that comes once and a node below 1",
    ),
    "slot-of-none": (
        lambda f: graph_of(f, slots={1: [(4, "m", 2)]}),
        ", node 1, slot 0: is of node 4 and is node 2; there are 4",
    ),
    "slot-is-none": (
        lambda f: graph_of(f, slots={1: [(0, "m", 0), (3, "m", -1)]}),
        ", node 1, slot 1: is of node 3 and is node -1; there are 4",
    ),
    "slot-is-behind": (
        lambda f: graph_of(f, slots={1: [(3, "m", 4)]}),
        ", node 1, slot 0: is of node 3 and is node 4; there are 4",
    ),
    "no-nodes": (lambda f: graph_of(f, []), ": has no nodes"),
    "tensor-missing": (
        lambda f: graph_of(f, more=encode([(1, 2, encode([
            (2, 2, encode([(1, 2, b"VARIABLE_VALUE"), (2, 2, b"n"), (3, 2, b"none")]))]))])),
        ", node 4: its tensor 'none' is not in the checkpoint",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GRAPHS)
def test_a_graph_that_contradicts_itself_is_refused(case: str, tmp_path: Path) -> None:
    """By the number of the node, and of what in it is wrong."""
    make, message = GRAPHS[case]
    with pytest.raises(KerasFileError) as caught:
        make(tmp_path)
    assert str(caught.value) == f"{tmp_path / 'x'}: {GRAPH_KEY}{message}"


def test_children_may_be_the_first_and_the_last_node() -> None:
    """The ends of the range belong to it."""
    rows = encode([(1, 2, encode([(1, 0, n), (2, 2, str(n).encode())])) for n in (0, 2)])
    assert children_of(Message(rows, "file"), 3) == {"0": 0, "2": 2}


@pytest.mark.parametrize(
    ("full", "name"),
    [("dense/kernel", "dense/kernel"), ("net/dense/bias:0", "dense/bias")],
)
def test_a_weights_name_ends_in_its_layers(full: str, name: str) -> None:
    """Whatever stands before it."""
    assert weight_name(full, "file") == name


@pytest.mark.parametrize("full", ["kernel", "/kernel", "dense/delta", "dense/kernel:1", ""])
def test_what_is_no_weight_of_a_layer_is_refused(full: str) -> None:
    """By the name that it has."""
    with pytest.raises(KerasFileError) as caught:
        weight_name(full, "file")
    assert str(caught.value) == (
        f"file: the variable {full!r} is no weight of a layer; {SUPPORTED}"
    )


@pytest.mark.parametrize(
    ("tags", "count"), [([], 0), (["train"], 0), (["train", "serve"], 1)], ids=str
)
def test_the_graph_for_serving_is_the_one_that_is_read(
    tags: list[str], count: int, tmp_path: Path
) -> None:
    """There is to be one, whatever other tags it has."""
    path = tmp_path / "saved_model.pb"
    path.write_bytes(saved_model([], [], {}, tags))
    with pytest.raises(KerasFileError) as caught:
        read_saved_model(tmp_path)
    expected = (
        f"{tmp_path}/variables/variables.index: cannot be opened (No such file or directory)"
        if count
        else f"{path}: has 0 graphs tagged 'serve'; expected 1"
    )
    assert str(caught.value) == expected
    path.write_bytes(saved_model([], [], {}) * 2)
    with pytest.raises(KerasFileError, match="has 2 graphs tagged 'serve'; expected 1"):
        read_saved_model(tmp_path)
