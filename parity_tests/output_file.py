"""Files that a long run ends with: checked before it, written in one piece after it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["fault_of", "write_atomically"]


def fault_of(path: Path) -> str | None:
    """Why no file can be written there, in words; None if one can."""
    if not path.parent.is_dir():
        return f"{path.parent} is not a folder"
    if path.is_dir():
        return "it is a folder; expected the name of a file"
    try:
        # Permissions, a read-only disk, quotas: only an attempt tells.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        return f"{path.parent} cannot be written to: {error.strerror}"
    return None


def write_atomically(path: Path, text: str) -> None:
    """Writes UTF-8; whoever reads the file sees the old text or the new, never a part.

    Raises:
        OSError: it could not be written; what stood there stands there still.
    """
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(scratch, 0o666 & ~mask)  # mkstemp's own mode keeps others from reading
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise
