"""C++ of this package, built by the system's compiler at first use and kept.

What several sources share stands in the headers beside this file, `philox.h`, `network.h` and
`scaling.h`. Sources spare the standard library's own headers, which take longer to read than all
else takes to compile.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import stat
import subprocess
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

__all__ = ["library", "pointer"]

_HEADERS = Path(__file__).parent

# Never -ffast-math: it reorders sums and drops NaN. The last two only forget errno and
# floating-point traps, without which the loops do not vectorise.
_FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-shared", "-fPIC",
    "-fno-math-errno", "-fno-trapping-math",
)  # fmt: skip


@cache
def library(source: Path, slower: str, **defines: str | int) -> ctypes.CDLL | None:
    """A C++ source, compiled and loaded.

    Args:
        source: the file.
        slower: what runs in its place where no compiler is, for the warning.
        **defines: its macros.

    Returns:
        The library, whose functions let other threads run; None, with one warning in a process,
        where none can be built.
    """
    shape = [f"-D{name}={value}" for name, value in defines.items()]
    command = [os.environ.get("CXX", "c++"), *_FLAGS, *shape]
    try:
        read = [path.read_bytes() for path in (source, *sorted(_HEADERS.glob("*.h")))]
        key = hashlib.sha256(repr((read, command, _processor())).encode()).hexdigest()[:16]
        folder, stem = _cache_folder(), f"{source.stem}-{key}"
        return ctypes.CDLL(str(_kept(folder, stem) or _compiled(command, source, folder, stem)))
    except (OSError, subprocess.CalledProcessError) as error:
        _warn_once(command[0], type(error).__name__, slower)
        return None


def pointer(array: NDArray[Any] | Tensor | None) -> ctypes.c_void_p | None:
    """Where the numbers of a contiguous array or tensor begin; a null pointer for none.

    Whoever calls keeps it alive for as long as it is used.
    """
    if array is None:
        return None
    if isinstance(array, Tensor):
        assert array.is_contiguous()
        return ctypes.c_void_p(array.data_ptr())
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


_told: set[tuple[str, str]] = set()


def _warn_once(compiler: str, reason: str, slower: str) -> None:
    if (compiler, reason) not in _told:
        _told.add((compiler, reason))
        warnings.warn(
            f"{slower}: the compiled one could not be built with {compiler!r} ({reason}), nor will "
            "be what else is compiled; install a C++ compiler or set CXX",
            RuntimeWarning,
            stacklevel=4,
        )


def _kept(folder: Path, stem: str) -> Path | None:
    """A build whose content is the one that its name tells; others are taken away."""
    for path in folder.glob(f"{stem}-*.so"):
        if path.name == _name(stem, path.read_bytes()):
            return path
        path.unlink(missing_ok=True)
    return None


def _compiled(command: list[str], source: Path, folder: Path, stem: str) -> Path:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        built = Path(scratch) / "built.so"
        whole = [*command, f"-I{_HEADERS}", str(source), "-o", str(built)]
        subprocess.run(whole, check=True, capture_output=True)
        target = folder / _name(stem, built.read_bytes())
        built.replace(target)  # atomically: another process may be building it too
    return target


def _name(stem: str, content: bytes) -> str:
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}.so"


def _cache_folder() -> Path:
    """The user's cache if nobody else can write there, or a folder of this process alone."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch_impl"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.lstat()
        ours = not hasattr(os, "geteuid") or (
            status.st_uid == os.geteuid() and not status.st_mode & 0o022
        )
        if ours and stat.S_ISDIR(status.st_mode) and os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # no home folder, or one that takes nothing
        pass
    return Path(_own_folder().name)


@cache
def _own_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="torch_impl-")


def _processor() -> str:
    """What -march=native depends on: a home folder may be shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    kinds = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return "".join(sorted(kinds))
