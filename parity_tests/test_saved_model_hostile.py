"""A damaged or hostile SavedModel or checkpoint is refused with one KerasFileError."""

from __future__ import annotations

import os
import shutil
import struct
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from parity_tests.bundle_writer import (
    MAGIC,
    Field,
    decode,
    encode,
    object_graph,
    repacked,
    table,
    varint,
    write_bundle,
)
from parity_tests.test_saved_model import KERAS_2
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.saved_model import read_checkpoint, read_saved_model
from torch_impl.keras_files.tensor_bundle import TensorBundle

SECONDS, MEBIBYTES = 1.0, 96
"""What refusing one file may take at most, the fields of a 16 MiB file among them."""


def refused(read: Callable[[], object], match: str) -> None:
    """Refused for this reason, within a second and without using much memory."""
    start = time.perf_counter()
    with pytest.raises(KerasFileError, match=match) as caught:
        read()
    seconds = time.perf_counter() - start
    assert type(caught.value) is KerasFileError
    assert len(str(caught.value)) < 1200
    assert seconds < SECONDS
    tracemalloc.start()
    with pytest.raises(KerasFileError):
        read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEBIBYTES << 20, peak


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A good checkpoint of Keras 2, to be made bad."""
    for path in KERAS_2.glob("trained.*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "trained"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good SavedModel of Keras 2, to be made bad."""
    return Path(shutil.copytree(KERAS_2 / "functional", tmp_path / "functional"))


def index_of(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def data_of(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".data-00000-of-00001")


def test_the_files_to_be_damaged_are_good(prefix: Path, folder: Path) -> None:
    """The twin of all that follows."""
    assert read_checkpoint(prefix).optimizer is not None
    assert read_saved_model(folder).optimizer is not None


def places(prefix: Path) -> dict[Path, list[int]]:
    """Every byte of the index; of the data each tensor's ends and every seventh byte."""
    data = {
        place
        for entry in TensorBundle(prefix).entries.values()
        for place in (entry.offset, entry.offset + entry.size - 1)
    }
    data |= set(range(0, data_of(prefix).stat().st_size, 7))
    index = range(index_of(prefix).stat().st_size)
    return {index_of(prefix): list(index), data_of(prefix): sorted(data)}


@pytest.mark.parametrize("file", [index_of, data_of], ids=["index", "data"])
def test_a_truncated_file_is_refused_wherever_it_ends(
    file: Callable[[Path], Path], prefix: Path
) -> None:
    """Of any shorter length, none too."""
    content = file(prefix).read_bytes()
    for length in places(prefix)[file(prefix)]:
        file(prefix).write_bytes(content[:length])
        with pytest.raises(KerasFileError):
            read_checkpoint(prefix)


@pytest.mark.parametrize("file", [index_of, data_of], ids=["index", "data"])
def test_a_flipped_bit_is_refused_wherever_it_is(
    file: Callable[[Path], Path], prefix: Path
) -> None:
    """Blocks, trailers, addresses, padding and magic of the index; every tensor of the data."""
    content = file(prefix).read_bytes()
    for position in places(prefix)[file(prefix)]:
        changed = bytearray(content)
        changed[position] ^= 1 << position * 5 % 8
        file(prefix).write_bytes(changed)
        with pytest.raises(KerasFileError):
            read_checkpoint(prefix)


KERNEL = b"model/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE"


def lie(number: int, kind: int, value: int | bytes) -> Callable[[dict[bytes, bytes]], None]:
    """Changes one field of a kernel's `BundleEntryProto`."""

    def change(entries: dict[bytes, bytes]) -> None:
        fields = decode(entries[KERNEL])
        assert fields is not None
        kept = [field for field in fields if field[0] != number]
        entries[KERNEL] = encode([*kept, (number, kind, value)])

    return change


def shape(*sizes: int) -> bytes:
    return encode([(2, 2, encode([(1, 0, size)])) for size in sizes])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lie(1, 0, 2), "has 60 bytes; expected 120 for torch.float64"),
        (lie(1, 0, 8), "dtype 8; expected one of"),
        (lie(1, 0, 7), "is no kernel|strings|expected one string|holds strings"),
        (lie(1, 2, b"x"), "field 1 is bytes; expected a varint"),
        (lie(2, 2, shape(5, 4)), r"has 60 bytes; expected 80 for torch.float32 of shape \(5, 4\)"),
        (lie(2, 2, shape(3, 5)), r"has shape \(3,\); expected \(5,\)"),
        (lie(2, 2, shape(-5, -3)), "dimension 0: is -5"),
        (lie(2, 2, shape(1 << 62, 4)), "dimension 0: is 4611686018427387904"),
        (lie(2, 2, shape(*[1 << 30] * 8)), "expected 7067388259113537318333190002971674063"),
        (lie(2, 2, shape(*[1] * 20)), "at most 8 of them"),
        (lie(2, 2, encode([(3, 0, 1)])), "shape: is unknown"),
        (lie(3, 0, 1), "data file 1 of 1"),
        (lie(3, 0, -1), "data file -1 of 1"),
        (lie(4, 0, 1 << 40), "60 bytes from byte 1099511627776 on do not fit"),
        (lie(4, 0, -4), "60 bytes from byte -4 on do not fit"),
        (lie(5, 0, 64), "has 64 bytes; expected 60"),
        (lie(5, 0, -60), "has -60 bytes; expected 60"),
        (lie(6, 5, 1), "checksum of .*kernel.* is [0-9a-f]{8}; expected 00000001"),
        (lie(7, 2, b""), "in slices"),
        (lambda entries: entries.update({KERNEL: b"\x0b"}), "wire type 3"),
        (lambda entries: entries.update({KERNEL: b"\x08" + b"\xff" * 10}), "varint at byte 1"),
        (lambda entries: entries.update({KERNEL: b"\x0a\xff\xff\xff\x7f"}), "bytes long; 0 are"),
        (lambda entries: entries.pop(KERNEL), "its tensor .* is not in the checkpoint"),
        (lambda entries: entries.pop(b""), "has no header"),
        (lambda entries: entries.update({b"": encode([(1, 0, 10**6)])}), "1000000 data files"),
        (lambda entries: entries.update({b"": encode([(1, 0, 1), (2, 0, 1)])}), "endianness 1"),
        (lambda entries: entries.update({b"\xff": b""}), "is no UTF-8"),
        (lambda entries: entries.pop(b"_CHECKPOINTABLE_OBJECT_GRAPH"), "has no _CHECKPOINTABLE"),
    ],
)
def test_a_lie_in_an_index_with_right_checksums_is_refused(
    change: Callable[[dict[bytes, bytes]], None], match: str, prefix: Path
) -> None:
    """Dtype, shape, shard, offset, size, checksum and the entry's own form."""
    index = index_of(prefix)
    index.write_bytes(repacked(index.read_bytes(), change))
    refused(lambda: read_checkpoint(prefix), match)


