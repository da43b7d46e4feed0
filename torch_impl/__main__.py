"""Keras's fraud network from raw rows to decisions, and Keras's files, without TensorFlow."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from torch_impl.commands import convert, evaluate, export, score, threshold, train

_COMMANDS = (train, score, evaluate, threshold, export, convert)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} ({self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; 0 if it was done, 2 with one line on standard error if not."""
    parser = _Parser(prog="python -m torch_impl", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_to(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _fail(named)
    except ValueError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed: pip install {error.name}")
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "stopped")
    return 0


def _fail(message: str) -> int:
    line = " ".join(message.split())
    print(f"error: {''.join(c if c.isprintable() else '?' for c in line)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
