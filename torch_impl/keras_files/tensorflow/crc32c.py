"""CRC-32C (Castagnoli), the checksum of TensorFlow's tables and tensors."""

from __future__ import annotations

__all__ = ["crc32c", "masked_crc32c"]

_PIECE = 1 << 20  # bytes that are copied at a time


def crc32c(data: bytes | memoryview) -> int:
    """The checksum of RFC 3720, B.4."""
    import google_crc32c

    view, crc = memoryview(data), 0
    for start in range(0, len(view), _PIECE):
        crc = google_crc32c.extend(crc, bytes(view[start : start + _PIECE]))
    return crc


def masked_crc32c(data: bytes | memoryview) -> int:
    """As TensorFlow and LevelDB store it: rotated by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
