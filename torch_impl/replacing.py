"""Files replaced in one move, so that nobody finds half of one."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["check_folder", "replace_file"]


def check_folder(path: Path) -> None:
    """Says what is wrong before a run, not at its end.

    Raises:
        NotADirectoryError: the file's folder is not there, or is none; named in the error.
    """
    if not path.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(path.parent))


def replace_file(path: Path, content: bytes) -> None:
    """Writes a `.part` beside the file and moves it there when it is whole and on the disk.

    A process killed at any moment leaves the old file or the new one, and what is once there
    outlives a power cut.

    Raises:
        OSError: it could not be written; what stood there stands there still.
    """
    check_folder(path)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _flush_folder(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """Brings the move to the disk, where folders can be opened and flushed for that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
