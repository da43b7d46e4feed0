"""Commands for PyTorch users of Keras files: `python -m torch_impl convert IN OUT`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from torch_impl.keras_files.api import read_keras, read_network
from torch_impl.keras_files.contents import Contents, Layer
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
        return _fail(
            f"{error.name} is not installed; pip install 'keras-torch-fraud-parity[files]'"
        )
    _summarise(contents, options.output)
    return 0


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _summarise(contents: Contents, output: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    version = f", written by Keras {contents.keras_version}" if contents.keras_version else ""
    console.print(escape(f"{contents.format}{version} → {output}"), highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("layer", "kind", "weights", "shape", "dtype"):
        table.add_column(heading, overflow="fold")
    layers = [] if contents.network is None else list(contents.network.layers)
    rows = [(layer.name, _kind(layer)) for layer in layers] or [
        (name, "Dense") for name in dict.fromkeys(n.rpartition("/")[0] for n in contents.weights)
    ]
    for name, kind in rows:
        own = {n: t for n, t in contents.weights.items() if n.rpartition("/")[0] == name}
        table.add_row(
            escape(name),
            kind,
            "\n".join(n.rpartition("/")[2] for n in own),
            "\n".join(str(tuple(t.shape)) for t in own.values()),
            "\n".join(str(t.dtype).removeprefix("torch.") for t in own.values()),
        )
    console.print(table)
    if contents.optimizer is not None:
        console.print(
            f"Adam after {contents.optimizer.iterations:,} steps, "
            f"learning rate {contents.optimizer.learning_rate:.6g}",
            highlight=False,
        )
    for note in (*contents.notes, *contents.optimizer_notes):
        console.print(escape(f"Note: {note}"), highlight=False)


def _kind(layer: Layer) -> str:
    if layer.kind == "Dropout":
        return f"Dropout {layer.rate:g}"
    return layer.kind if layer.activation == "linear" else f"{layer.kind}, {layer.activation}"


if __name__ == "__main__":
    sys.exit(main())
