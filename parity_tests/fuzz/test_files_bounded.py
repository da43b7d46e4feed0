"""Work and memory are bounded by a file's size."""

from __future__ import annotations

import json
import random
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity_tests.files.hdf5.hdf5_writer import TEXTS, Writer, attribute, fixed, heap, message
from parity_tests.files.tensorflow.bundle_writer import (
    MAGIC,
    encode,
    entries_block,
    object_graph,
    varint,
    write_bundle,
)
from parity_tests.fuzz.hostile_file import SHOWN, legacy, written
from torch_impl import KerasAdam, save_keras
from torch_impl.keras_files.api import read_keras
from torch_impl.keras_files.config import network_of
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.tensorflow.crc32c import masked_crc32c
from torch_impl.keras_files.tensorflow.protobuf import Message
from torch_impl.model import FraudClassifier


# Files that would make much of little.
def shared_texts(draw: random.Random, n: int) -> bytes:
    """Many references to one long text."""
    file = Writer()
    at = file.put(heap({1: b"a" * 20_000}))
    names = attribute("x", TEXTS, [n], struct.pack("<IQI", 20_000, at, 1) * n)
    return file.finished(file.group({"layers": file.dense((2, 1))}, names))


def walked_heap(draw: random.Random, n: int) -> bytes:
    """Many references to the last of many texts."""
    file = Writer()
    at = file.put(heap({i + 1: b"" for i in range(n)} | {n + 1: b"a"}))
    names = attribute("x", TEXTS, [n], struct.pack("<IQI", 1, at, n + 1) * n)
    return file.finished(file.group({"layers": file.dense((2, 1))}, names))


def heap_of_many(draw: random.Random, n: int) -> bytes:
    """Each text of a long heap once: nothing is wrong with it."""
    file = Writer()
    at = file.put(heap({i + 1: b"a" for i in range(n)}))
    order = draw.sample(range(1, n + 1), n)
    names = attribute("x", TEXTS, [n], b"".join(struct.pack("<IQI", 1, at, i) for i in order))
    return file.finished(file.group({"layers": file.dense((2, 1))}, names))


def nodes_within_nodes(draw: random.Random, n: int) -> bytes:
    """Nodes of a group's tree whose entries hold the next node's beginning."""
    file = Writer()
    names = file.names(8 * n, file.put(b"x\0" + bytes(8 * n - 2)))
    node = b"SNOD\1\0" + struct.pack("<H", n)
    at = file.put(node + (struct.pack("<QQII", 1, 0, 0, 0) + bytes(8) + node) * 2 * n)
    tree = file.tree(*(at + 40 * i for i in range(n)))
    return file.finished(file.table(tree, names))


def headers_continued_alike(draw: random.Random, n: int) -> bytes:
    """Continuations of an object header that are all the same block."""
    file = Writer()
    at = file.put(bytes(8 * n))
    more = message(0x10, struct.pack("<QQ", at, 8 * n)) * n
    return file.finished(file.group({"layers": file.dense((2, 1))}, more))


def shared_numbers(draw: random.Random, n: int) -> bytes:
    """Datasets that are all of the same bytes."""
    file = Writer()
    at = file.put(bytes(40_000))
    layers = {}
    for i in range(n):
        kernel = file.dataset((100, 100), bytes(40_000), at=at)
        layers[f"dense_{i}"] = file.group({"vars": file.group({"0": kernel})})
    return file.finished(file.group({"layers": file.group(layers)}))


def one_dataset_of_many_names(draw: random.Random, n: int) -> bytes:
    """An optimizer's variables that are one dataset."""
    file = Writer()
    slots = file.group(
        {"a": file.dataset((10_000,), bytes(40_000))},
        attribute("weight_names", fixed(1), [n], b"a" * n),
    )
    return legacy(file, {"optimizer_weights": slots})


def one_layer_of_many_names(draw: random.Random, n: int) -> bytes:
    """Layers that are one, which has many weights of no account."""
    file = Writer()
    held = file.group({}, attribute("weight_names", fixed(14), [n], b"seed_generator" * n))
    names = attribute("layer_names", fixed(1), [n], b"x" * n)
    return file.finished(file.group({"x": held}, names))


def blocks_of_one_place(draw: random.Random, n: int) -> bytes:
    """An index whose blocks are all the same one."""
    block = struct.pack("<I", n).rjust(4 * n + 4, b"\0")
    out, handles = b"", []
    index = [(b"%05d" % i, varint(0) + varint(len(block))) for i in range(n)]
    for body in block, entries_block([]), entries_block(index):
        handles += [len(out), len(body)]
        out += body + b"\0" + struct.pack("<I", masked_crc32c(body + b"\0"))
    return out + b"".join(map(varint, handles[2:])).ljust(40, b"\0") + MAGIC


