"""HDF5 of the right form with one wrong number in it: refused with where and what came."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from parity_tests.files.hostile import refused
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.hdf5.reader import Dataset, Group, _lookup3, _Reader, read_hdf5

A = np.arange(6, dtype=np.float32).reshape(2, 3)


def made(libver: str, change: Callable[[Any], object] = lambda root: None) -> bytearray:
    """A file of a few groups, datasets and attributes."""
    file = io.BytesIO()
    with h5py.File(file, "w", libver=(libver, "v114")) as root:
        root.attrs["name"] = "text"
        root.attrs["fixed"] = np.bytes_("abc")
        root.attrs["list"] = ["p", "qq", ""]
        root.attrs["number"] = 3
        root.attrs["none"] = h5py.Empty("f4")
        root.attrs["square"] = np.array([["p", "q"]], dtype="S1")
        root.attrs["padded"] = np.array(b"ab", dtype="S5")
        root.attrs["nothing"] = h5py.Empty("S3")
        root.create_dataset("a", data=A).attrs["unit"] = "s"
        root.create_dataset("g/b", data=np.int64(-5))
        root.create_dataset("g/empty", shape=(0, 2), dtype="f8")
        change(root)
    return bytearray(file.getvalue())


OLD, NEW = made("earliest"), made("v110")


def of_version_1() -> bytearray:
    """The old file with the superblock that counts chunks too: four bytes more, the root moved."""
    (size,) = struct.unpack_from("<I", OLD, 96 + 8)
    root, end = len(OLD), len(OLD) + 16 + size
    head = OLD[:8] + b"\1" + OLD[9:24] + bytes([32, 0, 0, 0])
    head += struct.pack("<6Q", 0, 2**64 - 1, end, 2**64 - 1, 0, root)
    return head + OLD[len(head) :] + OLD[96 : 96 + 16 + size]


@pytest.mark.parametrize(
    "content",
    [OLD, NEW, made("v108"), of_version_1()],
    ids=["version-0", "version-3", "version-2", "version-1"],
)
def test_what_h5py_wrote_is_read(content: bytearray) -> None:
    """The twin of all that follows: numbers, texts and None for any other attribute."""
    root = read_hdf5(bytes(content), "file")
    assert root.attrs == {
        "name": "text", "fixed": "abc", "list": ["p", "qq", ""], "number": None, "none": None,
        "square": None, "padded": "ab", "nothing": None,
    }  # fmt: skip
    assert sorted(root.members) == ["a", "g"]
    a, b, empty = (root.at(path) for path in ("a", "g/b", "g/empty"))
    assert isinstance(a, Dataset)
    assert isinstance(b, Dataset)
    assert isinstance(empty, Dataset)
    assert (a.tensor().tolist(), a.attrs) == (A.tolist(), {"unit": "s"})
    assert b.tensor().item() == -5
    nothing = empty.tensor()
    assert (tuple(nothing.shape), nothing.dtype) == ((0, 2), torch.float64)
    for once in a, empty:
        with pytest.raises(KerasFileError, match="is used twice; expected one use of each dataset"):
            once.tensor()
    assert root.at("g/none") is root.at("a/b") is root.at("none/b") is root.group("a") is None


def put(content: bytearray, at: int, form: str, value: int) -> bytearray:
    """A copy with one number changed."""
    changed = bytearray(content)
    struct.pack_into("<" + form, changed, at, value)
    return changed


def messages(content: bytearray, header: int) -> Iterator[tuple[int, int]]:
    """Type of each message of an old object header, and where the message starts."""
    (size,) = struct.unpack_from("<I", content, header + 8)
    blocks = [(header + 16, size)]
    while blocks:
        at, size = blocks.pop(0)
        end = at + size
        while at + 8 <= end:
            kind, length = struct.unpack_from("<HH", content, at)
            if kind == 0x10:
                blocks.append(struct.unpack_from("<QQ", content, at + 8))
            yield kind, at
            at += 8 + length


def message(content: bytearray, header: int, wanted: int) -> int:
    """Where the first message of a type starts."""
    return next(at for kind, at in messages(content, header) if kind == wanted)


ROOT, TREE, HEAP, SNOD, GCOL = 96, *(
    OLD.index(sign) for sign in (b"TREE", b"HEAP", b"SNOD", b"GCOL")
)  # fmt: skip
(HEADER_A,) = struct.unpack_from("<Q", OLD, SNOD + 16)
SPACE, TYPE, LAYOUT, FILL = (message(OLD, HEADER_A, kind) for kind in (1, 3, 8, 5))
NAMES = struct.unpack_from("<Q", OLD, HEAP + 24)[0]
FIXED, LIST = OLD.index(b"fixed\0") - 8, OLD.index(b"list\0") - 8
CONTINUED = message(OLD, ROOT, 0x10)
(CONTINUED_SIZE,) = struct.unpack_from("<Q", OLD, CONTINUED + 16)
(ROOT_SIZE,) = struct.unpack_from("<I", OLD, ROOT + 8)
OUTSIDE = "members of /: a name outside the HDF5 heap, or one in another"
TWICE = "stands where something else does; expected each byte to be read once"
SIZE = len(OLD)


def list_shape() -> int:
    """Where the number of texts of the attribute `list` stands."""
    name, kind = struct.unpack_from("<HH", OLD, LIST + 2)
    return LIST + 8 + sum(-(-size // 8) * 8 for size in (name, kind)) + 8


CHANGES: dict[str, tuple[int, str, int, str]] = {
    "signature": (1, "B", 0, "no HDF5 file; expected it to start with the HDF5 signature"),
    "version": (8, "B", 4, "HDF5 superblock of version 4; expected 0 to 3"),
    "offsets": (13, "B", 4, "HDF5 offsets of other than 8 bytes, or a user block: not supported"),
    "lengths": (14, "B", 4, "HDF5 offsets of other than 8 bytes, or a user block: not supported"),
    "base": (24, "Q", 8, "HDF5 offsets of other than 8 bytes, or a user block: not supported"),
    "end": (40, "Q", SIZE + 1, f"cut off: HDF5 of {SIZE + 1} bytes in a file of {SIZE}"),
    "root-a-dataset": (64, "Q", HEADER_A, "the root of the HDF5 file is no group"),
    "root-outside": (
        64, "Q", SIZE - 3,
        f"object header of / at byte {SIZE - 3} of 4 bytes; "
        f"expected it within the file's {SIZE} bytes",
    ),
    "header-version": (ROOT, "B", 3, "object header of /: version 3; expected 1 or 2"),
    "header-size": (
        ROOT + 8, "I", SIZE,
        f"object header of / at byte {ROOT} of {SIZE + 16} bytes; "
        f"expected it within the file's {SIZE} bytes",
    ),
    "message-size": (
        ROOT + 18, "H", 60_000, "object header of /: a message of 60000 bytes passes its end",
    ),
    "message-shared": (
        ROOT + 20, "B", 2, "object header of /: shared HDF5 messages: not supported",
    ),
    "continued-in-itself": (
        CONTINUED + 8, "Q", ROOT + 16,
        f"object header of / at byte {ROOT + 16} of {CONTINUED_SIZE} bytes {TWICE}",
    ),
    "tree-kind": (TREE + 4, "B", 1, "members of /: an HDF5 tree of kind 1; expected 0"),
    "tree-signature": (TREE, "B", 0, f"members of /: no HDF5 tree node at byte {TREE}"),
    "tree-in-itself": (
        TREE + 32, "Q", TREE, f"members of / at byte {TREE} of 40 bytes {TWICE}",
    ),
    "tree-outside": (
        TREE + 32, "Q", SIZE,
        f"members of / at byte {SIZE} of 4 bytes; expected it within the file's {SIZE} bytes",
    ),
    "heap-signature": (HEAP, "B", 0, f"members of /: no HDF5 heap of names at byte {HEAP}"),
    "heap-outside": (
        HEAP + 24, "Q", SIZE,
        f"members of / at byte {SIZE} of 88 bytes; expected it within the file's {SIZE} bytes",
    ),
    "name-outside": (SNOD + 8, "Q", 88, OUTSIDE),
    "name-without-end": (NAMES + 8, "80s", b"x" * 80, OUTSIDE),
    "name-empty": (NAMES + 8, "B", 0, "/: two HDF5 members, or none, called ''"),
    "name-with-a-slash": (NAMES + 8, "B", 0x2F, "/: two HDF5 members, or none, called '/'"),
    "name-twice": (SNOD + 48, "Q", 8, "/: two HDF5 members, or none, called 'a'"),
    "soft-link": (SNOD + 24, "I", 2, "/: a soft HDF5 link: refused"),
    "member-is-the-root": (
        SNOD + 16, "Q", ROOT,
        f"object header of /a at byte {ROOT} of {ROOT_SIZE + 16} bytes {TWICE}",
    ),
    "member-of-nothing": (
        LAYOUT, "H", 0, "/a: neither an HDF5 group nor a dataset",
    ),
    "text-heap": (GCOL, "B", 0, f"text of /: no HDF5 heap at byte {GCOL}"),
    "text-missing": (
        GCOL + 16, "H", 99, f"text of /: not in the HDF5 heap at byte {GCOL}, or read already",
    ),
    "text-heap-outside": (
        GCOL + 8, "Q", SIZE,
        f"text of / at byte {GCOL} of {SIZE} bytes; expected it within the file's {SIZE} bytes",
    ),
    "attribute-version": (FIXED, "B", 4, "/: HDF5 attribute of version 4, flags 0"),
    "attribute-flags": (FIXED, "H", 0x0103, "/: HDF5 attribute of version 3, flags 1"),
    "attribute-size": (list_shape(), "Q", 9, "/: HDF5 attribute 'list' passes its end"),
    "shape-version": (SPACE + 8, "B", 3, "/a: HDF5 shape of version 3 with 2 axes"),
    "shape-axes": (SPACE + 9, "B", 9, "/a: HDF5 shape of version 1 with 9 axes"),
    "shape-larger": (
        SPACE + 16, "Q", 3, "/a: shape (3, 3) takes 36 bytes; the file has 24 for it",
    ),
    "no-shape": (SPACE, "H", 0, "/a: an HDF5 dataset without shape or dtype"),
    "no-dtype": (TYPE, "H", 0, "/a: an HDF5 dataset without shape or dtype"),
    "two-shapes": (TYPE, "H", 1, "/a: HDF5 object header says twice what it is"),
    "external": (FILL, "H", 7, "/a: external HDF5 storage: refused"),
    "filtered": (
        FILL, "H", 11, "/a: compressed HDF5 data: refused, Keras writes it plain",
    ),
    "layout-version": (LAYOUT + 8, "B", 2, "/a: chunked or virtual HDF5 storage: refused"),
    "layout-chunked": (LAYOUT + 9, "B", 2, "/a: chunked or virtual HDF5 storage: refused"),
    "layout-shorter": (
        LAYOUT + 18, "Q", 20, "/a: shape (2, 3) takes 24 bytes; the file has 20 for it",
    ),
    "layout-outside": (
        LAYOUT + 10, "Q", SIZE - 23,
        f"data of /a at byte {SIZE - 23} of 24 bytes; expected it within the file's {SIZE} bytes",
    ),
    "dtype-class": (
        TYPE + 8, "B", 0x16,
        "/a: an HDF5 dataset of HDF5 class 6 (4 bytes each); "
        "expected floating-point or whole numbers",
    ),
    "dtype-text": (
        TYPE + 8, "B", 0x13,
        "/a: an HDF5 dataset of string (4 bytes each); expected floating-point or whole numbers",
    ),
    "dtype-big-endian": (
        TYPE + 9, "B", 0x21,
        "/a: an HDF5 dataset of HDF5 class 1 (4 bytes each); "
        "expected floating-point or whole numbers",
    ),
    "dtype-size": (
        TYPE + 12, "I", 8,
        "/a: an HDF5 dataset of HDF5 class 1 (8 bytes each); "
        "expected floating-point or whole numbers",
    ),
    "dtype-exponent": (
        TYPE + 21, "B", 7,
        "/a: an HDF5 dataset of HDF5 class 1 (4 bytes each); "
        "expected floating-point or whole numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_a_wrong_number_in_an_old_file_is_refused(case: str) -> None:
    """Superblock, object headers, trees, heaps, attributes and datasets, word for word."""
    at, form, value, error = CHANGES[case]
    changed = bytes(put(OLD, at, form, value))
    assert changed != bytes(OLD)
    refused(lambda: read_hdf5(changed, "file"), f"^file: {re.escape(error)}$")


@pytest.mark.parametrize(
    ("content", "size", "at", "length"),
    [(OLD, 8, 8, 1), (OLD, 14, 13, 2), (OLD, 71, 24, 48), (NEW, 10, 9, 2), (NEW, 43, 12, 32)],
    ids=["version", "old-sizes", "old-addresses", "new-sizes", "new-addresses"],
)
def test_a_file_that_ends_within_its_superblock_is_refused(
    content: bytearray, size: int, at: int, length: int
) -> None:
    """With the place where it should have gone on."""
    error = f"superblock at byte {at} of {length} bytes; expected it within the file's {size} bytes"
    refused(lambda: read_hdf5(bytes(content[:size]), "file"), f"^file: {error}$")


def sealed(content: bytearray, start: int, end: int) -> bytes:
    """With the checksum of these bytes behind them."""
    struct.pack_into("<I", content, end, _lookup3(bytes(content[start:end])))
    return bytes(content)


HEADER = struct.unpack_from("<Q", NEW, 36)[0]


def test_a_new_files_checksums_are_verified() -> None:
    """Of the superblock, of an object header, and of what continues it."""
    for at, what, start in (
        (20, "superblock", 0),
        (HEADER + 8, "object header of /", HEADER),
        (NEW.index(b"OCHK") + 9, "object header of /", NEW.index(b"OCHK")),
    ):
        changed = bytes(put(NEW, at, "B", NEW[at] ^ 1))
        error = f"file: {what} at byte {start} fails its checksum"
        refused(lambda changed=changed: read_hdf5(changed, "file"), f"^{error}$")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("at", "form", "value", "error"),
    [
        (9, "B", 4, "HDF5 offsets of other than 8 bytes, or a user block: not supported"),
        (10, "B", 4, "HDF5 offsets of other than 8 bytes, or a user block: not supported"),
        (12, "Q", 8, "HDF5 offsets of other than 8 bytes, or a user block: not supported"),
        (28, "Q", 1 << 40, f"cut off: HDF5 of {1 << 40} bytes in a file of {len(NEW)}"),
    ],
    ids=["offsets", "lengths", "base", "end"],
)
def test_a_wrong_number_in_a_new_superblock_is_refused(
    at: int, form: str, value: int, error: str
) -> None:
    """Its checksum right."""
    changed = sealed(put(NEW, at, form, value), 0, 44)
    refused(lambda: read_hdf5(changed, "file"), f"^file: {re.escape(error)}$")


def test_members_in_dense_storage_are_refused() -> None:
    """Newer HDF5 moves many members, or many attributes, out of the header."""
    many: list[Callable[[Any], object]] = [
        lambda root: [root.create_group(f"layer_{i}") for i in range(20)],
        lambda root: [root.attrs.create(f"attribute_{i}", i) for i in range(20)],
    ]
    for change in many:
        content = bytes(made("v110", change))
        error = "file: /: more members than an HDF5 header holds: not supported"
        refused(lambda content=content: read_hdf5(content, "file"), f"^{error}$")  # type: ignore[misc]


@pytest.mark.parametrize("libver", ["earliest", "v110"])
def test_as_many_groups_as_a_network_needs_are_read(libver: str) -> None:
    """Over more than one node of an old file's tree, and in a new one's header."""
    groups = [f"layer_{i:02d}" for i in range(70 if libver == "earliest" else 5)]
    content = bytes(made(libver, lambda root: [root.create_group(name) for name in groups]))
    assert sorted(read_hdf5(content, "file").members) == ["a", "g", *groups]


def test_groups_nested_too_deeply_are_refused() -> None:
    """Sixteen are more than Keras writes."""
    deep = "/".join("abcdefghijklmnopq")
    good = bytes(made("earliest", lambda root: root.create_group(f"h/{deep[:29]}")))
    assert read_hdf5(good, "file").group(f"h/{deep[:29]}") is not None
    bad = bytes(made("earliest", lambda root: root.create_group(f"h/{deep}")))
    refused(lambda: read_hdf5(bad, "file"), "HDF5 groups nested more than 16 deep$")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_attribute_is_read_in_each_of_its_versions(version: int) -> None:
    """IV.A.2.m: the first pads its parts to eight bytes, the third says the name's characters."""
    reader = _Reader(memoryview(b""), "file")
    parts = "größer".encode() + b"\0", struct.pack("<II", 0x13, 3), bytes([1]) + bytes(7)
    body = struct.pack("<BBHHH", version, 0, *map(len, parts)) + (b"\1" if version == 3 else b"")
    for part in parts:
        body += part.ljust(-(-len(part) // 8) * 8, b"\0") if version == 1 else part
    assert reader.attribute(memoryview(body + b"abc"), "/") == ("größer", "abc")
    if version > 1:
        flagged = body[:1] + b"\1" + body[2:] + b"abc"
        refused(
            lambda: reader.attribute(memoryview(flagged), "/g"),
            f"^file: /g: HDF5 attribute of version {version}, flags 1$",
        )


def test_a_continuation_shorter_than_its_own_frame_is_refused() -> None:
    """Its content would have fewer than no bytes."""
    wanted = struct.pack("<Q", NEW.index(b"OCHK"))
    at = NEW.index(wanted, HEADER)
    size = NEW[HEADER + 22] if not NEW[HEADER + 5] & 3 else 0
    assert size
    end = HEADER + 23 + size
    changed = sealed(put(NEW, at + 8, "Q", 3), HEADER, end)
    refused(lambda: read_hdf5(changed, "file"), "^file: object header of / at byte .* of -1 bytes")


def test_an_object_header_may_say_when_attributes_move_out_of_it() -> None:
    """IV.A.1.b: two numbers more, if a flag says so."""

    def change(root: Any) -> None:
        plist = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        plist.set_attr_phase_change(6, 4)
        group = h5py.Group(h5py.h5g.create(root.id, b"own", gcpl=plist))
        group.attrs["name"] = "kept"

    found = read_hdf5(bytes(made("v110", change)), "file").group("own")
    assert found is not None
    assert found.attrs == {"name": "kept"}


def test_datasets_that_share_their_bytes_are_refused() -> None:
    """Together they would take more memory than the file is long."""
    many, few = np.zeros(10_000, np.float32), np.zeros(10, np.float32)
    content = made("earliest", lambda root: [
        root.create_dataset("many", data=many), root.create_dataset("z", data=few),
    ])  # fmt: skip
    headers = {
        name: struct.unpack_from("<Q", content, content.index(b"SNOD") + 16 + 40 * place)[0]
        for place, name in ((2, "many"), (3, "z"))
    }
    layouts = {name: message(content, header, 8) for name, header in headers.items()}
    assert struct.unpack_from("<Q", content, layouts["z"] + 18) == (40,)
    content[layouts["z"] + 10 : layouts["z"] + 26] = content[
        layouts["many"] + 10 : layouts["many"] + 26
    ]
    struct.pack_into("<Q", content, message(content, headers["z"], 1) + 16, 10_000)
    at, size = struct.unpack_from("<QQ", content, layouts["many"] + 10)
    error = f"file: data of /z at byte {at} of {size} bytes {TWICE}"
    refused(lambda: read_hdf5(bytes(content), "file"), f"^{error}$")


@pytest.mark.parametrize(
    "dtype", ["i1", "i2", "u2", "u4", "u8", ">i4", ">i8", ">f4", "c8", "S4", "V4"]
)
def test_numbers_that_keras_does_not_store_are_refused(dtype: str) -> None:
    """With the path from the root on."""
    content = bytes(made("earliest", lambda root: root.create_dataset("g/c", (2,), dtype)))
    refused(lambda: read_hdf5(content, "file"), "^file: /g/c: an HDF5 dataset of ")


@pytest.mark.parametrize("flags", [0, 1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 29, 31])
def test_a_hard_link_is_read_with_every_field_that_it_may_have(flags: int) -> None:
    """IV.A.2.g: its type, creation order and character set are there if a flag says so."""
    name, address = "größe_" + "x" * 250, (1 << 63) + 5
    if flags & 3 == 0:
        name = name[:40]
    raw, width = name.encode(), 1 << (flags & 3)
    body = bytes([1, flags]) + (b"\0" if flags & 8 else b"")
    body += (struct.pack("<Q", 77) if flags & 4 else b"") + (b"\x01" if flags & 16 else b"")
    body += len(raw).to_bytes(width, "little") + raw + struct.pack("<Q", address)
    reader = _Reader(memoryview(b""), "file")
    assert reader.link(memoryview(body), "/") == (name, address)
    if flags & 8:
        soft = body[:2] + b"\x01" + body[3:]
        refused(
            lambda: reader.link(memoryview(soft), "/g"),
            "^file: /g: a soft or external HDF5 link: refused$",
        )


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
@pytest.mark.parametrize(("kind", "width"), [(0x2, 8), (0x15, 2)], ids=["links", "attributes"])
def test_dense_storage_is_seen_behind_the_largest_creation_order(
    kind: int, width: int, flags: int
) -> None:
    """IV.A.2.c and p: the order is there if a flag says so, of 8 bytes or of 2."""
    reader = _Reader(memoryview(b""), "file")
    order = b"\x05" * width if flags & 1 else b""
    nowhere = struct.pack("<Q", (1 << 64) - 1)
    body = bytes([0, flags]) + order
    reader.no_dense_storage(kind, memoryview(body + nowhere + bytes(8)), "/g")
    refused(
        lambda: reader.no_dense_storage(kind, memoryview(body + bytes(8) + nowhere), "/g"),
        "^file: /g: more members than an HDF5 header holds: not supported$",
    )


def test_groups_in_the_order_of_their_creation_are_read() -> None:
    """With names beyond ASCII and of more than 255 bytes."""
    names = ["zuletzt_größe", "n" * 300, "a"]
    file = io.BytesIO()
    with h5py.File(file, "w", libver=("v110", "v114"), track_order=True) as root:
        for name in names:
            group = root.create_group(name, track_order=True)
            group.attrs["größe"] = name
    found = read_hdf5(file.getvalue(), "file")
    assert sorted(found.members) == sorted(names)
    for name in names:
        group = found.group(name)
        assert isinstance(group, Group)
        assert group.attrs == {"größe": name}


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "i8"])
def test_every_dtype_is_read_bit_for_bit(dtype: str) -> None:
    """Of numbers that Keras stores; compact storage too, within the header itself."""
    value = np.frombuffer(np.random.default_rng(1).bytes(6 * int(dtype[1])), dtype).reshape(3, 2)

    def change(root: Any) -> None:
        root.create_dataset("wide", data=value)
        root.create_dataset("deep", data=value.reshape(3, 2, 1, 1, 1, 1, 1, 1))
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        kind = h5py.h5t.py_create(value.dtype)
        h5py.h5d.create(root.id, b"compact", kind, h5py.h5s.create_simple((3, 2)), plist).write(
            h5py.h5s.ALL, h5py.h5s.ALL, value
        )

    root = read_hdf5(bytes(made("earliest", change)), "file")
    for name in ("wide", "compact"):
        found = root.at(name)
        assert isinstance(found, Dataset)
        came = found.tensor().numpy()
        assert came.tobytes() == value.tobytes()
        assert (found.shape, came.dtype) == ((3, 2), value.dtype)


@pytest.mark.parametrize("length", range(1, 14))
def test_checksums_of_every_length_are_h5pys(length: int) -> None:
    """Jenkins's hash takes twelve bytes at a time and the rest by itself: of a name's length."""
    name = "n" * length
    content = bytes(made("v110", lambda root: root["g"].attrs.create(name, "x")))
    group = read_hdf5(content, "file").group("g")
    assert group is not None
    assert group.attrs == {name: "x"}
