"""A strict reader of the part of HDF5 that Keras writes.

`h5py` reads HDF5 through the C library, which is not made for hostile input: within
900 files with a few changed bytes one sent libhdf5 1.14.6 into a loop without end, in a call
that Python cannot interrupt. Here every structure is checked against the file's size before it is
followed, each byte is read once (see `Ledger`), and what Keras does not write is refused by name:
links out of the file or to other places in it, external and virtual storage, chunks and filters.

Source: "HDF5 File Format Specification Version 3.0"; roman numerals below are its sections.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.ledger import Ledger

__all__ = ["Dataset", "Group", "read_hdf5"]

_UNDEFINED = 2**64 - 1
_DEPTH = 16  # more than any network of the family has
_OBJECT, _ATTRIBUTE_IN_IT, _MESSAGE = 8, 8, 2  # steps
_PATH_STEP, _SUM_STEP = 256, 12  # bytes
_SIGNATURE = b"\x89HDF\r\n\x1a\n"

_DATASPACE, _LINK_INFO, _DATATYPE, _LINK, _EXTERNAL, _LAYOUT = 0x1, 0x2, 0x3, 0x6, 0x7, 0x8
_FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE, _ATTRIBUTE_INFO = 0xB, 0xC, 0x10, 0x11, 0x15


@dataclass
class Dataset:
    """Numbers: where they lie, and what they are."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    data: memoryview
    attrs: dict[str, Any] = field(default_factory=dict)
    where: str = ""
    taken: bool = False

    def tensor(self) -> Tensor:
        """A copy of the numbers, which a file has for one use.

        Raises:
            KerasFileError: they were taken already.
        """
        if self.taken:
            raise KerasFileError(f"{self.where}: is used twice; expected one use of each dataset")
        self.taken = True
        if not len(self.data):
            return torch.empty(self.shape, dtype=self.dtype)
        return torch.frombuffer(bytearray(self.data), dtype=self.dtype).reshape(self.shape)


@dataclass
class Group:
    """Members and attributes by name."""

    members: dict[str, Group | Dataset] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)

    def at(self, path: str) -> Group | Dataset | None:
        """What is at a path of names between slashes, if anything."""
        found: Group | Dataset | None = self
        for name in path.split("/"):
            found = found.members.get(name) if isinstance(found, Group) else None
        return found

    def group(self, path: str) -> Group | None:
        """The group at a path, if there is one."""
        found = self.at(path)
        return found if isinstance(found, Group) else None


def read_hdf5(content: bytes | memoryview, where: str) -> Group:
    """All groups, and where the numbers of all datasets lie.

    Args:
        content: of the whole file.
        where: the file's name, for errors.

    Raises:
        KerasFileError: the file is damaged, or holds what Keras does not write.
    """
    try:
        return _Reader(memoryview(content), where).root()
    except (struct.error, IndexError, UnicodeDecodeError, OverflowError) as error:
        raise KerasFileError(f"{where}: damaged HDF5 ({error})") from None


# By class, bits and properties: numbers with IEEE's sign, implied leading bit and exponent, and
# signed whole numbers, little-endian.
_NUMBERS: dict[tuple[int, int, bytes], torch.dtype] = {
    (1, 0x0F20, bytes([0, 0, 16, 0, 10, 5, 0, 10, 15, 0, 0, 0])): torch.float16,
    (1, 0x1F20, bytes([0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0])): torch.float32,
    (1, 0x3F20, bytes([0, 0, 64, 0, 52, 11, 0, 52, 255, 3, 0, 0])): torch.float64,
    (0, 0x08, bytes([0, 0, 64, 0])): torch.int64,
    (0, 0x08, bytes([0, 0, 32, 0])): torch.int32,
}


@dataclass
class _Datatype:
    kind: str  # "number", "string", "strings" (of variable length), or what it is instead
    size: int
    dtype: torch.dtype | None = None


