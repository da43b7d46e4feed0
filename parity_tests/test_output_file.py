"""A file is refused before the run, and written whole after it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from parity_tests.output_file import fault_of, write_atomically


def refuse(*_: object, **__: object) -> NoReturn:
    raise PermissionError(13, "Permission denied")


def test_a_place_that_takes_a_file_has_no_fault(tmp_path: Path) -> None:
    """And asking leaves nothing behind."""
    assert fault_of(tmp_path / "r.html") is None
    assert list(tmp_path.iterdir()) == []


def test_faults_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder, a folder instead of a file, and a folder that takes no file."""
    assert "is not a folder" in fault_of(tmp_path / "absent" / "r.html")
    assert "is a folder" in fault_of(tmp_path)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)  # root may write everywhere
    assert "cannot be written to: Permission denied" in fault_of(tmp_path / "r.html")


def test_a_file_is_replaced_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing fails the old text stands, and no scrap beside it."""
    path = tmp_path / "r.html"
    write_atomically(path, "old √")
    assert path.read_bytes() == "old √".encode()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(PermissionError):
            write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old √"
    assert os.listdir(tmp_path) == ["r.html"]


def test_a_written_file_has_the_mode_that_any_new_file_has(tmp_path: Path) -> None:
    """A temporary file's own mode would hide the report from everyone else."""
    (tmp_path / "plain").write_text("x")
    write_atomically(tmp_path / "r.html", "x")
    modes = {(tmp_path / name).stat().st_mode for name in ("plain", "r.html")}
    assert len(modes) == 1
