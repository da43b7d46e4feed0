"""`python -m parity_tests.bench`: torch_impl beside what people would use in its place.

Medians of rounds in one run, in which all take turns, each in a process of its own: a ratio is
worth more than a time. `× ours` says how many times as long as torch_impl the others take.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from parity_tests.bench import epochs, rows, whole
from parity_tests.bench.growth import by_processes, by_rows
from parity_tests.bench.material import FULL_SIZE, Material
from parity_tests.bench.processes import Processes
from parity_tests.bench.race import Comparison, Rounds
from parity_tests.bench.table import print_comparison, print_growth, print_shared
from parity_tests.report.origin import machine
from parity_tests.report.output_file import fault_of, write_atomically

KINDS = ("epochs", "transform", "rows", "processes", "order")
AGAINST = (
    "torch_impl-eager", "keras-tensorflow", "keras-jax", "keras-torch", "pytorch-loop", "skorch",
    "lightning", "scikit-learn", "onnxruntime", "torch-export", "torch-randperm",
)  # fmt: skip
_TOLD = (
    "torch", "tensorflow", "keras", "jax", "numpy", "scikit-learn", "pandas", "onnxruntime",
    "skorch", "lightning", "torchmetrics", "pyarrow",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints the tables, and writes JSON and a page if asked to."""
    options = _parsed(arguments)
    console = Console()
    comparisons: list[Comparison] = []
    grown: list[by_rows.Grown] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        material = Material(Path(folder), options.rows)
        with Processes(dict(options.python)) as processes:
            for comparison in _compared(options, material, processes):
                comparisons.append(comparison)
                print_comparison(comparison, console)
        if options.growth:
            for one in by_rows.measure(material, options.works, options.sizes):
                grown.append(one)
            print_growth(grown, console)
        shared = by_processes.measure(material) if options.shared else None
        if shared:
            print_shared(shared, console)
    origin = machine() | {"rows": f"{options.rows:,}"} | _versions()
    if options.json:
        facts = {
            "comparisons": [comparison.facts() for comparison in comparisons],
            "growth": [one._asdict() for one in grown],
            "shared": shared.facts() if shared else None,
            "origin": origin,
        }
        write_atomically(options.json, json.dumps(facts, indent=2) + "\n")
    if options.html:
        from parity_tests.bench.page import page

        write_atomically(options.html, page(comparisons, grown, origin, shared))


def _compared(
    options: argparse.Namespace, material: Material, processes: Processes
) -> Iterator[Comparison]:
    rounds = Rounds(options.rounds, options.slow_rounds, options.against)
    for kind in options.only:
        if kind == "epochs":
            yield from epochs.compare(material, processes, rounds, options.epochs)
        elif kind == "transform":
            yield rows.compare_transform(material, processes, rounds)
        elif kind == "rows":
            yield rows.compare_probabilities(material, processes, rounds)
        elif kind == "processes":
            yield from whole.compare(material, processes, rounds, options.process_epochs)
        else:
            yield rows.compare_order(processes, rounds, options.rows)


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m parity_tests.bench", description=__doc__)
    parser.add_argument(
        "--only", nargs="*", choices=KINDS, default=KINDS, metavar="KIND",
        help=f"of {', '.join(KINDS)} (default all; none of them for growth alone)",
    )  # fmt: skip
    parser.add_argument(
        "--against", nargs="*", choices=AGAINST, metavar="WHO",
        help=f"of {', '.join(AGAINST)} (default all that are installed)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="of turns (default 5)")
    parser.add_argument(
        "--slow-rounds", type=int, default=2, help="that the slow ones take part in (default 2)"
    )
    parser.add_argument("--epochs", type=int, default=5, help="of a run (default 5)")
    parser.add_argument(
        "--process-epochs", type=int, default=100, help="of the whole process (default 100)"
    )
    parser.add_argument("--rows", type=int, default=FULL_SIZE, help=f"(default {FULL_SIZE:,})")
    parser.add_argument(
        "--growth", action="store_true", help="time and memory by number of rows too: takes long"
    )
    parser.add_argument(
        "--shared", action="store_true",
        help="training by several processes too, and what many would take",
    )  # fmt: skip
    parser.add_argument(
        "--sizes", nargs="+", type=int, default=by_rows.SIZES, metavar="ROWS",
        help="of the growth (default 10,000 to 10,000,000)",
    )  # fmt: skip
    parser.add_argument(
        "--works", nargs="+", choices=by_rows.WORKS, default=by_rows.WORKS, metavar="WORK",
        help=f"whose growth is measured, of {'; '.join(by_rows.WORKS)} (default all)",
    )  # fmt: skip
    parser.add_argument(
        "--python", action="append", default=[], type=_backend_and_path, metavar="BACKEND=PATH",
        help="Python of the environment that has Keras on tensorflow, jax or torch",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, help="where files stand meanwhile (default the system's own)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    parser.add_argument("--html", type=Path, metavar="FILE", help="and as a page")
    options = parser.parse_args(arguments)
    for name, least in (
        ("rounds", 1), ("slow_rounds", 1), ("epochs", 2), ("process_epochs", 1), ("rows", 200),
    ):  # fmt: skip
        if getattr(options, name) < least:
            option = name.replace("_", "-")
            parser.error(f"--{option} {getattr(options, name)}; expected at least {least}")
    if min(options.sizes) < 1:
        parser.error(f"--sizes {min(options.sizes)}; expected at least 1")
    if options.folder and not options.folder.is_dir():
        parser.error(f"--folder {options.folder} is not a folder")
    for option in ("json", "html"):
        path = getattr(options, option)
        if path and (fault := fault_of(path)):
            parser.error(f"--{option} {path}: {fault}")
    if options.html and find_spec("matplotlib") is None:
        parser.error("--html needs matplotlib: pip install -e '.[keras]'")
    if options.growth:
        folder = options.folder or tempfile.gettempdir()
        free, needed = (
            shutil.disk_usage(folder).free,
            by_rows.space_needed(options.works, options.sizes),
        )
        if free < needed:
            parser.error(
                f"--growth writes tables of {needed / 1e9:.1f} GB to {folder}, which has "
                f"{free / 1e9:.1f} GB left; expected --folder elsewhere, or fewer --sizes"
            )
    return options


def _backend_and_path(text: str) -> tuple[str, str]:
    backend, found, path = text.partition("=")
    if backend not in ("tensorflow", "jax", "torch") or not found or not Path(path).is_file():
        raise argparse.ArgumentTypeError(
            f"{text!r}; expected tensorflow, jax or torch, =, and the path of a Python"
        )
    return backend, path


def _versions() -> dict[str, str]:
    """Of what is installed here; other environments have their own."""
    found = {}
    for name in _TOLD:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
