"""Files that a long run ends with: checked before it, written in one piece after it."""

from __future__ import annotations

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
    from torch_impl.base.replacing import replace_file  # and torch with it

    replace_file(path, text.encode())
