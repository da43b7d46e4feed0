"""Memory between pages that nobody may touch: a touch ends the process."""

from __future__ import annotations

import ctypes
import mmap
from ctypes import c_int, c_int64, c_void_p
from typing import Any

__all__ = ["between_guards"]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = c_void_p
_libc.mmap.argtypes = [c_void_p, ctypes.c_size_t, c_int, c_int, c_int, c_int64]
_libc.mprotect.argtypes = [c_void_p, ctypes.c_size_t, c_int]
_READ, _WRITE = mmap.PROT_READ, mmap.PROT_WRITE


def between_guards(array: Any, last: bool, writable: bool) -> c_void_p:
    """Where a copy of a ctypes array lies: at the end of its pages, or at their start."""
    size = ctypes.sizeof(array)
    room = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    whole = room + 2 * mmap.PAGESIZE
    start = _libc.mmap(None, whole, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    start += mmap.PAGESIZE
    at = start + (room - size) * last
    assert _libc.mprotect(start, room, _READ | _WRITE) == 0
    ctypes.memmove(at, array, size)
    assert writable or _libc.mprotect(start, room, _READ) == 0
    return c_void_p(at)
