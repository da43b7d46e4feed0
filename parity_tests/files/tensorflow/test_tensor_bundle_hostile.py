"""A checkpoint whose index or data is damaged or lies is refused with one KerasFileError."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from parity_tests.files.hostile import data_of, good_checkpoint, index_of, refused
from parity_tests.files.tensorflow.bundle_writer import (
    MAGIC,
    decode,
    encode,
    repacked,
    table,
    varint,
    write_bundle,
)
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.tensorflow.folder import OpenFile, read_whole
from torch_impl.keras_files.tensorflow.saved_model import read_checkpoint
from torch_impl.keras_files.tensorflow.tensor_bundle import TensorBundle


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return good_checkpoint(tmp_path)


def test_the_checkpoint_to_be_damaged_is_good(prefix: Path) -> None:
    """The twin of all that follows."""
    assert read_checkpoint(prefix).optimizer is not None


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


@pytest.mark.slow
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


@pytest.mark.slow
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
        (lie(2, 2, shape(*[1] * 9)), "at most 8 of them"),
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
        (lambda entries: entries.update({b"": encode([(1, 0, 1), (3, 2, encode([(2, 0, 2)]))])}),
         "header: 1 data files, endianness 0, for readers of version 2 on; expected 1 to 1000"),
        (lie(4, 0, 2100), "VALUE: 60 bytes from byte 2100 on do not fit into the 2113 of "),
        (lambda entries: entries.update({b"\xff": b""}), "is no UTF-8"),
        (lambda entries: entries.pop(b"_CHECKPOINTABLE_OBJECT_GRAPH"),
         "has no _CHECKPOINTABLE_OBJECT_GRAPH; expected what tf.train.Checkpoint or Keras writes$"),
    ],
)  # fmt: skip
def test_a_lie_in_an_index_with_right_checksums_is_refused(
    change: Callable[[dict[bytes, bytes]], None], match: str, prefix: Path
) -> None:
    """Dtype, shape, shard, offset, size, checksum and the entry's own form."""
    index = index_of(prefix)
    index.write_bytes(repacked(index.read_bytes(), change))
    refused(lambda: read_checkpoint(prefix), match)


