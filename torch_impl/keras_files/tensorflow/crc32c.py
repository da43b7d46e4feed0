"""CRC-32C (Castagnoli), the checksum of TensorFlow's tables and tensors, in NumPy."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

__all__ = ["crc32c", "masked_crc32c"]

_POLYNOMIAL = 0x82F63B78  # reversed 0x1EDC6F41
_SHORT = 128
_CHUNK = 24  # 2^24 bytes at a time bound the memory
_Table = NDArray[np.uint32]


def crc32c(data: bytes | memoryview) -> int:
    """The checksum of RFC 3720, B.4."""
    view = memoryview(data)
    start = len(view) % (1 << _CHUNK)
    crc = _one_chunk(view[:start])
    while start < len(view):
        shifted = _apply(_shift(_CHUNK), np.array([crc], np.uint32))
        crc = int(shifted[0]) ^ _one_chunk(view[start : start + (1 << _CHUNK)])
        start += 1 << _CHUNK
    return crc


def masked_crc32c(data: bytes | memoryview) -> int:
    """As TensorFlow and LevelDB store it: rotated by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _one_chunk(data: memoryview) -> int:
    """The checksum of up to 2^24 bytes.

    The register is linear over GF(2): long data is cut into rows of equal length whose
    registers run side by side and are then folded in pairs, so that the work is a few hundred
    NumPy calls however long the data is.
    """
    if len(data) < _SHORT:
        register = 0xFFFFFFFF
        table = _bytes()
        for byte in bytes(data):
            register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
        return register ^ 0xFFFFFFFF
    # Rows of 2^k words, about as many as a row has words, so that both loops stay short.
    level = len(data).bit_length() // 2
    words = 1 << level >> 2
    count = -(-len(data) // (words * 4))
    rows = 1 << (count - 1).bit_length()
    # Zeros in front leave a zero register zero, and the register's start, all ones, is the
    # same as inverting the first four bytes.
    padded = np.zeros(rows * words * 4, np.uint8)
    body = padded[len(padded) - len(data) :]
    body[:] = np.frombuffer(data, np.uint8)
    body[:4] ^= 0xFF
    columns = np.ascontiguousarray(padded.view("<u4").reshape(rows, words).T, np.uint32)
    registers: NDArray[np.uint32] = np.zeros(rows, np.uint32)
    step = _shift(2)
    for column in columns:
        registers = _apply(step, registers ^ column)
    while len(registers) > 1:
        registers = _apply(_shift(level), registers[::2]) ^ registers[1::2]
        level += 1
    return int(registers[0]) ^ 0xFFFFFFFF


@functools.cache
def _bytes() -> list[int]:
    """What one byte of the register becomes when it is shifted out."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return table


@functools.cache
def _shift(level: int) -> _Table:
    """What each of the register's four bytes becomes after 2^level zero bytes: (4, 256)."""
    if level == 0:
        table = np.zeros((4, 256), np.uint32)
        table[0] = _bytes()
        for position in 1, 2, 3:
            table[position] = np.arange(256) << 8 * (position - 1)
        return table
    half = _shift(level - 1)
    return _apply(half, half)


def _apply(table: _Table, registers: _Table) -> _Table:
    mixed: _Table = table[0][registers & 0xFF] ^ table[1][registers >> 8 & 0xFF]
    mixed ^= table[2][registers >> 16 & 0xFF]
    mixed ^= table[3][registers >> 24]
    return mixed
