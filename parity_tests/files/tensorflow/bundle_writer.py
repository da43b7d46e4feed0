"""Checkpoints and protobuf messages as TensorFlow writes them, or as nobody should.

Every checksum is right, so that what a reader finds wrong is what was made wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch_impl.keras_files.tensorflow.crc32c import masked_crc32c
from torch_impl.keras_files.tensorflow.protobuf import read_varint
from torch_impl.keras_files.tensorflow.sorted_table import read_table

__all__ = [
    "MAGIC", "Field", "GraphNode", "decode", "encode", "entries_block", "entry", "graph_function",
    "object_graph", "repacked", "saved_model", "table", "text_tensor", "varint", "write_bundle",
]  # fmt: skip

Field = tuple[int, int, "int | bytes"]
"""Number, wire type, value."""

MAGIC = bytes.fromhex("57fb808b247547db")


def varint(number: int) -> bytes:
    """An unsigned number, negative ones as 64 bits."""
    number &= (1 << 64) - 1
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def encode(fields: Sequence[Field]) -> bytes:
    """A protobuf message."""
    out = b""
    for number, kind, value in fields:
        out += varint(number << 3 | kind)
        if isinstance(value, bytes):
            out += varint(len(value)) + value
        elif kind == 0:
            out += varint(value)
        else:
            out += struct.pack("<Q" if kind == 1 else "<I", value)
    return out


def decode(data: bytes) -> list[Field] | None:
    """The fields of a message, None if the bytes are none."""
    fields: list[Field] = []
    position = 0
    try:
        while position < len(data):
            tag, position = read_varint(memoryview(data), position, "")
            number, kind = tag >> 3, tag & 7
            if kind == 0:
                value, position = read_varint(memoryview(data), position, "")
                fields.append((number, kind, value))
                continue
            length = {1: 8, 5: 4}.get(kind, -1)
            if kind == 2:
                length, position = read_varint(memoryview(data), position, "")
            if not number or not 0 <= length <= len(data) - position:
                return None
            raw = data[position : position + length]
            fields.append((number, kind, raw if kind == 2 else int.from_bytes(raw, "little")))
            position += length
    except ValueError:
        return None
    return fields


def entries_block(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A table's block without shared keys."""
    body = b"".join(b"\0" + varint(len(k)) + varint(len(v)) + k + v for k, v in entries)
    return body + struct.pack("<II", 0, 1)


def table(
    entries: Mapping[bytes, bytes], kind: int = 0, block: bytes | None = None, gap: bytes = b""
) -> bytes:
    """An index file.

    Args:
        entries: go into one block.
        kind: of compression that the blocks claim.
        block: stands in place of the block of entries.
        gap: bytes between the blocks and the footer.
    """
    block = entries_block(list(entries.items())) if block is None else block
    limit = max(entries, default=b"\xff")
    out, handles = b"", []
    for body in block, entries_block([]), entries_block([(limit, varint(0) + varint(len(block)))]):
        handles.append((len(out), len(body)))
        sealed = body + bytes([kind])
        out += sealed + struct.pack("<I", masked_crc32c(sealed))
    footer = b"".join(varint(number) for handle in handles[1:] for number in handle)
    return out + gap + footer.ljust(40, b"\0") + MAGIC


def entry(code: int, shape: Sequence[int], offset: int, size: int, checksum: int) -> list[Field]:
    """A `BundleEntryProto`."""
    dimensions: list[Field] = [(2, 2, encode([(1, 0, size)])) for size in shape]
    return [(1, 0, code), (2, 2, encode(dimensions)), (4, 0, offset), (5, 0, size),
            (6, 5, checksum)]  # fmt: skip


HEADER: list[Field] = [(1, 0, 1), (3, 2, encode([(1, 0, 1)]))]


def text_tensor(text: bytes) -> tuple[bytes, int]:
    """A scalar string's bytes in the data file, and its checksum."""
    length = struct.pack("<I", len(text))
    body = struct.pack("<I", masked_crc32c(length)) + text
    return varint(len(text)) + body, masked_crc32c(length + body)


