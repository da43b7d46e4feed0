"""LevelDB's sorted table, the format of a TensorFlow checkpoint's index.

https://github.com/google/leveldb/blob/main/doc/table_format.md: blocks, each with a checksum,
and a footer that says where the block of block addresses is.
"""

from __future__ import annotations

import struct

from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.ledger import Ledger
from torch_impl.keras_files.tensorflow.crc32c import masked_crc32c
from torch_impl.keras_files.tensorflow.protobuf import read_varint

__all__ = ["read_table"]

_MAGIC = 0xDB4775248B80FB57
_FOOTER, _TRAILER = 48, 5
_LONGEST_KEY = 1024
_MOST_ENTRIES = 5_000  # three times what a graph of 30,000 fields has variables
_BLOCK = 64  # steps; TensorFlow fills blocks of 256 KiB

_Handle = tuple[int, int]


def read_table(data: bytes, where: str) -> dict[bytes, memoryview]:
    """Keys to values, in the file's order.

    Every byte of the file must belong to the footer or to a block whose checksum is right:
    no flipped bit is overlooked.

    Args:
        data: the whole file.
        where: its name, for messages to people.

    Raises:
        KerasFileError: the table is damaged or compressed.
    """
    if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise KerasFileError(
            f"{where}: does not end like an index of a TensorFlow checkpoint "
            f"(48 bytes, the last 8 of them {_MAGIC.to_bytes(8, 'little').hex()})"
        )
    view = memoryview(data)
    ledger = Ledger(len(data), where)
    footer = view[-_FOOTER:-8]
    meta, position = _handle(footer, 0, f"{where}, footer")
    index, position = _handle(footer, position, f"{where}, footer")
    if any(footer[position:]):
        raise KerasFileError(f"{where}, footer: its padding is not zero")
    if _block(view, meta, f"{where}, metaindex block", ledger):
        raise KerasFileError(f"{where}: has a filter, which TensorFlow does not write")
    handles = [meta, index]
    entries: dict[bytes, memoryview] = {}
    last = b""
    for number, (limit, value) in enumerate(_block(view, index, f"{where}, index block", ledger)):
        place = f"{where}, block {number}"
        handle, end = _handle(value, 0, place)
        if end != len(value):
            raise KerasFileError(f"{place}: its address has {len(value)} bytes; expected {end}")
        handles.append(handle)
        for key, entry in _block(view, handle, place, ledger):
            if (entries and key <= last) or key > limit:
                raise KerasFileError(f"{place}: the key {_show(key)} is out of order")
            entries[key] = entry
            last = key
            if len(entries) > _MOST_ENTRIES:
                raise KerasFileError(f"{where}: more than {_MOST_ENTRIES} entries")
    end = 0
    for offset, size in sorted(handles):
        if offset != end:
            raise KerasFileError(f"{where}: a block starts at byte {offset}; expected {end}")
        end = offset + size + _TRAILER
    if end != len(data) - _FOOTER:
        raise KerasFileError(
            f"{where}: its blocks end at byte {end}; expected {len(data) - _FOOTER}"
        )
    return entries


def _handle(data: memoryview, position: int, where: str) -> tuple[_Handle, int]:
    offset, position = read_varint(data, position, where)
    size, position = read_varint(data, position, where)
    return (offset, size), position


def _block(
    data: memoryview, handle: _Handle, where: str, ledger: Ledger
) -> list[tuple[bytes, memoryview]]:
    offset, size = handle
    if offset + size + _TRAILER > len(data) - _FOOTER:
        raise KerasFileError(
            f"{where}: {size} bytes from byte {offset} on do not fit into the file's {len(data)}"
        )
    ledger.claim(offset, size + _TRAILER, "a block")
    ledger.step(_BLOCK)
    block = data[offset : offset + size]
    (stored,) = struct.unpack("<I", data[offset + size + 1 : offset + size + _TRAILER])
    came = masked_crc32c(data[offset : offset + size + 1])
    if stored != came:
        raise KerasFileError(
            f"{where}: its checksum is {came:08x}; expected {stored:08x}: the file is damaged"
        )
    kind = data[offset + size]
    if kind != 0:
        name = "Snappy" if kind == 1 else f"method {kind}"
        raise KerasFileError(
            f"{where}: is compressed ({name}); TensorFlow writes checkpoints uncompressed"
        )
    if size < 4:
        raise KerasFileError(f"{where}: has {size} bytes; expected 4 or more")
    (restarts,) = struct.unpack("<I", block[-4:])
    end = size - 4 - 4 * restarts
    if end < 0:
        raise KerasFileError(f"{where}: {restarts} restart points do not fit into {size} bytes")
    return _entries(block[:end], where)


def _entries(block: memoryview, where: str) -> list[tuple[bytes, memoryview]]:
    found = []
    key = b""
    position = 0
    while position < len(block):
        start = position
        shared, position = read_varint(block, position, where)
        fresh, position = read_varint(block, position, where)
        length, position = read_varint(block, position, where)
        if (
            shared > len(key)
            or shared + fresh > _LONGEST_KEY
            or fresh + length > len(block) - position
        ):
            raise KerasFileError(
                f"{where}: the entry at byte {start} says {shared} bytes of key shared, {fresh} "
                f"new and {length} of value; the last key has {len(key)}, a key at most "
                f"{_LONGEST_KEY}, and {len(block) - position} bytes are left"
            )
        key = key[:shared] + bytes(block[position : position + fresh])
        position += fresh
        found.append((key, block[position : position + length]))
        position += length
        if len(found) > _MOST_ENTRIES:
            raise KerasFileError(f"{where}: more than {_MOST_ENTRIES} entries")
    return found


def _show(key: bytes) -> str:
    return repr(key[:80].decode("utf-8", "backslashreplace"))
