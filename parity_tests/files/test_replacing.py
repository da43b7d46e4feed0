"""A file is replaced in one piece, and nothing else is touched."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import pytest

from torch_impl.base.replacing import replace_file


def refuse(*_: object, **__: object) -> NoReturn:
    raise PermissionError(13, "Permission denied")


def test_where_writing_fails_the_old_file_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no scrap beside it, at whatever point it fails."""
    path = tmp_path / "r"
    replace_file(path, b"old")
    for place in ((os, "replace"), (os, "fsync"), (os, "chmod"), (tempfile, "mkstemp")):
        with monkeypatch.context() as patch:
            patch.setattr(*place, refuse)
            with pytest.raises(PermissionError, match="Permission denied"):
                replace_file(path, b"new")
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["r"]


def test_a_new_file_has_the_mode_of_any_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    """A temporary file's own mode would hide it from everyone else, or show what was hidden."""
    (tmp_path / "plain").write_text("x")
    replace_file(tmp_path / "new", b"x")
    modes = {(tmp_path / name).stat().st_mode for name in ("plain", "new")}
    assert len(modes) == 1
    for mode in (0o600, 0o640):
        (tmp_path / "new").chmod(mode)
        replace_file(tmp_path / "new", b"y")
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode


def test_a_link_stays_one(tmp_path: Path) -> None:
    """What it leads to is replaced, in the folder where that is."""
    (tmp_path / "kept").mkdir()
    link, target = tmp_path / "link", tmp_path / "kept" / "target"
    target.write_bytes(b"old")
    link.symlink_to(target)
    replace_file(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_nobody_can_lay_a_link_where_the_new_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is a fresh one each time, in the same folder, and known for what it is."""
    names: list[str] = []
    replace = os.replace

    def move(part: str, target: Path) -> None:
        names.append(str(Path(part).relative_to(tmp_path)))
        replace(part, target)

    monkeypatch.setattr(os, "replace", move)
    (tmp_path / "mine").write_text("mine")
    for name in ("r", "r.part", ".r.part"):
        (tmp_path / name).symlink_to(tmp_path / "mine")
    (tmp_path / "r").unlink()
    for content in (b"a", b"b"):
        replace_file(tmp_path / "r", content)
    assert (tmp_path / "mine").read_text() == "mine"
    assert len(set(names)) == 2
    assert all(name.startswith(".r.") and name.endswith(".part") for name in names)


def test_a_file_in_no_folder_is_refused_by_the_folders_name(tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(NotADirectoryError, match="is not a folder") as caught:
        replace_file(tmp_path / "absent" / "r", b"")
    assert caught.value.filename == str(tmp_path / "absent")


@pytest.mark.parametrize("flushes", [True, False], ids=["flushed", "no-flush-of-folders"])
def test_a_file_is_on_the_disk_before_it_is_moved_and_then_the_move_is(
    flushes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power cut would leave a file without its content; some systems flush no folder."""
    seen: list[Any] = []
    replace = os.replace

    def flush(descriptor: int) -> None:
        status = os.fstat(descriptor)
        folder = stat.S_ISDIR(status.st_mode)
        seen.append("folder" if folder else (status.st_ino, status.st_size))
        if folder and not flushes:
            raise OSError(errno.EINVAL, "no flush")

    def move(part: str, target: Path) -> None:
        seen.append("moved")
        replace(part, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", move)
    path = tmp_path / "x"
    replace_file(path, b"12345")
    assert path.read_bytes() == b"12345"
    assert seen == [(path.stat().st_ino, 5), "moved", "folder"]