def sealed(*rows: bytes, restarts: int = 1) -> bytes:
    """A table whose one block is these rows of bytes, its checksum right."""
    return table({}, block=b"".join(rows) + struct.pack("<II", 0, restarts))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        pytest.param(
            table({b"": encode([(1, 0, 1)])}, kind=1), "is compressed .Snappy.", id="snappy"
        ),
        pytest.param(
            table({b"": encode([(1, 0, 1)])}, kind=7),
            "is compressed .method 7.",
            id="unknown-compression",
        ),
        pytest.param(table({b"k" * 1025: b""}), "0 bytes of key shared, 1025 new", id="long-key"),
        pytest.param(table({b"b": b"", b"a": b""}), "the key 'a' is out of order", id="disorder"),
        pytest.param(bytes(40) + MAGIC, "do not fit|has 0 bytes|checksum", id="zero-footer"),
        pytest.param(b"\xff" * 40 + MAGIC, "varint at byte 0", id="footer-varints"),
        pytest.param(
            (varint(1 << 63) * 4).ljust(40, b"\0") + MAGIC,
            "do not fit into the file's 48",
            id="footer-handles",
        ),
        pytest.param(b"junk" + table({b"": b""}), "checksum", id="junk-in-front"),
        pytest.param(table({b"": b""}, gap=b"junk"), "its blocks end at byte", id="junk-between"),
        pytest.param(sealed(restarts=1 << 30), "restart points do not fit", id="restarts"),
        pytest.param(sealed(b"\x05\x01\x00k"), "5 bytes of key shared", id="shared-prefix"),
        pytest.param(
            sealed(b"\x00\x01\xff\xff\xff\xff\x0fk"), "4294967295 of value", id="value-length"
        ),
        pytest.param(
            sealed(b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00k"), "64 bits", id="key-varint"
        ),
        pytest.param(sealed(b"\x00\x81"), "varint at byte 1", id="cut-varint"),
        pytest.param(table({}, block=b"\0"), "has 1 bytes; expected 4 or more", id="short-block"),
        pytest.param(b"", "does not end like an index", id="empty"),
        pytest.param(b"\0" * 100, "does not end like an index", id="zeros"),
        pytest.param(
            bytes((16 << 20) + 1), "has 16777217 bytes; expected at most 16777216", id="too-large"
        ),
        pytest.param(
            table({f"{i:05d}".encode(): b"" for i in range(10_001)}),
            "more than 10000 entries",
            id="too-many",
        ),
    ],
)
def test_a_table_that_tensorflow_does_not_write_is_refused(
    content: bytes, match: str, prefix: Path
) -> None:
    """Compressed, disordered, endless or no table at all."""
    index_of(prefix).write_bytes(content)
    refused(lambda: read_checkpoint(prefix), match)


