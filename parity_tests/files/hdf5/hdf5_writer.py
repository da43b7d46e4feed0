"""HDF5 files of the old form, byte by byte: as Keras writes them, or as nobody should."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

__all__ = [
    "FLOAT", "NOWHERE", "TEXTS", "Writer", "attribute", "dataspace", "fixed", "heap", "link",
    "message", "text",
]  # fmt: skip

NOWHERE = 2**64 - 1
FLOAT = bytes([0x11, 0x20, 0x1F, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0])
TEXTS = bytes([0x19, 1, 0, 0, 16, 0, 0, 0, 0x13, 0, 0, 0, 1, 0, 0, 0])
"""Datatypes: float32, and texts of any length, which lie in a global heap."""


def fixed(size: int) -> bytes:
    """The datatype of texts of one length."""
    return struct.pack("<II", 0x13, size)


def dataspace(*shape: int) -> bytes:
    """A shape."""
    return struct.pack(f"<BB6x{len(shape)}Q", 1, len(shape), *shape)


def message(kind: int, body: bytes) -> bytes:
    """One message of an object header."""
    body += bytes(-len(body) % 8)
    return struct.pack("<HH4x", kind, len(body)) + body


def attribute(name: str, datatype: bytes, shape: Sequence[int], value: bytes) -> bytes:
    """An attribute's message."""
    parts = name.encode() + b"\0", datatype, dataspace(*shape)
    head = struct.pack("<BBHHH", 1, 0, *map(len, parts))
    return message(0xC, head + b"".join(p + bytes(-len(p) % 8) for p in parts) + value)


def text(name: str, value: str) -> bytes:
    """An attribute that is one text."""
    raw = value.encode()
    return attribute(name, fixed(len(raw)), (), raw)


def link(name: str, at: int) -> bytes:
    """A hard link's message."""
    raw = name.encode()
    return message(6, struct.pack("<BBI", 1, 2, len(raw)) + raw + struct.pack("<Q", at))


def heap(texts: Mapping[int, bytes]) -> bytes:
    """A global heap of texts by index."""
    body = b"".join(
        struct.pack("<HHIQ", index, 1, 0, len(raw)) + raw + bytes(-len(raw) % 8)
        for index, raw in texts.items()
    )
    return b"GCOL\1\0\0\0" + struct.pack("<Q", 16 + len(body)) + body


class Writer:
    """A file that grows at its end."""

    def __init__(self) -> None:
        self._content = bytearray(96)

    def put(self, content: bytes) -> int:
        """Adds bytes at a multiple of 8 and says where."""
        self._content += bytes(-len(self._content) % 8)
        at = len(self._content)
        self._content += content
        return at

    def header(self, *messages: bytes) -> int:
        """Adds an object."""
        body = b"".join(messages)
        return self.put(struct.pack("<BBHII4x", 1, 0, 0, 1, len(body)) + body)

    def group(self, members: Mapping[str, int], *messages: bytes) -> int:
        """Adds a group with its links in its header."""
        links = (link(name, at) for name, at in members.items())
        return self.header(message(2, struct.pack("<HQQ", 0, NOWHERE, NOWHERE)), *links, *messages)

    def table(self, tree: int, names: int) -> int:
        """Adds a group whose members stand in a tree."""
        return self.header(message(0x11, struct.pack("<QQ", tree, names)))

    def tree(self, *nodes: int) -> int:
        """Adds a tree's root."""
        pairs = b"".join(struct.pack("<QQ", 0, node) for node in nodes)
        head = struct.pack("<BBHQQ", 0, 0, len(nodes), NOWHERE, NOWHERE)
        return self.put(b"TREE" + head + pairs + bytes(8))

    def names(self, size: int, at: int) -> int:
        """Adds the head of a heap of names that lie elsewhere."""
        return self.put(b"HEAP\0\0\0\0" + struct.pack("<QQQ", size, NOWHERE, at))

    def dataset(
        self, shape: Sequence[int], data: bytes, datatype: bytes = FLOAT, at: int | None = None
    ) -> int:
        """Adds a dataset; its numbers too, unless they lie somewhere already."""
        if at is None:
            at = self.put(data) if data else NOWHERE
        place = struct.pack("<BBQQ", 3, 1, at, len(data))
        return self.header(message(1, dataspace(*shape)), message(3, datatype), message(8, place))

    def dense(self, *kernels: Sequence[int], datatype: bytes = FLOAT) -> int:
        """Adds the group `layers` of Dense layers without bias, their kernels of ones."""
        layers = {}
        for number, shape in enumerate(kernels):
            count = 1
            for length in shape:
                count *= length
            kernel = self.dataset(
                shape, struct.pack("<f", 1) * (count if count < 99 else 0), datatype
            )
            values = self.group({"0": kernel})
            layers[f"dense_{number}" if number else "dense"] = self.group({"vars": values})
        return self.group(layers)

    def finished(self, root: int) -> bytes:
        """The file's content."""
        head = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0, 4, 0, 16, 0, 0, 0, 0, 0])
        head += struct.pack("<6Q", 0, NOWHERE, len(self._content), NOWHERE, 0, root)
        self._content[: len(head)] = head
        return bytes(self._content)
