"""Which tests run: what is installed decides, and what is left out is counted and said.

One mechanism for all tests, so that none has to skip itself. A test needs Keras if it uses
the `keras` fixture or has the marker `keras`; a file needs the packages that it imports.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from functools import cache
from pathlib import Path

from parity_tests import ROOT
from parity_tests.reference.keras_process import PYTHON
from parity_tests.reference.markers import reference
from parity_tests.reference.recording_file import FOLDER, read_index

__all__ = ["absent", "device_fault", "keras_line", "needed_packages", "needs_keras", "unasked"]

_ROOMS = {"data", "keras_ref", "torch_impl", "parity_tests"}


def absent(packages: Set[str]) -> set[str]:
    """Which of the packages are not installed; nothing is imported."""

    def is_there(name: str) -> bool:
        try:
            return importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            return False

    return {name for name in packages if not is_there(name)}


def needs_keras(fixtures: list[str], markers: set[str]) -> bool:
    """Whether a test asks the live reference, itself or through a fixture of its own."""
    return "keras" in fixtures or "keras" in markers


@cache
def needed_packages(path: Path, within: bool = False) -> frozenset[str]:
    """The installed packages that importing a file of the checkout imports.

    Follows imports of this checkout's own files. An import within a function counts in a test
    file alone, whose functions are run.

    Args:
        path: of the file.
        within: whether imports within functions count everywhere.
    """
    found: set[str] = set()
    waiting = {str(path)}
    seen = set(waiting)
    while waiting:
        file = waiting.pop()
        packages, own = _imports(file, within or Path(file).name.startswith("test_"))
        found |= packages
        waiting |= own - seen
        seen |= own
    return frozenset(found)


@cache
def _imports(file: str, within: bool) -> tuple[Set[str], Set[str]]:
    """The installed packages, and the files of the checkout, that a file's own imports name."""
    module = ast.parse(Path(file).read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(module) if within else module.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    split = {tuple(name.split(".")) for name in names}
    own = {
        f"{ROOT}/{'/'.join(parts[:end])}{ending}"
        for parts in split
        if parts[0] in _ROOMS
        for end in range(1, len(parts) + 1)
        for ending in ("/__init__.py", ".py")
    }
    packages = {parts[0] for parts in split} - _ROOMS - sys.stdlib_module_names
    return packages, set(filter(os.path.isfile, own))


def keras_line(recorded: bool) -> str:
    """What the suite's header says of the reference."""
    missing = reference().missing
    if not (missing or recorded):
        return f"Keras: live {reference()}"
    versions = read_index(FOLDER)["versions"]
    reason = f"{' and '.join(missing)} not installed" if missing else "--recorded"
    return (
        f"Keras: recorded by keras {versions['keras']} / tensorflow "
        f"{versions.get('tensorflow', '-')} ({reason})"
    )


def unasked(asked: int, whole: bool, left_out: Mapping[str, int]) -> str | None:
    """Why a run that had to ask live Keras did not, in one line; None if it did.

    What is installed is looked up here and nowhere else: who decides what is left out may err.

    Args:
        asked: how many tests that ask live Keras were run.
        whole: whether the run was of the whole suite.
        left_out: how many tests were not run, by reason.
    """
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if not os.environ.get(PYTHON) and absent({"keras", backend}):
        return None
    lost = sum(n for reason, n in left_out.items() if "no live Keras" in reason)
    if lost:
        return f"live Keras is installed, and {lost} tests that ask it were left out"
    if whole and not asked:
        return "live Keras is installed, and no test asked it"
    return None


def device_fault(name: str) -> str | None:
    """Why the torch side cannot run on a device, in one line; None if it can."""
    import torch  # here, so that a process that only hands out tests is spared a second

    try:
        with torch.no_grad():
            works = torch.ones(2, device=name).sum().item() == 2
    except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return f"--device {name}: torch {torch.__version__} cannot compute there ({reason})"
    return None if works else f"--device {name}: torch computes nonsense there"


class LeftOut:
    """Counts what a run leaves out, by reason."""

    def __init__(self) -> None:
        self.tests: Counter[str] = Counter()
        self.files: Counter[str] = Counter()
        self.not_applicable: Counter[str] = Counter()
        """Those of the tests that are nothing to the reference asked."""

    def __iter__(self) -> Iterator[Counter[str]]:
        return iter((self.tests, self.files, self.not_applicable))

    def lines(self) -> list[str]:
        """For the summary."""
        return [
            f"{count} {kind}{'s' if count > 1 else ''} not {verb}: {reason}"
            for counts, kind, verb in (
                (self.tests, "test", "run"),
                (self.files, "file", "collected"),
            )
            for reason, count in sorted(counts.items())
        ]
