"""SavedModel folders and TensorFlow checkpoints, read without TensorFlow.

What Keras 3's `model.export`, Keras 2's `model.save(folder, save_format="tf")` and
`tf.train.Checkpoint(model=model, optimizer=optimizer)` write. Nothing in a file is executed,
no name in it is imported, and no file outside its folder is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from torch_impl.keras.layers.network import Network
from torch_impl.keras_files.contents import Contents, KerasFileError
from torch_impl.keras_files.tensorflow.adam_slots import read_adam
from torch_impl.keras_files.tensorflow.checkpoint_layers import check_shape, model_weights
from torch_impl.keras_files.tensorflow.folder import read_whole
from torch_impl.keras_files.tensorflow.keras2_metadata import Keras2Metadata, read_keras2_metadata
from torch_impl.keras_files.tensorflow.object_graph import ObjectGraph, read_object_graph
from torch_impl.keras_files.tensorflow.protobuf import Message
from torch_impl.keras_files.tensorflow.serving_graph import read_serving
from torch_impl.keras_files.tensorflow.tensor_bundle import TensorBundle

__all__ = ["read_checkpoint", "read_saved_model"]

_LARGEST_GRAPH = 16 << 20
_LARGEST_STATE = 1 << 20
_LATEST = re.compile(rb'^model_checkpoint_path: "([^"\\/:]+)"\s*$', re.MULTILINE)


def read_saved_model(folder: str | os.PathLike[str]) -> Contents:
    """Reads a SavedModel folder of Keras 3 or Keras 2.

    Of Keras 2 the layers come from `keras_metadata.pb`; otherwise from the serving function,
    in which Dropout does not exist (a note says so).

    Args:
        folder: with `saved_model.pb` and `variables/`.

    Raises:
        KerasFileError: the folder is no SavedModel, is damaged, or holds a network other than
            a chain of supported layers.
    """
    root = Path(folder)
    path = root / "saved_model.pb"
    meta = _meta_graph(Message(read_whole(root, path, _LARGEST_GRAPH), str(path)))
    bundle = TensorBundle(root / "variables" / "variables", root)
    graph = read_object_graph(bundle)
    told: Keras2Metadata | None = None
    path = root / "keras_metadata.pb"
    if os.path.lexists(path):
        told = read_keras2_metadata(read_whole(root, path, _LARGEST_GRAPH), str(path))
        network, notes = told.network, list(told.notes)
        nodes = _keras2_weights(told, graph)
    else:
        network, nodes, notes = read_serving(meta, graph, bundle)
    shapes = network.weight_shapes()  # of the very weights in `nodes`, in the layers' order
    for name, node in nodes.items():
        came = bundle.entries[graph.nodes[node].key or ""].shape
        check_shape(str(root), name, came, shapes[name])
    version = meta.message(1, "meta information").text(5)
    return _contents(
        graph,
        bundle,
        {name: nodes[name] for name in shapes},
        network,
        f"SavedModel (TensorFlow {version})" if version else "SavedModel",
        told,
        notes,
    )


def read_checkpoint(path: str | os.PathLike[str]) -> Contents:
    """Reads what `tf.train.Checkpoint` with one Keras model, or Keras 2's `save_weights`, wrote.

    Args:
        path: the prefix that was saved to (with or without `.index`), or the folder, whose
            latest checkpoint is read.

    Returns:
        Weights, and Adam's state where it was saved; a checkpoint knows no network.

    Raises:
        KerasFileError: there is no checkpoint, it is damaged, or its model has other layers
            than are supported.
    """
    prefix = Path(path)
    if prefix.is_dir():
        prefix = _latest(prefix)
    if prefix.name.endswith(".index"):
        prefix = prefix.with_name(prefix.name.removesuffix(".index"))
    bundle = TensorBundle(prefix)
    graph = read_object_graph(bundle)
    weights = model_weights(graph, bundle)
    if not weights:
        raise KerasFileError(f"{prefix}: its model has no weights")
    notes = ["a checkpoint does not say which network its weights are of"]
    return _contents(graph, bundle, weights, None, "TensorFlow checkpoint", None, notes)


def _contents(
    graph: ObjectGraph,
    bundle: TensorBundle,
    nodes: Mapping[str, int],
    network: Network | None,
    kind: str,
    told: Keras2Metadata | None,
    notes: list[str],
) -> Contents:
    config = None if told is None else told.optimizer
    optimizer, more = read_adam(graph, bundle, nodes, config)
    return Contents(
        weights={name: bundle.tensor(graph.nodes[node].key or "") for name, node in nodes.items()},
        network=network,
        optimizer=optimizer,
        format=kind,
        keras_version=None if told is None else told.keras_version,
        notes=tuple(notes),
        optimizer_notes=tuple(more),
    )


def _meta_graph(message: Message) -> Message:
    """The `MetaGraphDef` for serving."""
    serving = [
        meta
        for meta in message.messages(2, "graph")
        if "serve" in meta.message(1, "meta information").texts(4)
    ]
    if len(serving) != 1:
        raise KerasFileError(
            f"{message.where}: has {len(serving)} graphs tagged 'serve'; expected 1"
        )
    return serving[0]


def _keras2_weights(told: Keras2Metadata, graph: ObjectGraph) -> dict[str, int]:
    found = {}
    for name in told.network.weight_shapes():
        layer, _, kind = name.rpartition("/")
        node = graph.child(0, *told.paths.get(layer, ("",)), kind)
        if node is None or graph.nodes[node].key is None:
            raise KerasFileError(f"{graph.where}: has no variable {name}")
        found[name] = node
    return found


def _latest(folder: Path) -> Path:
    """The prefix that the file `checkpoint` names, or the only one in the folder."""
    state = folder / "checkpoint"
    if os.path.lexists(state):
        text = read_whole(folder, state, _LARGEST_STATE)
        found: list[bytes] = _LATEST.findall(text)
        if len(found) != 1 or found[0] in (b".", b".."):
            raise KerasFileError(
                f"{state}: names no checkpoint of this folder; expected one line "
                'model_checkpoint_path: "PREFIX", without a path'
            )
        try:
            return folder / found[0].decode()
        except UnicodeDecodeError as error:
            raise KerasFileError(f"{state}: is no UTF-8 text") from error
    indices = sorted(path.name for path in folder.iterdir() if path.name.endswith(".index"))
    if len(indices) != 1:
        raise KerasFileError(
            f"{folder}: holds {len(indices)} checkpoints (PREFIX.index) and no file 'checkpoint' "
            "that names the latest; expected one, or the prefix itself"
        )
    return folder / indices[0]
