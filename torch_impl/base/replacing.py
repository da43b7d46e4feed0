"""Files replaced in one move, so that nobody finds half of one."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["check_folder", "replace_file", "replacement"]


def check_folder(path: Path) -> None:
    """Says what is wrong before a run, not at its end.

    Raises:
        NotADirectoryError: the file's folder is not there, or is none; named in the error.
        FileExistsError: what stands there is a folder or a device, which no file replaces.
    """
    if not path.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(path.parent))
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "is no file that could be replaced", str(path))


def replace_file(path: Path, content: bytes) -> None:
    """`replacement` by these bytes."""
    with replacement(path) as part:
        part.write_bytes(content)


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """A new file beside the old one, moved there at the end, when it is whole and on the disk.

    A process killed at any moment leaves the old file or the new one, and what is once there
    outlives a power cut. The mode of the old file stays; of a link, what it leads to is
    replaced. A killed process may leave a file `.NAME.….part` beside it.

    Yields:
        The new file, empty, to be written.

    Raises:
        OSError: it could not be written; what stood there stands there still.
    """
    check_folder(path)
    path = path.resolve()
    # A fresh name, which nobody can have put a link under.
    descriptor, part = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
    try:
        with open(descriptor, "rb") as file:
            yield Path(part)
            os.chmod(part, _mode(path))
            os.fsync(file.fileno())
        os.replace(part, path)
        _flush_folder(path.parent)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(part)
        if isinstance(error, OSError) and error.filename in (None, part):
            error.filename = str(path)
        raise


def _mode(path: Path) -> int:
    """The file's own; of a new one, what any program would give it."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _flush_folder(folder: Path) -> None:
    """Brings the move to the disk, where folders can be opened and flushed for that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
