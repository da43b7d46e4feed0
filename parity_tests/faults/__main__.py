"""`python -m parity_tests.faults`: plants faults in copies of the checkout and sees them caught.

Every fault is one small change of a text. The fast part of the suite runs in the copy until
its first failure, the likeliest files first; of a fault in the reference or in what compares with
it, the tests that ask live Keras about it. Harmless changes must not make it fail.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from parity_tests import ROOT
from parity_tests.faults.fault_table import FAULTS, HARMLESS, Change, first_tests

__all__ = ["Outcome", "StaleTableError", "main", "planted"]

_ROOMS = ("data", "keras_ref", "torch_impl", "parity_tests")
# What tests of the fast part read besides; one that is missing would fail whatever is planted.
_FILES = (
    ".ci", ".github", ".pre-commit-config.yaml", "CHANGELOG.md", "CITATION.cff", "README.md",
    "constraints.txt", "noxfile.py", "pyproject.toml",
)  # fmt: skip
_IMPORTED_ONCE = (
    "hypothesis.extra.numpy",
    "pandas",
    "pytest",
    "safetensors.torch",
    "sklearn.linear_model",
    "torch._dynamo",
    "tqdm",
)


class StaleTableError(ValueError):
    """A text of the table does not stand in its file exactly once."""


class Outcome(NamedTuple):
    """What the fast part said of one change."""

    change: Change
    caught_by: str | None
    """The first test that failed; None if all passed."""
    seconds: float


def planted(change: Change, text: str) -> str:
    """The changed text of the change's file.

    Raises:
        StaleTableError: the old text is not there once, or the change changes nothing.
    """
    count = text.count(change.old)
    if count != 1 or change.old == change.new:
        raise StaleTableError(
            f"{change.name!r}: the old text stands {count} times in {change.file}; expected once"
        )
    return text.replace(change.old, change.new)


def _copy_with(change: Change, folder: Path) -> None:
    for name in (*_ROOMS, *_FILES):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
    target = folder / change.file
    target.write_text(planted(change, target.read_text(encoding="utf-8")), encoding="utf-8")


def _run_tests(folder: Path, likely: list[str], live: bool) -> None:
    """In a process of its own: the likely files, then the rest, until a test fails."""
    import pytest

    # The copy's rooms are imported, not the checkout's.
    for name in [name for name in sys.modules if name.partition(".")[0] in _ROOMS]:
        del sys.modules[name]
    sys.path[:] = [str(folder), *(p for p in sys.path if p and Path(p).resolve() != ROOT)]
    # Compiled epochs of faulty sources are kept out of the user's cache, and one thread each
    # keeps two runs at a time from waiting for each other.
    os.environ |= {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder.parent)}
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    os.chdir(folder)
    common = ["-x", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
    if live:
        pytest.main([*common, *likely])
        return
    common.append("--fast")
    # A process of its own for the likely ones, so that the rest need not be collected before.
    process = os.fork()
    if not process:
        status = pytest.main([*common, *likely])
        sys.stdout.flush()
        os._exit(status)
    _, status = os.waitpid(process, 0)
    if os.waitstatus_to_exitcode(status) == pytest.ExitCode.OK:
        # The tables of texts are stale in a changed copy, each by its own test.
        stale = ["parity_tests/faults/test_faults.py", "parity_tests/faults/test_mutants.py"]
        whole = [*(name for name in likely if "::" not in name), *stale]
        pytest.main([*common, *(f"--ignore={name}" for name in whole)])


def _started(change: Change, folder: Path) -> int:
    """Forks, so that the packages are imported once for all changes; gives the process."""
    folder.mkdir()
    _copy_with(change, folder)
    process = os.fork()
    if process:
        return process
    try:
        out = os.open(folder / "said.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.dup2(out, 2)
        _run_tests(folder, first_tests(change), change.live)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _first_failure(said: str, runs: int = 2) -> str | None:
    failed = re.search(r"^(?:FAILED|ERROR) parity_tests/(.*?)(?: - .*)?$", said, re.M)
    if failed is None and len(re.findall(r"^\d+ passed", said, re.M)) != runs:
        raise RuntimeError(f"pytest said neither yes nor no:\n{said}")
    return failed[1] if failed else None


def try_all(changes: Sequence[Change], workers: int) -> Iterator[Outcome]:
    """Each change's outcome as it comes, several at a time."""
    if len(changes) > 1:  # one alone imports what it needs
        for package in _IMPORTED_ONCE:
            importlib.import_module(package)
    waiting, running = list(enumerate(changes)), {}
    with tempfile.TemporaryDirectory() as scratch:
        while waiting or running:
            while waiting and len(running) < workers:
                number, change = waiting.pop(0)
                folder = Path(scratch) / str(number)
                running[_started(change, folder)] = (change, folder, time.perf_counter())
            process, _ = os.wait()
            change, folder, began = running.pop(process)
            said = (folder / "said.txt").read_text(encoding="utf-8")
            failure = _first_failure(said, 1 if change.live else 2)
            yield Outcome(change, failure, time.perf_counter() - began)
            shutil.rmtree(folder)


def _table(title: str, outcomes: list[Outcome], good: str, bad: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("change", "caught by", "s", ""):
        table.add_column(column, overflow="fold")
    for change, caught, seconds in outcomes:
        right = (caught is not None) == (good == "caught")
        verdict = f"[green]{good}[/]" if right else f"[red]{bad}[/]"
        table.add_row(change.name, escape(caught or "—"), f"{seconds:.0f}", verdict)
    return table


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 if every fault is caught and no harmless change is, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m parity_tests.faults", description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", help="whose name contains this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the tables as data")
    parser.add_argument("--workers", type=int, default=2, help="at a time (default: 2)")
    options = parser.parse_args(arguments)
    console = Console()

    def chosen(changes: tuple[Change, ...]) -> list[Change]:
        wanted = options.only
        return [c for c in changes if not wanted or any(name in c.name for name in wanted)]

    faults, harmless = chosen(FAULTS), chosen(HARMLESS)
    if not faults and not harmless:
        print(f"no change is called {options.only}", file=sys.stderr)
        return 2
    began = time.perf_counter()
    came: list[Outcome] = []
    try:
        for change in (*faults, *harmless):
            planted(change, (ROOT / change.file).read_text(encoding="utf-8"))
        for outcome in try_all((*faults, *harmless), options.workers):
            came.append(outcome)
            line = f"{outcome.change.name}: {outcome.caught_by or '—'}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    except StaleTableError as error:
        print(f"the table is stale: {error}", file=sys.stderr)
        return 2
    found = [outcome for outcome in came if outcome.change in faults]
    spared = [outcome for outcome in came if outcome.change in harmless]
    missed = [o.change.name for o in found if o.caught_by is None]
    disturbed = [o.change.name for o in spared if o.caught_by is not None]
    if found:
        console.print(_table("Faults", found, "caught", "MISSED"))
    if spared:
        console.print(_table("Harmless changes", spared, "passed", "DISTURBED"))
    seconds = time.perf_counter() - began
    console.print(
        f"{len(found) - len(missed)} of {len(found)} faults caught, "
        f"{len(spared) - len(disturbed)} of {len(spared)} harmless changes passed, {seconds:.0f} s"
    )
    if options.json:
        rows = [
            {"change": o.change.name, "caught_by": o.caught_by, "seconds": round(o.seconds, 1)}
            for o in came
        ]
        report = {"missed": missed, "disturbed": disturbed, "seconds": seconds, "changes": rows}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if missed or disturbed else 0


if __name__ == "__main__":
    sys.exit(main())
