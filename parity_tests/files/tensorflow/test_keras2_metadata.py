"""`keras_metadata.pb`, in which Keras 2 says what the layers of a SavedModel are, by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from parity_tests.files.tensorflow.bundle_writer import Field, encode
from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.tensorflow.keras2_metadata import Keras2Metadata, read_keras2_metadata

DENSE = {"class_name": "Dense", "config": {"name": "a", "units": 3, "trainable": False}}
ROOT = {
    "class_name": "Sequential",
    "config": {"layers": [DENSE], "build_input_shape": [None, 2]},
    "keras_version": "2.9.0",
    "training_config": {
        "optimizer_config": {"class_name": "Adam", "config": {"beta_1": 0.5}}, "metrics": [],
    },
}  # fmt: skip


def row(path: str, kind: str, told: Any) -> Field:
    """One object; what is told of it is JSON or, as bytes, whatever it is."""
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    return 1, 2, encode([(3, 2, path.encode()), (4, 2, kind.encode()), (5, 2, text)])


def metadata(root: Any = ROOT, *more: Field) -> bytes:
    return encode([
        row("root", "_tf_keras_sequential", root),
        row("root.layer_with_weights-0", "_tf_keras_layer", {"name": "a"}),
        row("root.layer-1", "_tf_keras_layer", {"name": "d"}),
        row("root.keras_api.metrics.0", "_tf_keras_metric", {"name": "deeper"}),
        row("root.layer-2", "tf_other", {"name": "of another kind"}),
        row("root.layer-3", "_tf_keras_layer", {"name": 7}),
        row("other.layer-4", "_tf_keras_layer", {"name": "elsewhere"}),
        *more,
    ])  # fmt: skip


def test_what_keras_2_says_of_a_model_is_read() -> None:
    """Network, the layers' places in the object graph, optimizer, version and notes."""
    assert read_keras2_metadata(metadata(), "file") == Keras2Metadata(
        Network(2, (Layer("Dense", "a", 3),)),
        {"a": ("layer_with_weights-0",), "d": ("layer-1",)},
        {"beta_1": 0.5, "class_name": "Adam"},
        "2.9.0",
        ("'a' is not trainable there",),
    )


def test_the_last_of_two_texts_counts() -> None:
    """As protobuf says of a field that comes twice."""
    name = [(3, 2, b"root"), (4, 2, b"x"), (5, 2, b"[]"), (5, 2, json.dumps(ROOT).encode())]
    assert read_keras2_metadata(encode([(1, 2, encode(name))]), "file").keras_version == "2.9.0"


@pytest.mark.parametrize(
    ("training", "optimizer"),
    [
        (None, None),
        (7, None),
        ({}, None),
        ({"optimizer_config": "adam"}, None),
        ({"optimizer_config": {"class_name": "Adam"}}, {"class_name": "Adam"}),
    ],
)
def test_an_optimizer_that_is_not_told_in_full_is_what_is_told(
    training: Any, optimizer: Any
) -> None:
    """Or none."""
    root = ROOT | {"training_config": training, "keras_version": 2}
    came = read_keras2_metadata(metadata(root), "file")
    assert (came.optimizer, came.keras_version) == (optimizer, None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "file: says nothing about the model itself (the object 'root')"),
        (metadata(b"["), "file, object 0: is no JSON (Expecting value: line 1 column 2 (char 1))"),
        (
            encode([(1, 2, encode([(3, 2, b"root")]))]),
            "file, object 0: is no JSON (Expecting value: line 1 column 1 (char 0))",
        ),
        (metadata(ROOT, row("root.x", "_tf_keras_layer", [])),
         "file, object 7: is list; expected an object"),
        (
            metadata({"class_name": "Mine"}),
            "file: the model is a 'Mine'; expected Sequential or Functional, with its layers in "
            "its config",
        ),
    ],
    ids=["empty", "no-json", "no-text", "list", "another-model"],
)  # fmt: skip
def test_metadata_that_says_nothing_of_use_is_refused(data: bytes, message: str) -> None:
    """With the object's number."""
    with pytest.raises(KerasFileError) as caught:
        read_keras2_metadata(data, "file")
    assert str(caught.value) == message
