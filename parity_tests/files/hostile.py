"""What the tests of damaged and hostile files share."""

from __future__ import annotations

import io
import shutil
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from parity_tests.files.committed import KERAS_2
from torch_impl.keras_files.contents import KerasFileError

__all__ = [
    "MEBIBYTES",
    "SECONDS",
    "data_of",
    "good_checkpoint",
    "good_saved_model",
    "index_of",
    "members_of",
    "refused",
    "zipped",
]

SECONDS, MEBIBYTES = 1.0, 96
"""What refusing one file may take at most, of the processor and of memory."""


def refused(read: Callable[[], object], match: str, error: type[Exception] = KerasFileError) -> str:
    """Refused for this reason, within a second and without using much memory; what was said."""
    start = time.process_time()
    with pytest.raises(error, match=match) as caught:
        read()
    seconds = time.process_time() - start
    assert type(caught.value) is error
    assert len(str(caught.value)) < 1200
    assert seconds < SECONDS
    tracemalloc.start()
    with pytest.raises(error):
        read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEBIBYTES << 20, peak
    return str(caught.value)


def members_of(content: bytes) -> dict[str, bytes]:
    """The members of a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: Mapping[str, str | bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these members, such as a `.keras` file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def good_checkpoint(folder: Path) -> Path:
    """The prefix of a checkpoint of Keras 2, to be made bad."""
    for path in KERAS_2.glob("trained.*"):
        shutil.copy(path, folder)
    return folder / "trained"


def good_saved_model(folder: Path) -> Path:
    """A SavedModel of Keras 2, to be made bad."""
    return Path(shutil.copytree(KERAS_2 / "functional", folder / "functional"))


def index_of(prefix: Path) -> Path:
    """The index of a checkpoint."""
    return prefix.with_name(prefix.name + ".index")


def data_of(prefix: Path) -> Path:
    """Its one data file."""
    return prefix.with_name(prefix.name + ".data-00000-of-00001")
