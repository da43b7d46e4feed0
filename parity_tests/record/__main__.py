"""`python -m parity_tests.record`: asks Keras every recorded case and replaces the recordings."""

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
    folder = parser.parse_args(arguments).to
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


if __name__ == "__main__":
    sys.exit(main())
