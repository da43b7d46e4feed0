"""A compiled library is built once, kept safely, and never another."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parity_tests.sides.compiler import needs_compiler
from torch_impl.base import compiled
from torch_impl.training import native

pytestmark = needs_compiler


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A compiler that writes down how it was called; what it builds is not loaded."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> None:
        commands.append(command)
        Path(command[command.index("-o") + 1]).write_bytes(b"built")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(ctypes, "CDLL", Path)
    return commands


Size = tuple[int, int, str]
FIRST: Size = (5, 8, "float")


def build(size: Size = FIRST, source: Path | None = None) -> Any:
    """The epoch's library, as if nothing had been asked for in this process."""
    sizes = dict(zip(("FEATURES", "HIDDEN", "REAL"), size, strict=True))
    return compiled.library.__wrapped__(source or native._SOURCE, "fit is slow", **sizes)


def _another_header(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    shutil.copytree(compiled._HEADERS, folder / "base")
    with (folder / "base" / "network.h").open("a") as header:
        header.write(" ")
    monkeypatch.setattr(compiled, "_HEADERS", folder / "base")


OTHERS: dict[str, Callable[[pytest.MonkeyPatch, Path], object]] = {
    "features": lambda _m, _p: {"size": (6, 8, "float")},
    "hidden-units": lambda _m, _p: {"size": (5, 16, "float")},
    "features-and-units-swapped": lambda _m, _p: {"size": (8, 5, "float")},
    "dtype": lambda _m, _p: {"size": (5, 8, "double")},
    "flags": lambda m, _: m.setattr(compiled, "_FLAGS", (*compiled._FLAGS, "-g")),
    "compiler": lambda m, _: m.setenv("CXX", "another"),
    "processor": lambda m, _: m.setattr(compiled, "_processor", lambda: "another"),
    "source": lambda _, folder: {"source": folder / "native_epoch.cpp"},
    "header": _another_header,
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_build_is_used_again_for_the_same_and_nothing_else(
    what: str, compiler: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Macros, flags, compiler, processor and every byte of source and headers name it."""
    (tmp_path / "native_epoch.cpp").write_bytes(native._SOURCE.read_bytes() + b" ")
    first = build()
    assert build() == first
    assert len(compiler) == 1
    other = OTHERS[what](monkeypatch, tmp_path)
    options = other if isinstance(other, dict) else {}
    second = build(**options)
    assert second != first
    assert len(compiler) == 2
    size, source = options.get("size", FIRST), options.get("source", native._SOURCE)
    defined = dict(part[2:].split("=") for part in compiler[1] if part.startswith("-D"))
    assert defined == dict(zip(("FEATURES", "HIDDEN", "REAL"), map(str, size), strict=True))
    assert {*compiled._FLAGS, str(source), f"-I{compiled._HEADERS}"} < set(compiler[1])
    assert sorted((tmp_path / "torch_impl").iterdir()) == sorted([first, second])
    assert [path.read_bytes() for path in (first, second)] == [b"built"] * 2


@pytest.mark.parametrize("damage", [b"", b"buil", b"bu1lt", b"built and more"])
def test_a_damaged_build_is_made_again(
    damage: bytes, compiler: list[list[str]], tmp_path: Path
) -> None:
    """Cut short or altered, it is never loaded: its name tells what must be in it."""
    first = build()
    first.write_bytes(damage)
    assert build() == first
    assert first.read_bytes() == b"built"
    assert len(compiler) == 2
    assert list((tmp_path / "torch_impl").iterdir()) == [first]


def _link(cache: Path) -> None:
    (cache / "elsewhere").mkdir()
    (cache / "torch_impl").symlink_to(cache / "elsewhere")


FOLDERS: dict[str, Callable[[pytest.MonkeyPatch, Path], object]] = {
    "writable-by-a-group": lambda _, cache: (cache / "torch_impl").mkdir() or os.chmod(
        cache / "torch_impl", 0o770
    ),
    "writable-by-all": lambda _, cache: (cache / "torch_impl").mkdir() or os.chmod(
        cache / "torch_impl", 0o707
    ),
    "a-link": lambda _, cache: _link(cache),
    "a-file": lambda _, cache: (cache / "torch_impl").write_text(""),
    "another-user's": lambda m, _: m.setattr(os, "geteuid", lambda: 12345),
    "no-home": lambda m, _: (
        m.delenv("XDG_CACHE_HOME"), m.setattr(Path, "home", _no_home),
    ),
}  # fmt: skip


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("case", FOLDERS)
def test_builds_are_kept_where_nobody_else_can_write(
    case: str, compiler: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere they would be someone else's code; a process has a folder of its own then."""
    FOLDERS[case](monkeypatch, tmp_path)
    compiled._own_folder.cache_clear()
    built = build()
    assert tmp_path / "torch_impl" not in built.parents
    assert built.parent == Path(compiled._own_folder().name)
    assert stat.S_IMODE(built.parent.stat().st_mode) == 0o700
    compiled._own_folder().cleanup()
    compiled._own_folder.cache_clear()
