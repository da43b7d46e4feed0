"""Keras's fraud network from raw rows to decisions, and Keras's files, without TensorFlow."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from torch_impl.base.processes import processes
from torch_impl.commands import convert, evaluate, export, score, threshold, train
from torch_impl.commands.launched import joined

_COMMANDS = (train, score, evaluate, threshold, export, convert)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} ({self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; 0 if it was done, 2 with one line on standard error if not."""
    parser = _Parser(prog="python -m torch_impl", description=__doc__)
    parser.set_defaults(shares_out=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_to(commands)
    options = parser.parse_args(arguments)
    with joined() as tells:
        fault = _fault(options)
        if fault is not None and tells():
            line = " ".join(fault.split())
            print(f"error: {''.join(c if c.isprintable() else '?' for c in line)}", file=sys.stderr)
    return 0 if fault is None else 2


def _fault(options: argparse.Namespace) -> str | None:
    """Runs the command; what went wrong, if anything did."""
    try:
        if processes().count > 1 and not options.shares_out:
            raise ValueError("only train and score share out their work; expected one process")
        options.run(options)
    except OSError as error:
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except ValueError as error:
        return str(error)
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed: pip install {error.name}"
    except KeyboardInterrupt as stop:
        return str(stop) or "stopped"
    return None


if __name__ == "__main__":
    sys.exit(main())
