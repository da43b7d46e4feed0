"""`python -m parity_tests.faults.mutants`: how many small changes the suite would notice.

mutmut (configured in pyproject.toml) makes the changes, in torch_impl and in what judges it, and
runs the tests that reach them. This prints its results by file, and compares the survivors with
the explained ones in survivors.json.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from parity_tests import ROOT

__all__ = [
    "Mutant", "Result", "explained", "main", "stands_in_source", "status_of", "table",
    "unexplained",
]  # fmt: skip

LIST = Path(__file__).with_name("survivors.json")
CAUGHT = ("killed", "caught by type check", "segfault", "timeout")
_NOT_RUN = 255
"""The mutant's process failed before its tests did, which mutmut tells as a timeout."""
_COLUMNS = (*CAUGHT, "survived", "no tests")


class Mutant(NamedTuple):
    """One small change, named by its text: mutmut's own numbers move with every edit."""

    file: str
    function: str
    """`name`, or `Class.name` of a method."""
    old: str
    new: str


class Result(NamedTuple):
    """What became of a mutant."""

    name: str
    """mutmut's, for `mutmut show`."""
    file: str
    status: str


def results() -> list[Result]:
    """Of the last runs of mutmut in this checkout, as they lie in `mutants/`."""
    from mutmut.stats import status_by_exit_code

    found = []
    for path in sorted((ROOT / "mutants").rglob("*.py.meta")):
        file = path.relative_to(ROOT / "mutants").as_posix().removesuffix(".meta")
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        found += [
            Result(name, file, status_of(code, status_by_exit_code)) for name, code in codes.items()
        ]
    return found


def status_of(code: int | None, told: Mapping[int | None, str]) -> str:
    """What became of a mutant whose process ended so, where mutmut tells it right."""
    return "not run" if code == _NOT_RUN else told[code]


def change_of(result: Result) -> Mutant:
    """The change's text, from mutmut's own difference."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    function, owner = orig_function_and_class_names_from_key(result.name)
    lines = get_diff_for_mutant(result.name, path=result.file).split("\n")[2:]
    old, new = (
        "\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    return Mutant(result.file, f"{owner}.{function}" if owner else function, old, new)


def explained(path: Path = LIST) -> dict[Mutant, str]:
    """The survivors that are known, and why nothing kills them."""
    return {
        Mutant(**mutant): entry["why"]
        for entry in json.loads(path.read_text(encoding="utf-8"))
        for mutant in entry["mutants"]
    }


def _functions(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", inner) for name, inner in _functions(node))
        elif isinstance(node, ast.FunctionDef):
            yield node.name, node


@cache
def _texts(path: Path) -> dict[str, list[str]]:
    """What each function of a file says, by its name, without indentation."""
    if not path.exists():
        return {}
    source = path.read_text(encoding="utf-8")
    lines = source.split("\n")
    texts: dict[str, list[str]] = {}
    for name, node in _functions(ast.parse(source)):
        text = "\n".join(line.strip() for line in lines[node.lineno - 1 : node.end_lineno])
        texts.setdefault(name, []).append(text)
    return texts


def stands_in_source(mutant: Mutant, root: Path = ROOT) -> bool:
    """Whether the function still has the text that the mutant changes."""
    return any(mutant.old in text for text in _texts(root / mutant.file).get(mutant.function, []))


def unexplained(survivors: Sequence[Mutant], known: dict[Mutant, str]) -> list[Mutant]:
    """Survivors that no entry of the list explains."""
    return [mutant for mutant in survivors if mutant not in known]


def table(found: Sequence[Result]) -> Table:
    """Counts by file, and the score: the share of mutants that something noticed."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("file")
    for heading in ("mutants", *_COLUMNS, "other", "score"):
        shown.add_column(heading.replace("caught by type check", "types"), justify="right")
    files = sorted({result.file for result in found})
    for title, part in [
        *((file, [r for r in found if r.file == file]) for file in files),
        ("all", list(found)),
    ]:
        counts = Counter(result.status for result in part)
        caught = sum(counts[status] for status in CAUGHT)
        other = len(part) - sum(counts[status] for status in _COLUMNS)
        shown.add_row(
            title, str(len(part)), *(str(counts[status]) for status in _COLUMNS), str(other),
            f"{100 * caught / len(part):.1f} %",
        )  # fmt: skip
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs mutmut and prints the table; 1 if a survivor is not explained."""
    parser = argparse.ArgumentParser(
        prog="python -m parity_tests.faults.mutants", description=__doc__
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help="mutants to run anew, such as 'torch_impl.model.*'; if none, all without a result",
    )  # fmt: skip
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--no-run", action="store_true", help="only tell the last results")
    parser.add_argument("--json", action="store_true", help="print the survivors as JSON")
    options = parser.parse_args(arguments)
    os.chdir(ROOT)  # where mutmut looks for its configuration
    if not options.no_run:
        command = ["mutmut", "run", "--max-children", str(options.processes), *options.names]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        status = subprocess.run(command, env=environment).returncode
        if status:
            return status
    found = [result for result in results() if result.status != "not checked"]
    if not found:
        print("error: mutants/: no results; expected a run of mutmut", file=sys.stderr)
        return 2
    survivors = [change_of(r) for r in found if r.status not in CAUGHT]
    new = unexplained(survivors, explained())
    if options.json:
        print(json.dumps([mutant._asdict() for mutant in new], indent=1, ensure_ascii=False))
        return int(bool(new))
    Console(width=140).print(table(found))
    for mutant in new:
        print(f"not explained: {mutant.file}: {mutant.function}")
        print(*(f"- {line}" for line in mutant.old.split("\n")), sep="\n")
        print(*(f"+ {line}" for line in mutant.new.split("\n")), sep="\n")
    print(f"{len(survivors)} survivors, {len(new)} of them not explained in {LIST.name}")
    return int(bool(new))


if __name__ == "__main__":
    sys.exit(main())
