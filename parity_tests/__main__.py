"""`python -m parity_tests`: proves that the two models are the same, and prints the report."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from parity_tests.report import origin
from parity_tests.report.output_file import fault_of, write_atomically

if TYPE_CHECKING:
    from parity_tests.reference.keras_process import KerasProcess

EPILOG = """\
exit status: 0 if every stage agrees, 1 if one differs, 2 for bad input

examples:
  python -m parity_tests                              synthetic data, full size
  python -m parity_tests --csv creditcard.csv         CSV, .gz, .zip or .parquet
  python -m parity_tests --download                   the tutorial's own file (151 MB, cached)
  python -m parity_tests --epochs 100                 the tutorial's whole training
  python -m parity_tests --json report.json           the same as data
  python -m parity_tests --html report.html           the same as a page with plots
  python -m parity_tests --model my.keras --csv my.csv --label Class
                                                      a model and table of your own
"""

_EXPORTS = ("onnx", "onnxscript", "onnxruntime")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line; exits with status 2 and one line if it is wrong."""
    parser = _Parser(
        prog="python -m parity_tests",
        description="Runs the fraud model in Keras and in PyTorch and compares them by stage.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--csv", metavar="FILE", help="read this file instead of synthetic rows")
    source.add_argument("--download", action="store_true", help="fetch the tutorial's file")
    parser.add_argument(
        "--model", metavar="FILE",
        help="compare this model instead of the tutorial's: any Keras file of a chain of layers; "
        "without --csv on drawn rows, extremes among them",
    )  # fmt: skip
    parser.add_argument(
        "--label", metavar="NAME", help="with --model: the column that is none of its inputs"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the report as JSON too")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write it as a page with plots")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the synthetic rows, the splits and the weights, 0 to 2**32 - 1 (default 0)",
    )
    parser.add_argument(
        "--epochs", type=int, default=2, help="of fit, in all three runs of it (default 2)"
    )
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs {options.epochs}: expected at least 1")
    if not 0 <= options.seed < 2**32:
        parser.error(f"--seed {options.seed}: expected 0 to 2**32 - 1")
    for option in ("csv", "model"):
        if getattr(options, option) == "":
            parser.error(f"--{option}: came empty; expected the name of a file")
    if options.label and not (options.model and options.csv):
        parser.error(f"--label {options.label}: needs --model and --csv")
    if options.model and options.download:
        parser.error("--download: not allowed with --model, which takes any --csv")
    for option, path in (("--json", options.json), ("--html", options.html)):
        # The run takes a minute or more; what cannot be written is said before it.
        if path is not None and (fault := fault_of(path)):
            parser.error(f"{option} {path}: {fault}")
    if options.html and find_spec("matplotlib") is None:
        parser.error("--html needs matplotlib, which is not installed: pip install -e '.[keras]'")
    missing = [name for name in _EXPORTS if find_spec(name) is None]
    if missing and not options.model:
        parser.error(f"{missing[0]} is not installed; the report needs: pip install -e '.[keras]'")
    options.command = origin.command_line(sys.argv[1:] if arguments is None else arguments)
    return options


class _Work(NamedTuple):
    """What is compared, and what is told of it."""

    comparison: Any
    data: dict[str, Any]
    """For the table and the JSON."""
    told: dict[str, str]
    """For the page."""


def run(options: argparse.Namespace) -> int:
    """Runs every stage and returns the exit status."""
    from tqdm import tqdm

    from parity_tests.reference.keras_process import KerasProcess

    rows = _own_rows(options) if options.model else _rows(options)
    with KerasProcess() as keras:
        started = keras.start()  # TensorFlow loads while the rows are prepared

        from parity_tests.report.table import as_json, print_report

        work = (_own if options.model else _tutorials)(options, keras, *rows)
        versions = {**origin.versions(), **keras.wait(started)}
        results = []
        with tqdm(
            list(work.comparison.steps()), unit="stage", disable=None, leave=False
        ) as progress:
            for step in progress:
                progress.set_description(step.name)
                results += step.run()
        if options.html:
            from parity_tests.report.evidence import gather
            from parity_tests.report.page.page import page

            evidence = None if options.model else gather(work.comparison)
            known = origin.Origin(options.command, work.told, versions, origin.machine())
            write_atomically(options.html, page(results, evidence, known))
    if options.json:
        write_atomically(
            options.json, json.dumps(as_json(results, work.data, versions), indent=2) + "\n"
        )
    print_report(results, work.data, versions)
    return 0 if all(result.agree for result in results) else 1


def _tutorials(options: argparse.Namespace, keras: KerasProcess, frame: Any, source: str) -> _Work:
    """The tutorial's network on its rows."""
    import data
    from parity_tests.report.stages import Comparison

    prepared = data.prepare(frame, seed=options.seed)
    comparison = Comparison(
        prepared, keras, options.seed, options.epochs, trace=options.html is not None
    )
    counts = {"source": source, "rows": len(frame), "positives": prepared.positives}
    told = {
        "source": source,
        "rows": f"{len(frame):,}",
        "positives": f"{prepared.positives:,}",
        "SHA-256 of the values": origin.fingerprint(frame),
        "seed": str(options.seed),
        "epochs of fit": str(options.epochs),
    }
    return _Work(comparison, counts, told)


def _own(options: argparse.Namespace, keras: KerasProcess, rows: Any, labels: Any) -> _Work:
    """A model of somebody's own, on their rows or on drawn ones."""
    import data
    from parity_tests.report.own_stages import OwnComparison

    try:
        comparison = OwnComparison(options.model, keras, rows, labels, options.seed, options.epochs)
    except ValueError as error:
        raise data.DataError(str(error)) from None
    came = "drawn rows" if rows is None else options.csv
    source, count = f"{options.model} on {came}", len(comparison.features)
    notes = list(comparison.notes)
    if rows is not None and len(rows) > count:
        notes.append(f"the first {count:,} of {len(rows):,} rows are compared")
    told = {"source": source, "rows": f"{count:,}", "seed": str(options.seed)}
    told |= {f"note {i}": note for i, note in enumerate(notes, 1)}
    return _Work(comparison, {"source": source, "rows": count, "notes": notes}, told)


def _own_rows(options: argparse.Namespace) -> tuple[Any, Any]:
    import data

    if not Path(options.model).exists():
        raise FileNotFoundError(f"{options.model}: does not exist; expected a model's file")
    if options.csv is None:
        return None, None
    rows, labels = data.load_table(options.csv, options.label)
    return rows.astype("float32"), labels


def _rows(options: argparse.Namespace) -> tuple[Any, str]:
    import data

    if options.csv is not None:
        return data.load(options.csv), str(options.csv)
    if options.download:
        path = data.download()
        return data.load(path), str(path)
    return data.synthetic(seed=options.seed), f"synthetic (seed {options.seed})"


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = parse_arguments(arguments)
    try:
        from data import DataError
    except ModuleNotFoundError as error:
        print(
            f"{error.name} is not installed; the report needs: pip install -e '.[keras]'",
            file=sys.stderr,
        )
        return 2
    from parity_tests.reference.keras_process import KerasUnavailableError

    try:
        return run(options)
    except (DataError, KerasUnavailableError, OSError) as error:
        print(f"python -m parity_tests: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
