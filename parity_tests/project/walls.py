"""Which room may import what, and which floor of a room which other."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

__all__ = ["ALLOWED", "FLOORS", "circle", "forbidden_imports", "imports_within", "upward_imports"]

ALLOWED = {
    "data": {
        "numpy",
        "pandas",
        "sklearn",
        "requests",
        "tqdm",
        "platformdirs",
        "pyarrow",
        "packaging",
    },
    "keras_ref": {"keras", "tensorflow", "jax", "numpy"},
    "torch_impl": {
        "torch",
        "numpy",
        "safetensors",
        "filelock",
        "tqdm",
        "h5py",
        "google_crc32c",
        "rich",
        "pyarrow",
        "onnx",
        "onnxscript",
        "matplotlib",
    },
}
"""Beside the standard library and the room itself."""

FLOORS: dict[str, Sequence[str]] = {
    "torch_impl": (
        "__init__", "__main__", "commands", "proof",
        "initializers", "layers", "losses", "schedules",
        "keras_files", "keras_files.tensorflow", "keras_files.hdf5",
        "keras_files.config", "keras_files.ledger", "keras_files.contents",
        "pages", "pipeline", "scoring", "training",
        "keras_network", "model", "features", "keras", "base",
    ),
    "parity_tests": (
        "report.command", "__main__", "conftest", "bench", "traps", "tutorial", "faults", "project",
        "versions", "fuzz", "training", "decisions", "forward", "random_numbers", "files",
        "files.hdf5", "files.tensorflow", "files.hostile", "files.committed", "rows",
        "report.page", "report", "record", "sides", "judge", "reference", "__init__",
    ),
}  # fmt: skip
"""From the top down: a floor imports its own files and those below."""


def forbidden_imports(folder: Path, allowed: set[str]) -> list[str]:
    """Imports in a room's files that cross its wall, as `file:line: module`.

    Finds `import` statements wherever they stand, and `importlib.import_module` and
    `__import__` of a written-out name.
    """
    inside = allowed | {folder.name} | set(sys.stdlib_module_names)
    found = []
    for path in sorted(folder.rglob("*.py")):
        for line, module in _imports(path):
            if module.partition(".")[0] not in inside:
                found.append(f"{path.name}:{line}: {module}")
    return found


def imports_within(folder: Path) -> dict[str, dict[str, int]]:
    """Each module of a room to those of the room that it imports, and in which line.

    Also those that are imported for type checkers alone, and within functions.
    """
    paths = {_module(path, folder): path for path in sorted(folder.rglob("*.py"))}
    found: dict[str, dict[str, int]] = {}
    for name, path in paths.items():
        own = found[name] = {}
        for line, module in _imports(path):
            room, _, inner = module.partition(".")
            while room == folder.name and inner and inner not in paths:
                inner = inner.rpartition(".")[0]
            if room == folder.name and inner != name:
                own.setdefault(inner or "__init__", line)
    return found


def upward_imports(imports: Mapping[str, Mapping[str, int]], floors: Sequence[str]) -> list[str]:
    """Imports from a floor to one above it, or to or from what stands on none, as they stand."""
    found = []
    for name, own in imports.items():
        for module, line in own.items():
            heights = [_floor(n, floors) for n in (name, module)]
            if -1 in heights or heights[1] < heights[0]:
                found.append(f"{name}:{line}: {module}")
    return found


def circle(imports: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Modules that import each other in a circle, if any do; a package's own file is none."""
    graph = {name: {m for m in own if m != "__init__"} for name, own in imports.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _floor(name: str, floors: Sequence[str]) -> int:
    while name and name not in floors:
        name = name.rpartition(".")[0]
    return floors.index(name) if name else -1


def _module(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                # A name may be a module of the package.
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
            case ast.Call(
                func=ast.Attribute(attr="import_module")
                | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield node.lineno, module
