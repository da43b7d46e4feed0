"""`convert IN OUT`: one Keras file into another format."""

from __future__ import annotations

import argparse
from typing import Any

from torch_impl.commands.telling import tell
from torch_impl.keras.layers.kinds import kind_of
from torch_impl.keras.layers.network import Layer
from torch_impl.keras_files.api import read_keras, read_network
from torch_impl.keras_files.contents import Contents, by_layer, printable
from torch_impl.keras_files.writing import write_keras

__all__ = ["add_to"]

_EXAMPLES = """examples:
  python -m torch_impl convert model.keras model.safetensors
  python -m torch_impl convert old_model.h5 model.keras
  python -m torch_impl convert saved_model_folder/ model.weights.h5
  python -m torch_impl convert model.weights.h5 model.keras --config model.json
"""


def add_to(commands: Any) -> None:
    """Adds the command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "convert",
        help="one Keras file into another format, without TensorFlow",
        description="Reads .keras, .weights.h5, legacy .h5, a SavedModel folder, a\n"
        "TensorFlow checkpoint or safetensors (told apart by what is in them) and\n"
        "writes .keras, .weights.h5, .h5 or .safetensors (by the ending). Weights keep\n"
        "every bit, and Adam's state comes along where the file has it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="IN", help="file or folder to read")
    parser.add_argument("output", metavar="OUT", help="file to write; replaced if it is there")
    parser.add_argument(
        "--config",
        metavar="JSON",
        help="what model.to_json() wrote: the architecture of a file that holds weights alone",
    )
    parser.add_argument(
        "--dropout",
        type=float,
        metavar="RATE",
        default=0.5,
        help="of a file that holds weights alone, where OUT needs it (default 0.5)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Converts."""
    if (
        options.config is not None
        or options.output.endswith(".keras")
        or (options.output.endswith(".h5") and not options.output.endswith(".weights.h5"))
    ):
        contents = read_network(options.input, options.config, options.dropout)
    else:
        contents = read_keras(options.input)
    write_keras(contents, options.output)
    _tell(contents, options.output)


def _tell(contents: Contents, output: str) -> None:
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
    title = printable(f"{contents.format}{version} → {output}")
    tell(title, ("layer", "kind", "weights", "shape", "dtype"), rows, remarks)


def _kind(layer: Layer) -> str:
    if layer.rate:
        return f"{layer.kind} {layer.rate:g}"
    return layer.kind if layer.activation == "linear" else f"{layer.kind}, {layer.last_activation}"