class _Reader:
    def __init__(self, content: memoryview, where: str) -> None:
        self.content, self.where = content, where
        self.ledger = Ledger(len(content), where)
        self.texts: dict[int, dict[int, memoryview]] = {}  # of each heap those not taken yet

    def fail(self, what: str) -> KerasFileError:
        return KerasFileError(f"{self.where}: {what}")

    def part(self, at: int, size: int, what: str) -> memoryview:
        if at < 0 or size < 0 or at + size > len(self.content):
            raise self.fail(
                f"{what} at byte {at} of {size} bytes; expected it within the file's "
                f"{len(self.content)} bytes"
            )
        return self.content[at : at + size]

    def claim(self, at: int, size: int, what: str) -> memoryview:
        """Bytes that nothing else has read."""
        self.ledger.claim(at, size, what)
        return self.content[at : at + size]

    def unpack(self, form: str, at: int, what: str) -> tuple[Any, ...]:
        return struct.unpack("<" + form, self.part(at, struct.calcsize("<" + form), what))

    def root(self) -> Group:
        if bytes(self.content[:8]) != _SIGNATURE:
            raise self.fail("no HDF5 file; expected it to start with the HDF5 signature")
        version = self.unpack("B", 8, "superblock")[0]
        if version in (0, 1):  # II.A, the sizes of offsets and lengths, then four addresses
            sizes = self.unpack("BB", 13, "superblock")
            base, _, end, _, _, header = self.unpack("6Q", 24 + 4 * version, "superblock")
        elif version in (2, 3):
            sizes = self.unpack("BB", 9, "superblock")
            base, _, end, header = self.unpack("4Q", 12, "superblock")
            self.check_sum(0, 44, "superblock")
        else:
            raise self.fail(f"HDF5 superblock of version {version}; expected 0 to 3")
        if sizes != (8, 8) or base != 0:
            raise self.fail("HDF5 offsets of other than 8 bytes, or a user block: not supported")
        if end > len(self.content):
            raise self.fail(f"cut off: HDF5 of {end} bytes in a file of {len(self.content)}")
        found = self.read_object(header, "/", 0)
        if not isinstance(found, Group):
            raise self.fail("the root of the HDF5 file is no group")
        return found

    def check_sum(self, start: int, end: int, what: str) -> None:
        (stated,) = self.unpack("I", end, what)
        self.ledger.step((end - start) // _SUM_STEP)
        if _lookup3(bytes(self.part(start, end - start, what))) != stated:
            raise self.fail(f"{what} at byte {start} fails its checksum")

    def read_object(self, at: int, path: str, depth: int) -> Group | Dataset:
        if depth > _DEPTH:
            raise self.fail(f"{path}: HDF5 groups nested more than {_DEPTH} deep")
        self.ledger.step(_OBJECT + len(path) // _PATH_STEP)
        messages = self.messages(at, path)
        attrs: dict[str, Any] = {}
        found: dict[int, memoryview] = {}
        links: list[tuple[str, int]] = []
        for kind, body in messages:
            if kind == _ATTRIBUTE:
                name, value = self.attribute(body, path)
                attrs[name] = value
            elif kind == _LINK:
                links.append(self.link(body, path))
            elif kind == _EXTERNAL:
                raise self.fail(f"{path}: external HDF5 storage: refused")
            elif kind == _FILTERS:
                raise self.fail(f"{path}: compressed HDF5 data: refused, Keras writes it plain")
            elif kind in (_LINK_INFO, _ATTRIBUTE_INFO):
                self.no_dense_storage(kind, body, path)
                found[kind] = body
            elif kind in (_DATASPACE, _DATATYPE, _LAYOUT, _SYMBOL_TABLE):
                if kind in found:
                    raise self.fail(f"{path}: HDF5 object header says twice what it is")
                found[kind] = body
        if _LAYOUT in found:
            return self.dataset(found, attrs, path)
        if _SYMBOL_TABLE in found:
            links += self.symbol_table(found[_SYMBOL_TABLE], path)
        elif _LINK_INFO not in found:
            raise self.fail(f"{path}: neither an HDF5 group nor a dataset")
        group = Group(attrs=attrs)
        for name, child in links:
            if name in group.members or not name or "/" in name:
                raise self.fail(f"{path}: two HDF5 members, or none, called {name!r}")
            group.members[name] = self.read_object(child, f"{path.rstrip('/')}/{name}", depth + 1)
        return group

    def messages(self, at: int, path: str) -> list[tuple[int, memoryview]]:
        """Type and body of each message of an object header, continuations included (IV.A)."""
        what = f"object header of {path}"
        found: list[tuple[int, memoryview]] = []
        if bytes(self.part(at, 4, what)) == b"OHDR":
            version, flags = self.unpack("BB", at + 4, what)
            first = at + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            size = int.from_bytes(self.part(first, width, what), "little")
            first += width
            self.claim(at, first + size + 4 - at, what)
            self.check_sum(at, first + size, what)
            head = 6 if flags & 4 else 4
        else:
            version, _, _, _, size = self.unpack("BBHII", at, what)
            first, head, flags = at + 16, 8, None
            self.claim(at, 16 + size, what)
        if version != (1 if flags is None else 2):
            raise self.fail(f"{what}: version {version}; expected 1 or 2")
        blocks = [self.content[first : first + size]]
        for block in blocks:
            here = 0
            while len(block) - here >= head:
                self.ledger.step(_MESSAGE)
                if flags is None:
                    kind, length, marks = struct.unpack_from("<HHB", block, here)
                else:
                    kind, length, marks = struct.unpack_from("<BHB", block, here)
                here += head
                if length > len(block) - here:
                    raise self.fail(f"{what}: a message of {length} bytes passes its end")
                body = block[here : here + length]
                here += length
                if marks & 2:
                    raise self.fail(f"{what}: shared HDF5 messages: not supported")
                if kind == _CONTINUATION:
                    start, size = struct.unpack("<QQ", body[:16])
                    more = self.claim(start, size, what)
                    if flags is not None:  # "OCHK" before, a checksum after
                        self.check_sum(start, start + size - 4, what)
                        more = more[4:-4]
                    blocks.append(more)
                elif kind:
                    found.append((kind, body))
        return found

    def no_dense_storage(self, kind: int, body: memoryview, path: str) -> None:
        flags = body[1]
        at = 2 + (8 if kind == _LINK_INFO else 2) * (flags & 1)
        if struct.unpack("<Q", body[at : at + 8])[0] != _UNDEFINED:
            raise self.fail(f"{path}: more members than an HDF5 header holds: not supported")

    def link(self, body: memoryview, path: str) -> tuple[str, int]:
        """Name and address of a hard link (IV.A.2.g)."""
        flags = body[1]
        at = 2
        if flags & 8:
            if body[at] != 0:
                raise self.fail(f"{path}: a soft or external HDF5 link: refused")
            at += 1
        at += (8 if flags & 4 else 0) + (1 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        length = int.from_bytes(body[at : at + width], "little")
        at += width
        name = bytes(body[at : at + length]).decode()
        return name, struct.unpack("<Q", body[at + length : at + length + 8])[0]

    def symbol_table(self, body: memoryview, path: str) -> list[tuple[str, int]]:
        """Names and addresses of a group's members (III.A to III.D)."""
        what = f"members of {path}"
        tree, heap = struct.unpack("<QQ", body[:16])
        if bytes(self.part(heap, 4, what)) != b"HEAP":
            raise self.fail(f"{what}: no HDF5 heap of names at byte {heap}")
        self.claim(heap, 32, what)
        size, _, start = self.unpack("3Q", heap + 8, what)
        names = bytes(self.claim(start, size, what))
        left = size  # bytes of names that were not used yet
        links: list[tuple[str, int]] = []
        nodes = [tree]
        while nodes:
            at = nodes.pop()
            signature = bytes(self.part(at, 4, what))
            if signature == b"TREE":
                kind, _, used = self.unpack("BBH", at + 4, what)
                self.claim(at, 24 + 16 * used, what)
                children = self.unpack(f"{2 * used}Q", at + 24, what)[1::2]
                if kind != 0:
                    raise self.fail(f"{what}: an HDF5 tree of kind {kind}; expected 0")
                nodes += reversed(children)
            elif signature == b"SNOD":
                (count,) = self.unpack("H", at + 6, what)
                self.claim(at, 8 + 40 * count, what)
                for i in range(count):
                    self.ledger.step()
                    name_at, child, cached = self.unpack("QQI", at + 8 + 40 * i, what)
                    if cached == 2:
                        raise self.fail(f"{path}: a soft HDF5 link: refused")
                    end = names.find(b"\0", name_at) if name_at < size else -1
                    left -= end + 1 - name_at
                    if end < 0 or left < 0:
                        raise self.fail(f"{what}: a name outside the HDF5 heap, or one in another")
                    links.append((names[name_at:end].decode(), child))
            else:
                raise self.fail(f"{what}: no HDF5 tree node at byte {at}")
        return links

    def dataset(self, found: dict[int, memoryview], attrs: dict[str, Any], path: str) -> Dataset:
        if _DATASPACE not in found or _DATATYPE not in found:
            raise self.fail(f"{path}: an HDF5 dataset without shape or dtype")
        shape = self.shape(found[_DATASPACE], path)
        datatype = self.datatype(found[_DATATYPE])
        if datatype.kind != "number" or datatype.dtype is None or shape is None:
            raise self.fail(
                f"{path}: an HDF5 dataset of {datatype.kind} ({datatype.size} bytes each); "
                "expected floating-point or whole numbers"
            )
        size = datatype.size * math.prod(shape)
        if datatype.size * math.prod(length or 1 for length in shape) >= 1 << 63:
            raise self.fail(f"{path}: shape {shape} has an axis that no memory holds")
        layout = found[_LAYOUT]
        version, kind = layout[0], layout[1]
        if version not in (3, 4) or kind not in (0, 1):
            raise self.fail(f"{path}: chunked or virtual HDF5 storage: refused")
        if kind == 0:
            (length,) = struct.unpack("<H", layout[2:4])
            data = layout[4 : 4 + length]
        else:
            start, length = struct.unpack("<QQ", layout[2:18])
            # Nothing was ever written: HDF5 sets no place aside then.
            data = memoryview(b"") if size == 0 else self.claim(start, length, f"data of {path}")
        if len(data) != size:
            raise self.fail(
                f"{path}: shape {shape} takes {size} bytes; the file has {len(data)} for it"
            )
        return Dataset(datatype.dtype, shape, data, attrs, f"{self.where}: {path}")

    def shape(self, body: memoryview, path: str) -> tuple[int, ...] | None:
        """None for a null dataspace (IV.A.2.b)."""
        version, rank = body[0], body[1]
        if version not in (1, 2) or rank > 8:
            raise self.fail(f"{path}: HDF5 shape of version {version} with {rank} axes")
        if version == 2 and body[3] == 2:
            return None
        start = 8 if version == 1 else 4
        return struct.unpack(f"<{rank}Q", body[start : start + 8 * rank])

    def datatype(self, body: memoryview) -> _Datatype:
        """IV.A.2.d; little-endian numbers, strings, and Keras's bfloat16, which is opaque."""
        kind, bits = body[0] & 15, int.from_bytes(body[1:4], "little")
        (size,) = struct.unpack("<I", body[4:8])
        if kind in (0, 1):
            dtype = _NUMBERS.get((kind, bits, bytes(body[8 : 20 if kind else 12])))
            if dtype is not None and dtype.itemsize == size:
                return _Datatype("number", size, dtype)
        if kind == 5 and size == 2:
            return _Datatype("number", size, torch.bfloat16)
        if kind == 3 and size:
            return _Datatype("string", size)
        if kind == 9 and bits & 15 == 1 and size == 16:
            return _Datatype("strings", size)
        return _Datatype(f"HDF5 class {kind}", size)

    def attribute(self, body: memoryview, path: str) -> tuple[str, Any]:
        """Name and value: a string, a list of strings, or None for anything else (IV.A.2.m)."""
        self.ledger.step(_ATTRIBUTE_IN_IT)
        version, flags, name_size, type_size, space_size = struct.unpack("<BBHHH", body[:8])
        if version not in (1, 2, 3) or (version > 1 and flags):
            raise self.fail(f"{path}: HDF5 attribute of version {version}, flags {flags}")
        at, parts = 9 if version == 3 else 8, []
        for size in (name_size, type_size, space_size):
            parts.append(body[at : at + size])
            at += size if version > 1 else -(-size // 8) * 8
        name = bytes(parts[0]).rstrip(b"\0").decode()
        datatype, shape = self.datatype(parts[1]), self.shape(parts[2], path)
        if shape is None or len(shape) > 1 or datatype.kind not in ("string", "strings"):
            return name, None
        count = shape[0] if shape else 1
        if at + count * datatype.size > len(body):
            raise self.fail(f"{path}: HDF5 attribute {name!r} passes its end")
        self.ledger.step(count)
        values = [self.text(body[at + i * datatype.size :], datatype, path) for i in range(count)]
        return name, values if shape else values[0]

    def text(self, body: memoryview, datatype: _Datatype, path: str) -> str:
        if datatype.kind == "string":
            return bytes(body[: datatype.size]).partition(b"\0")[0].decode()
        length, heap, wanted = struct.unpack("<IQI", body[:16])
        what = f"text of {path}"
        if length == 0:
            return ""
        if heap not in self.texts:
            self.texts[heap] = self.heap(heap, what)
        if wanted not in self.texts[heap]:
            raise self.fail(f"{what}: not in the HDF5 heap at byte {heap}, or read already")
        return bytes(self.texts[heap].pop(wanted)[:length]).decode()

    def heap(self, at: int, what: str) -> dict[int, memoryview]:
        """Index and bytes of each text in a global heap (III.E)."""
        if bytes(self.part(at, 4, what)) != b"GCOL":
            raise self.fail(f"{what}: no HDF5 heap at byte {at}")
        (size,) = self.unpack("Q", at + 8, what)
        body, here = self.claim(at, size, what), 16
        found: dict[int, memoryview] = {}
        while here + 16 <= size:
            self.ledger.step()
            index, _, _, held = struct.unpack_from("<HHIQ", body, here)
            if index == 0:
                break
            here += 16
            if held > size - here:
                raise self.fail(f"{what}: passes the end of the HDF5 heap at byte {at}")
            found.setdefault(index, body[here : here + held])
            here += -(-held // 8) * 8
        return found


def _lookup3(data: bytes) -> int:
    """Jenkins's hash, with which newer HDF5 headers are checked (`H5_checksum_lookup3`)."""
    mask = 0xFFFFFFFF

    def rotated(x: int, by: int) -> int:
        return ((x << by) | (x >> (32 - by))) & mask

    a: int = (0xDEADBEEF + len(data)) & mask
    b = c = a
    whole = max(len(data) - 1, 0) // 12 * 12  # at least one byte stays for the end
    for x, y, z in struct.iter_unpack("<III", data[:whole]):
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        a = ((a - c) & mask) ^ rotated(c, 4)
        c = (c + b) & mask
        b = ((b - a) & mask) ^ rotated(a, 6)
        a = (a + c) & mask
        c = ((c - b) & mask) ^ rotated(b, 8)
        b = (b + a) & mask
        a = ((a - c) & mask) ^ rotated(c, 16)
        c = (c + b) & mask
        b = ((b - a) & mask) ^ rotated(a, 19)
        a = (a + c) & mask
        c = ((c - b) & mask) ^ rotated(b, 4)
        b = (b + a) & mask
    data = data[whole:]
    if not data:
        return c
    x, y, z = struct.unpack("<III", data.ljust(12, b"\0"))
    a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
    words: list[int] = [a, b, c]
    for to, of, by in _LAST_MIX:
        words[to] = ((words[to] ^ words[of]) - rotated(words[of], by)) & mask
    return words[2]


_LAST_MIX = (
    (2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24),
)  # fmt: skip
