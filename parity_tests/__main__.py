"""`python -m parity_tests`: proves that the two models are the same, and prints the report."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from parity_tests.report import origin
from parity_tests.report.output_file import fault_of, write_atomically

EPILOG = """\
exit status: 0 if every stage agrees, 1 if one differs, 2 for bad input

examples:
  python -m parity_tests                              synthetic data, full size
  python -m parity_tests --csv creditcard.csv         CSV, .gz, .zip or .parquet
  python -m parity_tests --download                   the tutorial's own file (151 MB, cached)
  python -m parity_tests --epochs 100                 the tutorial's whole training
  python -m parity_tests --json report.json           the same as data
  python -m parity_tests --html report.html           the same as a page with plots
"""


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
    if options.csv == "":
        parser.error("--csv: came empty; expected the name of a file")
    for option, path in (("--json", options.json), ("--html", options.html)):
        # The run takes a minute or more; what cannot be written is said before it.
        if path is not None and (fault := fault_of(path)):
            parser.error(f"{option} {path}: {fault}")
    if options.html and find_spec("matplotlib") is None:
        parser.error("--html needs matplotlib, which is not installed: pip install -e '.[keras]'")
    options.command = origin.command_line(sys.argv[1:] if arguments is None else arguments)
    return options


def run(options: argparse.Namespace) -> int:
    """Runs every stage and returns the exit status."""
    from tqdm import tqdm

    from parity_tests.reference.keras_process import KerasProcess

    frame, source = _rows(options)
    with KerasProcess() as keras:
        started = keras.start()  # TensorFlow loads while the rows are prepared

        from data import prepare
        from parity_tests.report.stages import Comparison
        from parity_tests.report.table import as_json, print_report

        prepared = prepare(frame, seed=options.seed)
        data = {
            "source": source,
            "rows": len(frame),
            "positives": prepared.positives,
        }
        versions = {**origin.versions(), **keras.wait(started)}
        comparison = Comparison(
            prepared, keras, options.seed, options.epochs, trace=options.html is not None
        )
        results = []
        with tqdm(list(comparison.steps()), unit="stage", disable=None, leave=False) as progress:
            for step in progress:
                progress.set_description(step.name)
                results += step.run()
        if options.html:
            from parity_tests.report.evidence import gather
            from parity_tests.report.page.page import page

            told = {
                "source": source,
                "rows": f"{len(frame):,}",
                "positives": f"{prepared.positives:,}",
                "SHA-256 of the values": origin.fingerprint(frame),
                "seed": str(options.seed),
                "epochs of fit": str(options.epochs),
            }
            known = origin.Origin(options.command, told, versions, origin.machine())
            write_atomically(options.html, page(results, gather(comparison), known))
    if options.json:
        write_atomically(
            options.json, json.dumps(as_json(results, data, versions), indent=2) + "\n"
        )
    print_report(results, data, versions)
    return 0 if all(result.agree for result in results) else 1


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
