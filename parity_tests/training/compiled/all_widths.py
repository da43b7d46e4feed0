"""The compiled epoch for rows of 1 to 40 features, in one library that is built in a second.

Without optimisation, which changes no loop's bounds, and with a trap where an array inside the
source is indexed beyond its end.
"""

from __future__ import annotations

import ctypes
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from torch_impl.base import compiled
from torch_impl.training import native
from torch_impl.training.shares import TILE

__all__ = ["SIZES", "build_any", "library"]

SIZES = [(f, 8, "double" if f // 4 % 2 else "float") for f in range(1, 41)] + [(40, 64, "float")]
"""Features, hidden units and dtype: each remainder of features by four in both dtypes."""

_TRAPS = ("-O0", "-fsanitize=bounds", "-fsanitize-undefined-trap-on-error")
_ONE = """
#undef FEATURES
#undef HIDDEN
#undef REAL
#define FEATURES {0}
#define HIDDEN {1}
#define REAL {2}
{renamed}
namespace of_{0}_{1}_{2} {{
{source}
}}
{forgotten}
"""
_FUNCTIONS = ("epoch_sizes", "epoch_run", "epoch_help", "epoch_end")


@cache
def library() -> ctypes.CDLL:
    """All sizes; kept where the compiled epoch keeps its own builds."""
    source = native._SOURCE.read_text(encoding="utf-8")
    text = "#include <cstdint>\n" + "".join(_one(size, source) for size in SIZES)
    flags = tuple(flag for flag in compiled._FLAGS if flag != "-O3")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "all_widths.cpp"
        path.write_text(text, encoding="utf-8")
        with mock.patch.object(compiled, "_FLAGS", (*flags, *_TRAPS)):
            built = compiled.library(path, "nothing runs", TILE=TILE)
    assert built is not None
    return built


def _one(size: tuple[int, int, str], source: str) -> str:
    ending = "_".join(map(str, size))
    renamed = "\n".join(f"#define {name} {name}_{ending}" for name in _FUNCTIONS)
    forgotten = "\n".join(f"#undef {name}" for name in _FUNCTIONS)
    return _ONE.format(*size, source=source, renamed=renamed, forgotten=forgotten)


def build_any(source: Path, slower: str, **sizes: str | int) -> SimpleNamespace:
    """What `compiled.library` gives of the epoch, out of the one library."""
    size = "_".join(str(sizes[name]) for name in ("FEATURES", "HIDDEN", "REAL"))
    return SimpleNamespace(**{name: library()[f"{name}_{size}"] for name in _FUNCTIONS})
