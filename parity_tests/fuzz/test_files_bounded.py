"""Work and memory are bounded by a file's size, and what is no model is refused in one line."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parity_tests.files.hdf5.hdf5_writer import (
    FLOAT,
    TEXTS,
    Writer,
    attribute,
    fixed,
    heap,
    message,
    text,
)
from parity_tests.files.tensorflow.bundle_writer import (
    MAGIC,
    encode,
    entries_block,
    object_graph,
    varint,
    write_bundle,
)
from parity_tests.files.tensorflow.test_adam_slots_hostile import Checkpoint
from torch_impl import KerasAdam, save_keras
from torch_impl.__main__ import main
from torch_impl.keras.network import Layer, Network
from torch_impl.keras_files.api import read_keras, read_network
from torch_impl.keras_files.config import network_of
from torch_impl.keras_files.contents import Contents, KerasFileError
from torch_impl.keras_files.hdf5.reader import read_hdf5
from torch_impl.keras_files.ledger import Ledger
from torch_impl.keras_files.tensorflow.crc32c import masked_crc32c
from torch_impl.keras_files.tensorflow.protobuf import Message
from torch_impl.keras_files.writing import write_keras
from torch_impl.model import FraudClassifier

FILE = "hostile\x1b[2J.bin"
SHOWN = "hostile\N{REPLACEMENT CHARACTER}[2J"
"""Its name has a terminal's command in it, which reaches no message."""


def written(folder: Path, content: bytes) -> Path:
    path = folder / FILE
    path.write_bytes(content)
    return path


# The ledger itself.


def test_a_ledger_gives_each_byte_once() -> None:
    """Against a row of flags, one a byte: what is taken is refused, whatever part of it."""
    for seed in range(20):
        draw, size = random.Random(seed), 60
        ledger, taken = Ledger(size, "file"), [False] * size
        for _ in range(60):
            at, count = draw.randrange(-3, size + 3), draw.choice((0, 1, 1, 2, 5, 17, size))
            inside = at >= 0 and at + count <= size
            free = inside and not any(taken[at : at + count])
            if free:
                ledger.claim(at, count, "part")
                taken[at : at + count] = [True] * count
            else:
                why = "stands where something else does" if inside else "expected it within"
                with pytest.raises(KerasFileError, match=why):
                    ledger.claim(at, count, "part")


def test_a_ledger_counts_steps_and_what_is_made() -> None:
    """To the last that it has, and no further."""
    ledger = Ledger(10, "file", 13)
    ledger.step(1)
    ledger.produce(20, "twice the file")
    ledger.claim(0, 0, "nothing")
    ledger.claim(0, 10, "all")
    with pytest.raises(KerasFileError, match=r"^file: has too many parts: more than 13 steps to"):
        ledger.step()
    error = "^file: it of 1 bytes would make more than 2 times the file's 10; expected each byte"
    ledger = Ledger(10, "file")
    ledger.produce(20, "it")
    with pytest.raises(KerasFileError, match=error):
        ledger.produce(1, "it")


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