MODEL: Sequence[tuple[dict[str, int], str]] = [
    ({"model": 1}, ""),
    ({"layer-0": 2, "layer-1": 3}, ""),
    ({"kernel": 4, "bias": 5}, ""),
    ({"kernel": 6}, ""),
    ({}, "dense/kernel"),
    ({}, "dense/bias"),
    ({}, "dense_1/kernel"),
]
SIZES = {"dense/kernel": (2, 3), "dense/bias": (3,), "dense_1/kernel": (3, 1)}


def write_model(prefix: Path, nodes: Sequence[tuple[dict[str, int], str]], **sizes: Any) -> Path:
    """A checkpoint of a small model whose object graph is these nodes."""
    rows = {name: (1, size, bytes(4 * _count(size))) for name, size in {**SIZES, **sizes}.items()}
    write_bundle(prefix, rows, object_graph(nodes))
    return prefix


def _count(size: Sequence[int]) -> int:
    count = 1
    for one in size:
        count *= one
    return count


def put(index: int, node: tuple[dict[str, int], str], *more: Any) -> Any:
    """The model with one node replaced, and more behind it."""
    return [*MODEL[:index], node, *MODEL[index + 1 :], *more]


def test_a_checkpoint_made_here_is_read(tmp_path: Path) -> None:
    """The twin: what the next test spoils is good."""
    came = read_checkpoint(write_model(tmp_path / "x", MODEL))
    assert {name: tuple(value.shape) for name, value in came.weights.items()} == SIZES


@pytest.mark.parametrize(
    ("nodes", "sizes", "match"),
    [
        (put(0, ({"model": 7}, "")), {}, "is node 7; expected .* a node below 7"),
        (put(0, ({"model": -1}, "")), {}, "is node -1"),
        (put(0, ({}, "")), {}, "holds 0 Sequential or functional"),
        (put(0, ({"a": 1, "b": 7}, ""), ({"layer-0": 2}, "")), {}, "holds 2 Sequential"),
        (put(3, ({"kernel": 4}, "")), {}, "two layers have a weight dense/kernel"),
        (put(3, ({"kernel": 5}, "")), {}, "its kernel is dense/bias"),
        (put(3, ({"kernel": 2}, "")), {}, "the variable '' is no kernel"),
        (put(3, ({"bias": 5}, "")), {}, "has dense/bias; expected kernel and bias"),
        (put(2, ({"kernel": 6, "bias": 5}, "")), {}, "has dense_1/kernel, dense/bias"),
        (put(3, ({"layer-0": 2}, "")), {}, "layer 1 is a model itself"),
        (put(3, ({"kernel": 6, "gamma": 7}, ""), ({}, "norm/gamma")), {"norm/gamma": (3,)},
         "layer 1 has a variable 'norm/gamma'"),
        (MODEL, {"dense_1/kernel": (4, 1)}, r"has shape \(4, 1\); expected \(3, units\)"),
        (MODEL, {"dense/bias": (4,)}, r"dense/bias has shape \(4,\); expected \(3,\)"),
        (MODEL, {"dense/kernel": (2, 3, 1)}, r"has shape \(2, 3, 1\)"),
        ([], {}, "has no nodes"),
    ],
)  # fmt: skip
def test_an_object_graph_that_is_no_chain_of_dense_layers_is_refused(
    nodes: Any, sizes: dict[str, Any], match: str, tmp_path: Path
) -> None:
    """References out of range, two models, layers that share or lack weights, wrong widths."""
    prefix = write_model(tmp_path / "x", nodes, **sizes)
    refused(lambda: read_checkpoint(prefix), match)


