"""Which room may import what."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

__all__ = ["ALLOWED", "forbidden_imports"]

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
    "torch_impl": {"torch", "numpy", "safetensors", "filelock", "tqdm", "h5py", "rich"},
}
"""Beside the standard library and the room itself."""


def forbidden_imports(folder: Path, allowed: set[str]) -> list[str]:
    """Imports in a room's files that cross its wall, as `file:line: module`.

    Finds `import` statements wherever they stand, and `importlib.import_module` and
    `__import__` of a written-out name.
    """
    inside = allowed | {folder.name} | set(sys.stdlib_module_names)
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for module in _imported(node):
                if module.partition(".")[0] not in inside:
                    found.append(f"{path.name}:{node.lineno}: {module}")
    return found


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module]
        case ast.Call(
            func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
            args=[ast.Constant(value=str(module)), *_],
        ):
            return [module]
    return []