def legacy(file: Writer, more: dict[str, int]) -> bytes:
    """A legacy model of one layer, and more."""
    held = file.group({"d": kernel_of(file)}, attribute("layer_names", fixed(1), [1], b"d"))
    row = {"name": "d", "units": 1, "use_bias": False, "batch_input_shape": [None, 2]}
    config = {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": row}]}
    training = {"optimizer_config": {"class_name": "Adam", "config": {}}}
    root = file.group(
        {"model_weights": held, **more},
        text("model_config", json.dumps(config)),
        text("training_config", json.dumps(training)),
    )
    return file.finished(root)


def kernel_of(file: Writer) -> int:
    kernel = file.dataset((2, 1), struct.pack("<2f", 1, 2))
    return file.group({"kernel": kernel}, attribute("weight_names", fixed(6), [1], b"kernel"))


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


# Files of nothing that is a model.


def kernels(*shapes: tuple[int, ...], datatype: bytes = FLOAT) -> Callable[[], bytes]:
    def made() -> bytes:
        file = Writer()
        return file.finished(file.group({"layers": file.dense(*shapes, datatype=datatype)}))

    return made


def with_float(*changes: tuple[int, int]) -> Callable[[], bytes]:
    """A kernel of a float type that differs from float32 in some bytes."""
    datatype = bytearray(FLOAT)
    for at, value in changes:
        datatype[at] = value
    return kernels((2, 1), datatype=bytes(datatype))


def one_heap_of_names() -> bytes:
    """Two groups whose names lie in one place."""
    file = Writer()
    at = file.put(b"a\0\0\0\0\0\0\0")
    inner = file.table(file.tree(), file.names(8, at))
    node = file.put(b"SNOD\1\0\1\0" + struct.pack("<QQII16x", 0, inner, 0, 0))
    return file.finished(file.table(file.tree(node), file.names(8, at)))


def names_in_one_another() -> bytes:
    """Members called abcdef, bcdef and so on, which are one text."""
    file = Writer()
    names = file.names(8, file.put(b"abcdef\0\0"))
    inner = [file.group({}) for _ in range(6)]
    entries = (struct.pack("<QQII16x", i, at, 0, 0) for i, at in enumerate(inner))
    node = file.put(b"SNOD\1\0\6\0" + b"".join(entries))
    return file.finished(file.table(file.tree(node), names))


def one_object_twice() -> bytes:
    file = Writer()
    layer = file.group({})
    return file.finished(file.group({"layers": file.group({"dense": layer, "dense_1": layer})}))


def many_messages() -> bytes:
    file = Writer()
    return file.finished(file.group({"layers": file.dense((2, 1))}, bytes(8 * 200_000)))


def long_number() -> bytes:
    file = Writer()
    layers = file.group({"dense_" + "9" * 5000: file.group({})})
    return file.finished(file.group({"layers": layers}))


def many_named_layers() -> bytes:
    """A legacy file of weights with more layers than are built."""
    file = Writer()
    names = ["d", *(f"dropout_{i}" for i in range(2000))]
    none = attribute("weight_names", FLOAT, [0], b"")
    members = {name: file.group({}, none) for name in names[1:]} | {"d": kernel_of(file)}
    told = b"".join(name.encode().ljust(12, b"\0") for name in names)
    return file.finished(file.group(members, attribute("layer_names", fixed(12), [2001], told)))


def long_header() -> bytes:
    """Whose checksum would take long."""
    file = Writer()
    body = (bytes([0x12]) + struct.pack("<HB", 60_000, 0) + bytes(60_000)) * 80
    return file.finished(file.put(b"OHDR\2\2" + struct.pack("<I", len(body)) + body + bytes(4)))


def keras(
    *layers: dict[str, Any], kind: int = zipfile.ZIP_STORED, compiled: Any = None, **members: bytes
) -> bytes:
    """A `.keras` of one layer of two weights, or of these."""
    rows = layers or ({"class_name": "Dense", "config": DENSE},)
    config = {"class_name": "Sequential", "config": {"layers": rows}, "compile_config": compiled}
    file, weights = io.BytesIO(), Writer()
    kernel = weights.dataset((2, 1), struct.pack("<2f", 1, 2))
    slots = [
        weights.dataset((), struct.pack("<q", 3), bytes([0x10, 8, 0, 0, 8, 0, 0, 0, 0, 0, 64, 0])),
        weights.dataset((), struct.pack("<f", 0.5)),
        *(weights.dataset((2, 1), bytes(8)) for _ in range(2)),
    ]
    values = weights.group({str(i): slot for i, slot in enumerate(slots)})
    root = weights.group({
        "layers": weights.group({"dense": weights.group({"vars": weights.group({"0": kernel})})}),
        "optimizer": weights.group({"vars": values}),
    })  # fmt: skip
    with zipfile.ZipFile(file, "w", kind) as archive:
        archive.writestr("metadata.json", members.pop("metadata", b"{}"))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.finished(root))
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


DENSE = {"name": "d", "units": 1, "use_bias": False, "batch_input_shape": [None, 2]}


def compiled(**numbers: Any) -> Callable[[], bytes]:
    return lambda: keras(compiled={"optimizer": {"class_name": "Adam", "config": numbers}})