def test_graphs_that_run_in_circles_end(tmp_path: Path) -> None:
    """Keras 2 itself writes a root that holds itself."""
    nodes = put(0, ({"model": 1, "root": 0, "layer": 2}, ""))
    nodes[2] = {"kernel": 4, "bias": 5, "self": 2}, ""
    assert set(read_checkpoint(write_model(tmp_path / "x", nodes)).weights) == set(SIZES)


@pytest.mark.parametrize(
    "graph",
    [
        b"\x08\x00" * (2 << 20),
        encode([(1, 2, b"\x08\x00" * 500_000)]),
        encode([(1, 2, b"")]) * 500_000,
        encode([(1, 2, encode([(1, 2, encode([(1, 0, 0)]))]))]) * 150_000,
    ],
    ids=["fields", "fields-inside", "nodes", "children"],
)
def test_millions_of_fields_are_refused(graph: bytes, tmp_path: Path) -> None:
    """A budget bounds time and memory, whatever the nesting."""
    write_bundle(tmp_path / "x", {}, graph)
    prefix = tmp_path / "x"
    refused(lambda: read_checkpoint(prefix), "more than 50000 protobuf fields")


def test_a_tensor_larger_than_the_limit_is_refused_unread(prefix: Path) -> None:
    """A sparse data file makes it cheap to claim terabytes."""

    def change(entries: dict[bytes, bytes]) -> None:
        lie(2, 2, shape(1 << 30, 1 << 8))(entries)
        lie(5, 0, 1 << 40)(entries)
        lie(4, 0, 0)(entries)

    with data_of(prefix).open("r+b") as stream:
        stream.truncate(1 << 40)
    index_of(prefix).write_bytes(repacked(index_of(prefix).read_bytes(), change))
    refused(lambda: read_checkpoint(prefix), "expected at most 1073741824")


@pytest.mark.parametrize(
    "name",
    [
        "saved_model.pb",
        "keras_metadata.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
    ],
)
def test_a_link_out_of_the_folder_is_not_followed(name: str, folder: Path, tmp_path: Path) -> None:
    """Not even to a file that would be good; a link inside the folder is."""
    inside = folder / "kept"
    (folder / name).rename(inside)
    (folder / name).symlink_to(inside)
    read_saved_model(folder)
    outside = tmp_path / "outside"
    inside.rename(outside)
    (folder / name).unlink()
    (folder / name).symlink_to(outside)
    refused(lambda: read_saved_model(folder), "is a link out of")


def test_a_folder_of_variables_elsewhere_is_not_read(folder: Path, tmp_path: Path) -> None:
    """A linked folder is a link as well."""
    (folder / "variables").rename(tmp_path / "variables")
    (folder / "variables").symlink_to(tmp_path / "variables")
    refused(lambda: read_saved_model(folder), "is a link out of")


@pytest.mark.parametrize(
    "line", ["../trained", "/etc/passwd", "sub/trained", "..", "C:trained", "\\\\x", ""]
)
def test_a_latest_checkpoint_elsewhere_is_refused(line: str, prefix: Path) -> None:
    """The file `checkpoint` may name a prefix beside it only."""
    state = prefix.parent / "checkpoint"
    state.write_text('model_checkpoint_path: "trained"\n')
    assert read_checkpoint(prefix.parent).weights
    state.write_text(f'model_checkpoint_path: "{line}"\n')
    refused(lambda: read_checkpoint(prefix.parent), "names no checkpoint of this folder")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_what_is_no_plain_file_is_refused(folder: Path) -> None:
    """A pipe would block for ever, a folder and a circle of links have no content."""
    path = folder / "saved_model.pb"
    path.unlink()
    os.mkfifo(path)
    refused(lambda: read_saved_model(folder), "is no plain file")
    path.unlink()
    path.mkdir()
    refused(lambda: read_saved_model(folder), "is no plain file|cannot be opened")
    path.rmdir()
    path.symlink_to(path)
    refused(lambda: read_saved_model(folder), "cannot be opened")


