"""Commands for PyTorch users of Keras files: `python -m torch_impl convert IN OUT`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from torch_impl.keras.layers.kinds import kind_of
from torch_impl.keras.layers.network import Layer
from torch_impl.keras_files.api import read_keras, read_network
from torch_impl.keras_files.contents import Contents, by_layer, printable
from torch_impl.keras_files.writing import write_keras

_EXAMPLES = """examples:
  python -m torch_impl convert model.keras model.safetensors
  python -m torch_impl convert old_model.h5 model.keras
  python -m torch_impl convert saved_model_folder/ model.weights.h5
  python -m torch_impl convert model.weights.h5 model.keras --config model.json
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; 0 if it was done, 2 with one line on standard error if not."""
    parser = argparse.ArgumentParser(prog="python -m torch_impl", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    convert = commands.add_parser(
        "convert",
        help="one Keras file into another format, without TensorFlow",
        description="Reads .keras, .weights.h5, legacy .h5, a SavedModel folder, a\n"
        "TensorFlow checkpoint or safetensors (told apart by what is in them) and\n"
        "writes .keras, .weights.h5, .h5 or .safetensors (by the ending). Weights keep\n"
        "every bit, and Adam's state comes along where the file has it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.add_argument("input", metavar="IN", help="file or folder to read")
    convert.add_argument("output", metavar="OUT", help="file to write; replaced if it is there")
    convert.add_argument(
        "--config",
        metavar="JSON",
        help="what model.to_json() wrote: the architecture of a file that holds weights alone",
    )
    convert.add_argument(
        "--dropout",
        type=float,
        metavar="RATE",
        default=0.5,
        help="of a file that holds weights alone, where OUT needs it (default 0.5)",
    )
    options = parser.parse_args(arguments)
    try:
        if (
            options.config is not None
            or options.output.endswith(".keras")
            or (options.output.endswith(".h5") and not options.output.endswith(".weights.h5"))
        ):
            contents = read_network(options.input, options.config, options.dropout)
        else:
            contents = read_keras(options.input)
        write_keras(contents, options.output)
    except OSError as error:
        return _fail(f"{error.filename or options.output}: {error.strerror or error}")
    except ValueError as error:  # a KerasFileError is one too
        return _fail(str(error))
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed: pip install {error.name}")
    try:
        _show(_summary(contents, options.output))
    except (OSError, SystemExit):  # rich exits where nobody reads on
        # Nobody does, or the disk is full: the file is written all the same.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (what is left is flushed at the end)
    return 0


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


class _Summary(NamedTuple):
    title: str
    rows: list[tuple[str, str, str, str, str]]
    """Layer, kind, and a line for each of its weights: name, shape and dtype."""
    remarks: list[str]


def _summary(contents: Contents, output: str) -> _Summary:
    version = f", written by Keras {contents.keras_version}" if contents.keras_version else ""
    layers = [] if contents.network is None else list(contents.network.layers)
    kinds = [(layer.name, _kind(layer)) for layer in layers] or [
        (name, str(kind_of(own))) for name, own in by_layer(contents.weights).items()
    ]
    weights = by_layer(contents.weights)
    rows = []
    for name, kind in kinds:
        own = weights.get(name, {})
        rows.append((
            printable(name),
            kind,
            "\n".join(own),
            "\n".join(str(tuple(t.shape)) for t in own.values()),
            "\n".join(str(t.dtype).removeprefix("torch.") for t in own.values()),
        ))  # fmt: skip
    remarks = []
    if contents.optimizer is not None:
        steps, rate = contents.optimizer.iterations, contents.optimizer.learning_rate
        remarks = [f"Adam after {steps:,} steps, learning rate {rate:.6g}"]
    notes = (*contents.notes, *contents.optimizer_notes)
    remarks += [printable(f"Note: {note}") for note in notes]
    return _Summary(printable(f"{contents.format}{version} → {output}"), rows, remarks)


def _show(summary: _Summary) -> None:
    """Prints it, as a table where rich is there; what the terminal cannot show becomes `?`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ModuleNotFoundError:
        cells = ["  ".join(cell.replace("\n", ", ") for cell in row) for row in summary.rows]
        print(summary.title, *cells, *summary.remarks, sep="\n", flush=True)
        return
    console = Console()
    console.print(escape(summary.title), highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("layer", "kind", "weights", "shape", "dtype"):
        table.add_column(heading, overflow="fold")
    for name, *cells in summary.rows:
        table.add_row(escape(name), *cells)
    console.print(table)
    for remark in summary.remarks:
        console.print(escape(remark), highlight=False)
    sys.stdout.flush()


def _kind(layer: Layer) -> str:
    if layer.rate:
        return f"{layer.kind} {layer.rate:g}"
    return layer.kind if layer.activation == "linear" else f"{layer.kind}, {layer.last_activation}"


if __name__ == "__main__":
    sys.exit(main())