def one_member_in_another() -> bytes:
    """The weights' member is where the config's is."""
    content = keras()
    at, other = (
        struct.unpack_from("<I", content, content.rindex(name) - 4)[0]
        for name in (b"model.weights.h5", b"config.json")
    )
    places = content.rindex(b"model.weights.h5") - 4
    assert at != other
    return content[:places] + struct.pack("<I", other) + content[places + 4 :]


def safetensors(dtype: str, *shape: int, size: int) -> Callable[[], bytes]:
    place = {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}
    header = json.dumps({"d/kernel": place}).encode()
    return lambda: struct.pack("<Q", len(header)) + header + bytes(size)


NO_CHAIN = "are no chain of Dense layers$"
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "kernels-that-do-not-chain": (kernels((4, 3), (2, 1)), NO_CHAIN),
    "a-kernel-without-axes": (kernels(()), NO_CHAIN),
    "a-kernel-of-one-axis": (kernels((4,), (3, 1)), NO_CHAIN),
    "a-kernel-of-three-axes": (kernels((4, 3, 2), (3, 1)), r"has shape \(4, 3, 2\); expected one"),
    "no-inputs": (kernels((0, 3), (3, 1)), r"has shape \(0, 3\); expected one or two axes, none"),
    "no-units-within": (kernels((4, 0), (0, 1)), r"has shape \(4, 0\); expected one or two axes"),
    "no-units": (kernels((4, 3), (3, 0)), r"has shape \(3, 0\); expected one or two axes"),
    "an-axis-too-long": (kernels((0, 2**63)), "has an axis that no memory holds$"),
    "an-axis-before-none": (kernels((2**63, 0)), "has an axis that no memory holds$"),
    "axes-too-long-together": (kernels((2**32, 2**32, 0)), "has an axis that no memory holds$"),
    "a-float-without-its-leading-bit": (with_float((1, 0x00)), "HDF5 dataset of HDF5 class 1"),
    "a-float-with-its-leading-bit-set": (with_float((1, 0x10)), "HDF5 dataset of HDF5 class 1"),
    "a-float-of-the-vax": (with_float((1, 0x61)), "HDF5 dataset of HDF5 class 1"),
    "a-float-with-its-sign-elsewhere": (with_float((2, 0)), "HDF5 dataset of HDF5 class 1"),
    "a-float-of-another-bias": (with_float((16, 126)), "HDF5 dataset of HDF5 class 1"),
    "a-float-of-another-exponent": (with_float((12, 22)), "HDF5 dataset of HDF5 class 1"),
    "one-heap-of-names": (one_heap_of_names, "stands where something else does"),
    "names-in-one-another": (names_in_one_another, "a name outside the HDF5 heap, or one"),
    "one-object-twice": (one_object_twice, "stands where something else does"),
    "many-messages": (many_messages, "has too many parts"),
    "a-long-header": (long_header, "has too many parts"),
    "a-layer-of-a-long-number": (long_number, "holds a layer 'dense_999"),
    "many-layers": (
        lambda: keras(*[{"class_name": "Dropout", "config": {"name": "x"}}] * 2001),
        "2001 layers; at most 2000 are read$",
    ),
    "many-named-layers": (
        many_named_layers, "2001 layers; at most 2000 are read$",
    ),
    "many-members": (
        lambda: keras(**{f"assets/{i}": b"" for i in range(6000)}), "damaged zip .a directory of",
    ),
    "one-member-in-another": (one_member_in_another, "stands where something else does"),
    "a-member-that-grows": (
        lambda: keras(metadata=b" " * ((16 << 20) + 1), kind=zipfile.ZIP_DEFLATED),
        "would unpack to 16777217 bytes",
    ),
    "members-that-grow-together": (
        lambda: keras({"class_name": " " * (1 << 19)}, metadata=b" " * ((16 << 20) - (1 << 18)),
                      kind=zipfile.ZIP_DEFLATED),
        "metadata.json: would unpack to ",
    ),
    "a-decay-of-1": (compiled(beta_1=1), "Adam has beta_1=1$"),
    "a-decay-of-many-digits": (compiled(beta_2=10**400), "Adam has beta_2=1000"),
    "a-rate-below-0": (compiled(learning_rate=-1), "Adam has learning_rate=-1$"),
    "an-epsilon-of-nothing": (compiled(epsilon=float("nan")), "Adam has epsilon=nan$"),
    "numbers-of-8-bits": (safetensors("F8_E4M3", 2, 1, size=2), "float8_e4m3fn; expected one"),
    "200-axes": (safetensors("F32", *[1] * 200, size=4), r"d/kernel has shape \(1, 1, "),
    "an-axis-too-long-for-torch": (safetensors("F32", 0, 2**63, size=0), "damaged safetensors"),
    "a-long-header-of-safetensors": (
        lambda: struct.pack("<Q", (1 << 20) + 1) + b"{}".ljust((1 << 20) + 1),
        "a header of 1048577 bytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_model_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    """With the path, and without any character that steers a terminal."""
    make, match = HOSTILE[case]
    path = written(tmp_path, make())
    with pytest.raises(KerasFileError, match=match) as caught:
        read_network(path, None, 0.5)
    assert type(caught.value) is KerasFileError
    assert SHOWN in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("count", [2**60, 2**22])
@pytest.mark.parametrize("datatype", [fixed(0), TEXTS[:4] + bytes(4) + TEXTS[8:]], ids=["s", "t"])
def test_texts_of_no_size_are_no_texts(datatype: bytes, count: int, tmp_path: Path) -> None:
    """However many there are; the weights are read."""
    file = Writer()
    names = attribute("x", datatype, [count], bytes(16))
    content = file.finished(file.group({"layers": file.dense((2, 1))}, names))
    assert read_hdf5(content, "file").attrs == {"x": None}
    found = read_keras(written(tmp_path, content))
    assert found.weights["dense/kernel"].tolist() == [[1], [1]]


def test_what_stands_near_the_bounds_is_read(tmp_path: Path) -> None:
    """The twins of what is refused: three names, two layers, an archive that was packed anew."""
    path = written(tmp_path, kernels((4, 3), (3, 1))())
    assert [tuple(t.shape) for t in read_network(path, None, 0.5).weights.values()] == [
        (4, 3), (3, 1),
    ]  # fmt: skip
    for kind in zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED:
        found = read_keras(written(tmp_path, keras(kind=kind, compiled={
            "optimizer": {"class_name": "Adam", "config": {"beta_1": 0.999999}},
        })))  # fmt: skip
        assert found.optimizer is not None
        assert (found.optimizer.beta_1, found.optimizer.learning_rate) == (0.999999, 0.5)
    file = Writer()
    assert read_keras(written(tmp_path, legacy(file, {}))).network == Network(
        2, (Layer("Dense", "d", 1, use_bias=False),)
    )


@pytest.mark.parametrize(
    ("node", "value", "match"),
    [
        (9, float("nan"), "Adam has learning_rate=nan"),
        (9, -1.0, "Adam has learning_rate=-1.0"),
        (10, 1.0, "Adam has beta_1=1.0"),
        (11, float("inf"), "Adam has beta_2=inf"),
    ],
)
def test_adams_numbers_in_a_checkpoint_are_adams(
    node: int, value: float, match: str, tmp_path: Path
) -> None:
    """Which is refused where it is read, whoever would use it."""
    checkpoint = Checkpoint("legacy")
    checkpoint.values[node] = np.float32(value)
    with contextlib.suppress(KerasFileError):  # it is written before
        checkpoint.read(tmp_path)
    with pytest.raises(KerasFileError, match=match):
        read_keras(tmp_path / "x")


@pytest.mark.parametrize("name", ["beta_1", "beta_2", "epsilon"])
@pytest.mark.parametrize("value", [10**400, float("nan"), -1, float("inf"), True])
def test_adams_numbers_in_keras_2s_metadata_are_adams(
    name: str, value: float, tmp_path: Path
) -> None:
    """As JSON says them."""
    with pytest.raises(KerasFileError, match=f"x: .*: Adam has {name}={str(value)[:40]}"):
        Checkpoint("keras-2").read(tmp_path, {"beta_1": 0.5, name: value})


def test_an_optimizer_without_its_counter_is_told(tmp_path: Path) -> None:
    """Keras 3 calls it _iterations and Keras 2 iter; one of both kinds is no Adam that is known."""
    checkpoint = Checkpoint("keras-3")
    held = checkpoint.children[7]
    held["iter"] = held.pop("_iterations")
    held["learning_rate"] = held.pop("_learning_rate")
    with pytest.raises(KerasFileError, match="belongs to no weight"):
        checkpoint.read(tmp_path)


# What a file says reaches a terminal as text.

STEERING = "d\x1b]0;title\x07\x1b[2J\x9b31m\u202e"


@pytest.fixture
def said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs `convert`: its status and all that it printed."""
    monkeypatch.chdir(tmp_path)

    def run(contents: Contents, source: str, target: str) -> tuple[int, str]:
        write_keras(contents, source)
        status = main(["convert", source, target])
        return status, "".join(capsys.readouterr())

    return run


def named(name: str, notes: tuple[str, ...] = ()) -> Contents:
    network = Network(2, (Layer("Dense", name, 1, use_bias=False),))
    return Contents({f"{name}/kernel": torch.ones(2, 1)}, network, notes=notes)


@pytest.mark.parametrize("ending", [".safetensors", ".keras", ".h5", ".weights.h5"])
def test_a_name_that_would_steer_a_terminal_is_shown_and_kept(
    ending: str, said: Callable[..., tuple[int, str]]
) -> None:
    """Every character that is none stands as one of replacement; the file has it as it was."""
    status, shown = said(named(STEERING), "in.safetensors", f"out{ending}")
    assert status == 0
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "d\N{REPLACEMENT CHARACTER}]0;title" in shown
    assert list(read_keras(f"out{ending}").weights) == [f"{STEERING}/kernel"]


def test_whatever_convert_tells_of_a_file_is_printable(tmp_path: Path) -> None:
    """Version, optimizer, policy, names: from a `.keras` as others may write it."""
    row = {**DENSE, "name": STEERING, "dtype": {"config": {"name": STEERING}}}
    path = tmp_path / "in.keras"
    path.write_bytes(keras(
        {"class_name": "Dense", "config": row},
        metadata=json.dumps({"keras_version": STEERING + "\ud800"}).encode(),
        compiled={"optimizer": {"class_name": STEERING, "config": {}}},
    ))  # fmt: skip
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        assert main(["convert", str(path), str(tmp_path / "out.safetensors")]) == 0
    for told in ("written by Keras d", "its optimizer is d", "with the policy d"):
        assert told in " ".join(shown.getvalue().split())
    assert all(c.isprintable() or c == "\n" for c in shown.getvalue())


@pytest.mark.parametrize(
    ("name", "ending", "why"),
    [
        ("a\0b", ".keras", "the layer 'a\\x00b' cannot be written: HDF5's texts end at a NUL"),
        ("a\0b", ".h5", "the layer 'a\\x00b' cannot be written: HDF5's texts end at a NUL"),
        ("a\0b", ".weights.h5", "the layer 'a\\x00b' cannot be written: HDF5's texts end at a NUL"),
        (".", ".h5", "the layer '.' cannot be written: an HDF5 group has another member of that"),
        ("top_level_model_weights", ".h5", "cannot be written: an HDF5 group has another member"),
        ("\ud800", ".safetensors", "the layer '\\ud800' cannot be written: it is no text in UTF-8"),
    ],
    ids=["nul-keras", "nul-h5", "nul-weights", "dot", "top-level", "surrogate"],
)
def test_a_name_that_a_format_cannot_hold_is_told(
    name: str, ending: str, why: str, tmp_path: Path
) -> None:
    """By the layer's name, with the path, and no file is left."""
    path = tmp_path / f"out{ending}"
    with pytest.raises(KerasFileError) as caught:
        write_keras(named(name), path)
    assert str(caught.value).startswith(f"{path}: ")
    assert why in str(caught.value)
    assert not path.exists()


def test_what_h5py_refuses_is_told_with_the_path(tmp_path: Path) -> None:
    """Two layers of one name, which no file has."""
    network = Network(2, (Layer("Dropout", "d"), Layer("Dense", "d", 1, use_bias=False)))
    contents = Contents({"d/kernel": torch.ones(2, 1)}, network)
    with pytest.raises(KerasFileError, match=rf"{tmp_path}/out.h5: cannot be written \(.*exists"):
        write_keras(contents, tmp_path / "out.h5")