def test_what_is_no_saved_model_is_refused(tmp_path: Path) -> None:
    """A missing path, an empty folder, a file, foreign content."""
    for path in (tmp_path / "missing", tmp_path, Path(__file__)):
        refused(lambda path=path: read_saved_model(path), "saved_model.pb: cannot be opened")
    (tmp_path / "saved_model.pb").write_bytes(b"%PDF-1.7 and more")
    refused(lambda: read_saved_model(tmp_path), "saved_model.pb")
    (tmp_path / "saved_model.pb").write_bytes(b"")
    refused(lambda: read_saved_model(tmp_path), "has 0 graphs tagged 'serve'; expected 1")
    refused(lambda: read_checkpoint(tmp_path / "missing"), "missing.index: cannot be opened")
    refused(lambda: read_checkpoint(tmp_path), "holds 0 checkpoints")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('"Dropout"', '"Lambda"', "'drop' is a Lambda; supported: Input, Dense"),
        ('"Dropout"', '"os.system"', "'drop' is a os.system; supported"),
        ('"rate": 0.25', '"rate": 1.0', "rate 1.0; expected it in"),
        ('"rate": 0.25', '"rate": NaN', "rate nan; expected it in"),
        ('"rate": 0.25', '"rate": true', "rate True; expected it in"),
        ('"units": 3', '"units": 4', r"hidden/kernel has shape \(5, 3\); expected \(5, 4\)"),
        ('"units": 3', '"units": -3', "units=-3"),
        ('"units": 3', '"units": "3"', None),
        ('"activation": "sigmoid"', '"activation": "tanh"', "the activation 'tanh'; expected"),
        ('"activation": "sigmoid"', '"activation": ["sigmoid"]', "expected linear, relu"),
        ('"use_bias": false', '"use_bias": true', "has no variable score/bias"),
        ('"batch_input_shape": {', '"batch_input_shape": 5, "x": {', "input has shape 5"),
        ('[["drop", 0, 0, {}]]', '[["hidden", 0, 0, {}]]', "'again' has not one input of its own"),
        ('[["drop", 0, 0, {}]]', '[["again", 0, 0, {}]]', "'score' has not one input of its own"),
        ('[["score", 0, 0]]', '[["again", 0, 0]]', "do not run from the input to one"),
        ('"name": "again"', '"name": "hidden"', None),
        ('"class_name": "Functional"', '"class_name": "MyModel"', "is a 'MyModel'; expected"),
        ('"layers": [', '"layers": 7, "x": [', "expected Sequential or Functional, with its"),
        ('"layers": [', '"layers": [7, ', "a layer is 7; expected an object"),
        ("{", "[" * 100_000, "is no JSON"),
        ("{", '{"x": ' + "9" * 5000 + ", ", "is no JSON"),
        ("{", "7 {", "is no JSON"),
        ("{", '"' + "x" * (1 << 20), "is no JSON .1[0-9]* characters"),
    ],
    ids=str,
)
def test_a_config_that_says_what_is_not_supported_is_refused(
    old: str, new: str, match: str | None, folder: Path
) -> None:
    """Layers are named; nothing that a config names is looked up."""
    path = folder / "keras_metadata.pb"
    rows = decode(path.read_bytes())
    assert rows is not None
    changed: list[Field] = []
    for number, kind, value in rows:
        assert isinstance(value, bytes)
        fields = decode(value)
        assert fields is not None
        if (3, 2, b"root") in fields:
            text = next(v for n, _, v in fields if n == 5)
            assert isinstance(text, bytes)
            assert old.encode() in text
            count = 1 if old == "{" else -1
            replaced = text.replace(old.encode(), new.encode(), count)
            fields = [(n, k, replaced if n == 5 else v) for n, k, v in fields]
        changed.append((number, kind, encode(fields)))
    path.write_bytes(encode(changed))
    refused(lambda: read_saved_model(folder), match or "keras_metadata.pb")