@pytest.mark.parametrize(
    ("shapes", "code", "longer", "match"),
    [
        ((), 7, -1, "GRAPH says {length} characters; {less} came$"),
        (
            (1,),
            7,
            0,
            r"is strings of shape \(1,\) and {size} bytes; expected one string of at most",
        ),
        (None, 4, 0, r"is torch.uint8 of shape \({size},\) and {size} bytes; expected one string"),
    ],
    ids=["shorter", "a-list", "numbers"],
)
def test_an_object_graph_that_is_no_text_is_refused(
    shapes: tuple[int, ...] | None, code: int, longer: int, match: str, prefix: Path
) -> None:
    """It is one string, with its length in front of it."""
    key = b"_CHECKPOINTABLE_OBJECT_GRAPH"
    length = len(TensorBundle(prefix).text(key.decode()))
    size = TensorBundle(prefix).entries[key.decode()].size

    def change(entries: dict[bytes, bytes]) -> None:
        kept = [field for field in decode(entries[key]) or [] if field[0] not in (1, 2, 5)]
        sizes = (size,) if shapes is None else shapes
        entries[key] = encode([(1, 0, code), (2, 2, shape(*sizes)), *kept, (5, 0, size + longer)])

    index = index_of(prefix)
    index.write_bytes(repacked(index.read_bytes(), change))
    expected = match.format(size=size, length=length, less=length - 1)
    refused(lambda: read_checkpoint(prefix), expected)


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
        pytest.param(
            table({b"\xffb": b"", b"\xffa": b""}),
            r"the key '\\\\xffa' is out of order",
            id="disorder-beyond-utf-8",
        ),
        pytest.param(bytes(40) + MAGIC, "do not fit|has 0 bytes|checksum", id="zero-footer"),
        pytest.param(b"\xff" * 40 + MAGIC, "varint at byte 0", id="footer-varints"),
        pytest.param(
            (varint(1 << 63) * 4).ljust(40, b"\0") + MAGIC,
            "do not fit into the file's 48",
            id="footer-handles",
        ),
        pytest.param(b"junk" + table({b"": b""}), "checksum", id="junk-in-front"),
        pytest.param(
            table({b"": b""}, gap=b"junk"),
            "index: its blocks end at byte 47; expected 51$",
            id="junk-between",
        ),
        pytest.param(sealed(restarts=1 << 30), "restart points do not fit", id="restarts"),
        pytest.param(
            sealed(restarts=(1 << 32) - 1),
            "4294967295 restart points do not fit",
            id="restarts-max",
        ),
        pytest.param(
            sealed(b"\x00\x01\x00k", b"\x00\x01\x00k"),
            "the key 'k' is out of order",
            id="key-twice",
        ),
        pytest.param(
            sealed(b"\x01\x01\x00k"),
            "the entry at byte 0 says 1 bytes of key shared, 1 new and 0 of value; the last key "
            "has 0, a key at most 1024, and 1 bytes are left$",
            id="shared-prefix",
        ),
        pytest.param(
            sealed(b"\x00\x01\x02kvv", b"\x00\x01\x05lv"),
            "the entry at byte 6 says 0 bytes of key shared, 1 new and 5 of value",
            id="value-of-the-next-entry",
        ),
        pytest.param(
            sealed(b"\x00\x01\xff\xff\xff\xff\x0fk"), "4294967295 of value", id="value-length"
        ),
        pytest.param(
            sealed(b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00k"), "64 bits", id="key-varint"
        ),
        pytest.param(sealed(b"\x00\x81"), "varint at byte 1", id="cut-varint"),
        pytest.param(table({}, block=b"\0"), "has 1 bytes; expected 4 or more", id="short-block"),
        pytest.param(
            b"",
            "index: does not end like an index of a TensorFlow checkpoint .48 bytes, the last 8 of "
            "them 57fb808b247547db.$",
            id="empty",
        ),
        pytest.param(b"\0" * 100, "does not end like an index", id="zeros"),
        pytest.param(
            bytes((16 << 20) + 1), "has 16777217 bytes; expected at most 16777216", id="too-large"
        ),
        pytest.param(
            table({f"{i:05d}".encode(): b"" for i in range(10_001)}),
            "more than 5000 entries",
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


DTYPES = {
    1: "f4", 2: "f8", 3: "i4", 4: "u1", 5: "i2", 6: "i1", 9: "i8", 17: "u2", 19: "f2", 22: "u4",
    23: "u8",
}  # fmt: skip
"""tensorflow/core/framework/types.proto to NumPy."""


@pytest.mark.parametrize("code", DTYPES)
def test_a_tensor_of_every_dtype_is_read_bit_for_bit(code: int, tmp_path: Path) -> None:
    """Scalars, empty tensors and two axes."""
    draw = np.random.default_rng(code)
    told = {}
    for size in ((), (0, 4), (2, 3)):
        raw = draw.bytes(int(np.prod(size)) * np.dtype(DTYPES[code]).itemsize)
        told[f"of {size}"] = np.frombuffer(raw, DTYPES[code]).reshape(size)
    rows = {name: (code, value.shape, value.tobytes()) for name, value in told.items()}
    write_bundle(tmp_path / "x", rows)
    bundle = TensorBundle(tmp_path / "x")
    for name, value in told.items():
        came = bundle.tensor(name).numpy()
        assert (came.dtype, came.shape) == (value.dtype, value.shape)
        assert came.tobytes() == value.tobytes()


def test_a_file_gives_exactly_the_bytes_that_are_wanted(tmp_path: Path) -> None:
    """All that it holds, and no part of what it does not."""
    path = tmp_path / "x"
    path.write_bytes(b"abcde")
    assert read_whole(tmp_path, path, 5) == b"abcde"
    file = OpenFile(tmp_path, path)
    assert [file.read(*part) for part in ((1, 3), (0, 5), (5, 0), (2, 0))] == [
        b"bcd", b"abcde", b"", b"",
    ]  # fmt: skip
    for offset, size in ((3, 3), (3, 4), (-1, 1), (1, -1), (6, 1), (-5, 5)):
        with pytest.raises(KerasFileError) as caught:
            file.read(offset, size)
        assert str(caught.value) == (
            f"{path}: bytes {offset} to {offset + size} are wanted; the file has 5"
        )
    file.close()
    refused(lambda: read_whole(tmp_path, path, 4), f"^{path}: has 5 bytes; expected at most 4$")


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