def layers_of_one_tensor(draw: random.Random, n: int) -> tuple[dict[str, Any], bytes]:
    """A checkpoint whose layers all have the same kernel."""
    nodes: list[tuple[dict[str, int], str]] = [({f"layer-{i}": 2 * i + 1 for i in range(n)}, "")]
    for i in range(n):
        nodes += [({"kernel": 2 * i + 2}, ""), ({}, f"d{i}/kernel")]
    rows = object_graph(nodes)
    for i in range(n):  # another name, and the one key
        key = encode([(2, 2, b"d%d/kernel" % i), (3, 2, b"d%d/kernel" % i)])
        alike = encode(
            [(2, 2, b"d%d/kernel" % i), (3, 2, b"k".ljust(len(b"d%d/kernel" % i), b"_"))]
        )
        rows = rows.replace(key, alike)
    keys = {len(f"d{i}/kernel") for i in range(n)}
    zeros = np.zeros((100, 100), np.float32).tobytes()
    return {"k".ljust(size, "_"): (1, (100, 100), zeros) for size in keys}, rows


def tensors_of_nothing(draw: random.Random, n: int) -> bytes:
    """Many names of tensors that have no bytes."""
    place = {"dtype": "F32", "shape": [0, 1], "data_offsets": [0, 0]}
    header = json.dumps({f"d{i}/kernel": place for i in range(n)}).encode()
    return struct.pack("<Q", len(header)) + header


FILES: dict[str, Callable[[random.Random, int], bytes]] = {
    "shared-texts": shared_texts,
    "walked-heap": walked_heap,
    "heap-of-many": heap_of_many,
    "nodes-within-nodes": nodes_within_nodes,
    "headers-continued-alike": headers_continued_alike,
    "shared-numbers": shared_numbers,
    "one-dataset-of-many-names": one_dataset_of_many_names,
    "one-layer-of-many-names": one_layer_of_many_names,
    "tensors-of-nothing": tensors_of_nothing,
}


def outcome(read: Callable[[], object]) -> tuple[str, int, int]:
    """What came, how many calls it took, and how much memory at most."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    tracemalloc.start()
    sys.setprofile(count)
    try:
        read()
        came = ""
    except KerasFileError as error:
        came = str(error)
    finally:
        sys.setprofile(None)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return came, calls, peak


def check(read: Callable[[], object], size: int, shown: str) -> str:
    """A few calls and a few bytes of memory for each of the file, and one line at the end."""
    came, calls, peak = outcome(read)
    assert calls <= 20_000 + 6 * size, f"{calls} calls for {size} bytes: {came}"
    assert peak <= (2 << 20) + 20 * size, f"{peak} bytes of memory for {size}: {came}"
    if came:
        assert shown in came
        assert came.isprintable()
        assert len(came) < 1500
    return came


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is imported or computed once is no file's work."""
    folder = tmp_path_factory.mktemp("warm")
    for ending in (".keras", ".h5", ".weights.h5", ".safetensors"):
        model = FraudClassifier(3, seed=1)
        save_keras(model, folder / f"m{ending}", KerasAdam(model.parameters()))
        read_keras(folder / f"m{ending}")
    masked_crc32c(bytes(1 << 17))
    with pytest.raises(KerasFileError):
        read_keras(written(folder, shared_texts(random.Random(0), 3)))


@pytest.mark.parametrize("kind", FILES)
def test_work_and_memory_grow_with_a_files_size_alone(kind: str, tmp_path: Path) -> None:
    """However its parts refer to one another."""
    for seed in range(2):
        draw = random.Random(f"{kind} {seed}")
        content = FILES[kind](draw, draw.randrange(700, 900))
        path = written(tmp_path, content)
        check(lambda path=path: read_keras(path), len(content), SHOWN)  # type: ignore[misc]


def test_work_on_an_index_grows_with_its_size_alone(tmp_path: Path) -> None:
    """However often it names one block, which is summed up once."""
    content = blocks_of_one_place(random.Random(1), 900)
    (tmp_path / "x.index").write_bytes(content)
    came = check(lambda: read_keras(tmp_path / "x"), len(content), "x.index")
    assert f"a block at byte 0 of {4 * 901 + 5} bytes stands where something else does" in came


def test_work_on_a_checkpoint_grows_with_its_size_alone(tmp_path: Path) -> None:
    """However many of its layers have one tensor."""
    tensors, graph = layers_of_one_tensor(random.Random(1), 400)
    write_bundle(tmp_path / "x", tensors, graph)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    check(lambda: read_keras(tmp_path / "x"), size, "x.data-00000-of-00001")


def test_a_text_in_a_message_is_decoded_a_few_times_at_most() -> None:
    """A graph's walk comes to a node again and again."""
    held = Message(encode([(1, 2, b"x" * (1 << 20))]), "file")
    for _ in range(29):
        held.text(1)
    with pytest.raises(KerasFileError, match=r"^file: has too many parts"):
        held.text(1)


def test_of_many_notes_a_hundred_are_told() -> None:
    """And how many more there are."""
    row = {"units": 1, "kernel_regularizer": 1, "bias_regularizer": 1}
    rows = [{"class_name": "Dense", "config": {**row, "name": f"d{i}"}} for i in range(100)]
    config = {"layers": rows, "build_input_shape": [None, 1]}
    notes = network_of({"class_name": "Sequential", "config": config}, "file")[1]
    assert len(notes) == 101
    assert notes[99:] == ("the bias_regularizer of 'd49' is left out", "and 100 more of the kind")
