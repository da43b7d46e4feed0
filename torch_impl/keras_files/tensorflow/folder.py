"""Files of one folder, and nothing outside it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from torch_impl.keras_files.contents import KerasFileError

__all__ = ["OpenFile", "read_whole"]


class OpenFile:
    """A plain file below a folder, open for reading.

    Args:
        folder: what may be read from.
        path: of the file; a link in it may not lead out of the folder.

    Raises:
        KerasFileError: there is no such file, it is no plain file, or it lies elsewhere.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        self.path = path
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(folder.resolve(strict=True)):
                raise KerasFileError(f"{path}: is a link out of {folder}; it is not followed")
            # A pipe without a writer would block here.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            descriptor = os.open(real, flags | getattr(os, "O_NOFOLLOW", 0))
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
            if isinstance(error, KerasFileError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise KerasFileError(f"{path}: cannot be opened ({reason})") from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise KerasFileError(f"{path}: is no plain file")
        self.size = status.st_size
        self._stream = os.fdopen(descriptor, "rb")

    def read(self, offset: int, size: int) -> bytes:
        """Exactly these bytes.

        Raises:
            KerasFileError: the file does not hold them.
        """
        data = b""
        if 0 <= offset <= self.size and 0 <= size <= self.size - offset:
            self._stream.seek(offset)
            data = self._stream.read(size)
        if len(data) != size:
            raise KerasFileError(
                f"{self.path}: bytes {offset} to {offset + size} are wanted; "
                f"the file has {self.size}"
            )
        return data

    def close(self) -> None:
        """Gives the file back."""
        self._stream.close()


def read_whole(folder: Path, path: Path, limit: int) -> bytes:
    """A file's content.

    Raises:
        KerasFileError: as `OpenFile`, or it is longer than the limit.
    """
    file = OpenFile(folder, path)
    try:
        if file.size > limit:
            raise KerasFileError(f"{path}: has {file.size} bytes; expected at most {limit}")
        return file.read(0, file.size)
    finally:
        file.close()