def write_bundle(
    prefix: Path, tensors: Mapping[str, tuple[int, Sequence[int], bytes]], graph: bytes = b""
) -> None:
    """Writes a checkpoint: name to TensorFlow's dtype, shape and bytes; and an object graph."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    entries: dict[bytes, bytes] = {b"": encode(HEADER)}
    data, checksum = text_tensor(graph)
    entries[b"_CHECKPOINTABLE_OBJECT_GRAPH"] = encode(entry(7, (), 0, len(data), checksum))
    for name, (code, shape, value) in sorted(tensors.items()):
        row = entry(code, shape, len(data), len(value), masked_crc32c(value))
        entries[name.encode()] = encode(row)
        data += value
    prefix.with_name(prefix.name + ".index").write_bytes(table(dict(sorted(entries.items()))))
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)


def object_graph(
    nodes: Sequence[tuple[Mapping[str, int], str]],
    slots: Mapping[int, Sequence[tuple[int, str, int]]] | None = None,
) -> bytes:
    """A `TrackableObjectGraph`: children by name, and a variable's full name or nothing.

    A variable's tensor is called as the variable. The slots of a node are those of an optimizer of
    Keras 2: variable, name and slot.
    """
    rows: list[Field] = []
    for index, (children, name) in enumerate(nodes):
        fields: list[Field] = [
            (1, 2, encode([(1, 0, node), (2, 2, child.encode())]))
            for child, node in children.items()
        ]
        if name:
            text = name.encode()
            fields.append((2, 2, encode([(1, 2, b"VARIABLE_VALUE"), (2, 2, text), (3, 2, text)])))
        fields += [
            (3, 2, encode([(1, 0, variable), (2, 2, kind.encode()), (3, 0, slot)]))
            for variable, kind, slot in (slots or {}).get(index, ())
        ]
        rows.append((1, 2, encode(fields)))
    return encode(rows)


class GraphNode(NamedTuple):
    """One node of a TensorFlow function."""

    op: str
    inputs: Sequence[str]
    attributes: Mapping[str, Sequence[Field]] = {}
    """Name to the fields of an `AttrValue`."""


def graph_function(
    name: str, inputs: Sequence[str], nodes: Mapping[str, GraphNode], *outputs: str
) -> bytes:
    """A `FunctionDef`."""
    fields: list[Field] = [
        (1, 2, encode([(1, 2, name.encode()), *((2, 2, _named(one)) for one in inputs)]))
    ]
    for title, node in nodes.items():
        attributes: list[Field] = [
            (5, 2, encode([(1, 2, key.encode()), (2, 2, encode(value))]))
            for key, value in node.attributes.items()
        ]
        texts: list[Field] = [(3, 2, one.encode()) for one in node.inputs]
        row: list[Field] = [(1, 2, title.encode()), (2, 2, node.op.encode())]
        fields.append((3, 2, encode([*row, *texts, *attributes])))
    for index, value in enumerate(outputs):
        fields.append((4, 2, encode([(1, 2, b"output_%d" % index), (2, 2, value.encode())])))
    return encode(fields)


def saved_model(
    functions: Sequence[bytes],
    objects: Sequence[tuple[Mapping[str, int], str]],
    bound: Mapping[str, Sequence[int]],
    tags: Sequence[str] = ("serve",),
) -> bytes:
    """A `saved_model.pb`.

    Args:
        functions: of its graph.
        objects: children by name, and the name of a signature's function or nothing.
        bound: a function's name to the objects that are its last arguments.
        tags: of its one graph.
    """
    library = encode([(2, 2, encode([(1, 2, function) for function in functions]))])
    nodes: list[Field] = []
    for children, signature in objects:
        held = [(1, 2, encode([(1, 0, node), (2, 2, name.encode())]))
                for name, node in children.items()]  # fmt: skip
        signed = [(8, 2, _named(signature))] if signature else []
        nodes.append((1, 2, encode([*held, *signed])))
    concrete: list[Field] = [
        (2, 2, encode([(1, 2, name.encode()), (2, 2, encode([(2, 0, one) for one in held]))]))
        for name, held in bound.items()
    ]
    information = encode([(4, 2, tag.encode()) for tag in tags])
    graph: list[Field] = [(1, 2, information), (2, 2, library), (7, 2, encode(nodes + concrete))]
    return encode([(1, 0, 1), (2, 2, encode(graph))])


def _named(name: str) -> bytes:
    return encode([(1, 2, name.encode())])


def repacked(index: bytes, change: Callable[[dict[bytes, bytes]], None]) -> bytes:
    """An index with its entries changed and all checksums made anew."""
    entries = {key: bytes(value) for key, value in read_table(index, "index").items()}
    change(entries)
    return table(entries)
