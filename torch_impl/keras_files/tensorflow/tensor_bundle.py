"""Tensors of a TensorFlow checkpoint: `PREFIX.index` and `PREFIX.data-…`, without TensorFlow.

Source of the format: tensorflow/core/util/tensor_bundle/tensor_bundle.h and
tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.ledger import Ledger
from torch_impl.keras_files.tensorflow.crc32c import masked_crc32c
from torch_impl.keras_files.tensorflow.folder import OpenFile, read_whole
from torch_impl.keras_files.tensorflow.protobuf import Message, read_varint
from torch_impl.keras_files.tensorflow.sorted_table import read_table

__all__ = ["Entry", "TensorBundle"]

_LARGEST_INDEX = 16 << 20
_LARGEST_TOTAL = 1 << 30
_LARGEST_TEXT = 16 << 20
_MOST_SHARDS = 1000
_ENTRY_STEPS = 40  # of a tensor of 3 axes: 38
_STRING = 7
_DTYPES = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    9: torch.int64,
    14: torch.bfloat16,
    17: torch.uint16,
    19: torch.float16,
    22: torch.uint32,
    23: torch.uint64,
}
"""tensorflow/core/framework/types.proto to torch."""


class Entry(NamedTuple):
    """Where a tensor is and what it is."""

    dtype: torch.dtype | None
    """None for strings."""
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


class TensorBundle:
    """A checkpoint's tensors by key; each is read, and its checksum verified, when asked for.

    Args:
        prefix: the path without `.index`.
        folder: what may be read from, the prefix's own folder if None.

    Raises:
        KerasFileError: the index is damaged, says what cannot be, or the tensors together are
            larger than 1 GiB.
    """

    def __init__(self, prefix: Path, folder: Path | None = None) -> None:
        self.prefix = prefix
        self._folder = prefix.parent if folder is None else folder
        index = prefix.with_name(prefix.name + ".index")
        table = read_table(read_whole(self._folder, index, _LARGEST_INDEX), str(index))
        if b"" not in table:
            raise KerasFileError(f"{index}: has no header (an entry with an empty key)")
        self._shards = _read_header(Message(table.pop(b""), f"{index}, header"))
        self._sizes: dict[int, int] = {}
        self._ledgers: dict[int, Ledger] = {}
        self.entries: Mapping[str, Entry] = {}
        ledger = Ledger(0, str(index), _ENTRY_STEPS * (len(table) + 1))
        entries: dict[str, Entry] = {}
        for raw, value in table.items():
            try:
                key = raw.decode()
            except UnicodeDecodeError as error:
                raise KerasFileError(f"{index}: the key {raw[:80]!r} is no UTF-8") from error
            entries[key] = self._read_entry(Message(value, f"{index}, {key}", ledger))
        self.entries = entries
        total = sum(entry.size for entry in entries.values())
        if total > _LARGEST_TOTAL:
            raise KerasFileError(
                f"{index}: its tensors have {total} bytes; expected at most {_LARGEST_TOTAL}"
            )

    def tensor(self, key: str) -> Tensor:
        """A tensor of numbers.

        Raises:
            KerasFileError: it is missing, is of strings, its checksum is wrong, or so much was
                read of its file already that bytes must have been read again and again.
        """
        entry = self._entry(key)
        if entry.dtype is None:
            raise KerasFileError(f"{self.prefix}: {key} holds strings; expected numbers")
        data = self._data(key, entry)
        self._check(key, entry, masked_crc32c(data))
        if not data:
            return torch.empty(entry.shape, dtype=entry.dtype)
        return torch.frombuffer(bytearray(data), dtype=entry.dtype).reshape(entry.shape)

    def text(self, key: str) -> bytes:
        """A scalar string tensor.

        Raises:
            KerasFileError: it is missing, is no scalar string, is larger than 16 MiB, or its
                checksum is wrong.
        """
        entry = self._entry(key)
        if entry.dtype is not None or entry.shape != () or entry.size > _LARGEST_TEXT:
            raise KerasFileError(
                f"{self.prefix}: {key} is {entry.dtype or 'strings'} of shape {entry.shape} and "
                f"{entry.size} bytes; expected one string of at most {_LARGEST_TEXT}"
            )
        data = self._data(key, entry)
        where = f"{self.prefix}: {key}"
        # The length as a varint, the length's checksum, the string; the entry's checksum
        # counts the length as four bytes, not as a varint.
        length, position = read_varint(memoryview(data), 0, where)
        if length + 4 != len(data) - position:
            raise KerasFileError(
                f"{where} says {length} characters; {len(data) - position - 4} came"
            )
        self._check(key, entry, masked_crc32c(struct.pack("<I", length) + data[position:]))
        return data[position + 4 :]

    def _entry(self, key: str) -> Entry:
        if key not in self.entries:
            raise KerasFileError(f"{self.prefix}.index: has no tensor {key!r}")
        return self.entries[key]

    def _shard(self, number: int) -> Path:
        return self.prefix.with_name(f"{self.prefix.name}.data-{number:05d}-of-{self._shards:05d}")

    def _size(self, shard: int) -> int:
        if shard not in self._sizes:
            file = OpenFile(self._folder, self._shard(shard))
            file.close()
            self._sizes[shard] = file.size
        return self._sizes[shard]

    def _data(self, key: str, entry: Entry) -> bytes:
        path = self._shard(entry.shard)
        if entry.shard not in self._ledgers:
            self._ledgers[entry.shard] = Ledger(self._size(entry.shard), str(path))
        self._ledgers[entry.shard].produce(entry.size, key)
        file = OpenFile(self._folder, path)
        try:
            return file.read(entry.offset, entry.size)
        finally:
            file.close()

    def _check(self, key: str, entry: Entry, came: int) -> None:
        if came != entry.checksum:
            raise KerasFileError(
                f"{self._shard(entry.shard)}: the checksum of {key} is {came:08x}; "
                f"expected {entry.checksum:08x}: the file is damaged"
            )

    def _read_entry(self, message: Message) -> Entry:
        code, shard = message.integer(1), message.integer(3)
        offset, size = message.integer(4), message.integer(5)
        where = message.where
        if code not in _DTYPES and code != _STRING:
            raise KerasFileError(
                f"{where}: has TensorFlow's dtype {code}; expected one of "
                f"{sorted([*_DTYPES, _STRING])}"
            )
        if message.has(7):
            raise KerasFileError(f"{where}: is a variable in slices, which is not supported")
        shape = tuple(_read_shape(message.message(2, "shape")))
        dtype = _DTYPES.get(code)
        expected = math.prod(shape) * (dtype.itemsize if dtype else 0)
        if dtype and size != expected:
            raise KerasFileError(
                f"{where}: has {size} bytes; expected {expected} for {dtype} of shape {shape}"
            )
        if not 0 <= shard < self._shards:
            raise KerasFileError(f"{where}: is in data file {shard} of {self._shards}")
        if not (offset >= 0 and size >= 0 and offset + size <= self._size(shard)):
            raise KerasFileError(
                f"{where}: {size} bytes from byte {offset} on do not fit into the "
                f"{self._size(shard)} of {self._shard(shard)}"
            )
        return Entry(dtype, shape, shard, offset, size, message.fixed32(6))


def _read_header(message: Message) -> int:
    """Checks the `BundleHeaderProto` and gives the number of data files."""
    shards, big_endian = message.integer(1), message.integer(2)
    oldest_reader = message.message(3, "version").integer(2)
    if not 1 <= shards <= _MOST_SHARDS or big_endian or oldest_reader > 1:
        raise KerasFileError(
            f"{message.where}: {shards} data files, endianness {big_endian}, for readers of "
            f"version {oldest_reader} on; expected 1 to {_MOST_SHARDS}, 0 (little) and 1 at most"
        )
    return shards


def _read_shape(message: Message) -> Iterator[int]:
    if message.integer(3):
        raise KerasFileError(f"{message.where}: is unknown")
    for index, dimension in enumerate(message.messages(2, "dimension")):
        size = dimension.integer(1)
        # A tensor in memory has at most 2^63 bytes; no dimension of ours comes near.
        if not 0 <= size <= _LARGEST_TOTAL or index >= 8:
            raise KerasFileError(
                f"{dimension.where}: is {size}; expected 0 to {_LARGEST_TOTAL}, at most 8 of them"
            )
        yield size
