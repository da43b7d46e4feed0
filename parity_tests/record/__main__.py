"""`python -m parity_tests.record`: asks Keras every recorded case and replaces the recordings.

With `--model FILE OUT` it records the answers of a model of your own instead, for
`torch_impl.proof`.
"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

from parity_tests.record.recorded import answer_all
from parity_tests.reference.keras_process import KerasProcess, KerasUnavailableError
from parity_tests.reference.recording_file import FOLDER, write

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 once all is recorded, 2 where the reference cannot be run."""
    parser = argparse.ArgumentParser(prog="python -m parity_tests.record", description=__doc__)
    parser.add_argument("--to", type=Path, default=FOLDER, help="folder (default: %(default)s)")
    parser.add_argument("--model", metavar="FILE", help="record this Keras model, into OUT")
    parser.add_argument("--csv", metavar="FILE", help="on these rows; drawn ones without it")
    parser.add_argument("--label", metavar="NAME", help="the column of --csv that is no input")
    parser.add_argument("out", metavar="OUT", nargs="?", type=Path, help="the file of --model")
    options = parser.parse_args(arguments)
    if (options.model is None) != (options.out is None):
        parser.error("--model FILE and OUT come together")
    if options.model is not None:
        return _own(options)
    folder = options.to
    try:
        with KerasProcess() as keras:
            versions = keras.call("versions.versions")
            groups = answer_all(keras)
    except KerasUnavailableError as error:
        print(error, file=sys.stderr)
        return 2
    versions["python"], versions["processor"] = platform.python_version(), platform.machine()
    write(folder, versions, groups)
    size = sum(path.stat().st_size for path in folder.iterdir())
    count = sum(len(calls) for calls in groups.values())
    print(f"{count} calls of keras {versions['keras']} in {folder}, {size / 1000:.0f} kB")
    return 0


def _own(options: argparse.Namespace) -> int:
    """Records a model of somebody's own."""
    import data
    from parity_tests.record.own import record

    try:
        rows = None
        if options.csv is not None:
            rows = data.load_table(options.csv, options.label)[0].astype("float32")
        with KerasProcess() as keras:
            size, count = record(keras, options.model, rows, options.out)
    except (KerasUnavailableError, ValueError, OSError) as error:
        print(f"python -m parity_tests.record: {error}", file=sys.stderr)
        return 2
    print(f"{options.model}: {count:,} rows in {options.out}, {size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
