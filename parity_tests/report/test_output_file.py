"""A file is refused before the run, and written whole after it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from parity_tests.report.output_file import fault_of, write_atomically


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


def test_a_text_is_written_as_utf_8(tmp_path: Path) -> None:
    """Whatever the locale is."""
    write_atomically(tmp_path / "r.html", "√\n")
    assert (tmp_path / "r.html").read_bytes() == b"\xe2\x88\x9a\n"
