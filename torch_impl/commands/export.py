"""`export MODEL OUT`: a pipeline for other runtimes."""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path
from typing import Any

from torch_impl.commands.options import add_base_rate, add_parser, set_base_rate
from torch_impl.commands.outputs import check_output
from torch_impl.commands.telling import tell
from torch_impl.pipeline.export import OPSET, export
from torch_impl.pipeline.file import load_pipeline

__all__ = ["add_to"]

_DESCRIPTION = f"""\
Writes the pipeline as a program that takes `rows` (N, F), float64, and gives
`probability` and `decision` (N, 1):
.pt2   read by torch.export.load(OUT).module(), where torch is
.onnx  of opset {OPSET}, read by ONNX Runtime, where torch is not"""

_EXAMPLES = """\
  python -m torch_impl export model.safetensors model.onnx
  python -m torch_impl export model.safetensors model.pt2
"""


def add_to(commands: Any) -> None:
    """Adds the command to argparse's sub-parsers."""
    parser = add_parser(
        commands, "export", "the model for other runtimes: .pt2 or .onnx", _DESCRIPTION, _EXAMPLES
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="what `train` wrote")
    parser.add_argument("output", metavar="OUT", type=Path, help="file to write, .pt2 or .onnx")
    add_base_rate(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Exports."""
    check_output(options.output, [options.model], (".pt2", ".onnx"))
    pipeline = load_pipeline(options.model)
    set_base_rate(pipeline, options.base_rate)
    # torch's exporter tells its users of packages that it does not find and need not.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(pipeline, options.output)
    size = options.output.stat().st_size
    columns = ", ".join(pipeline.columns)
    tell(
        f"{options.model} → {options.output}",
        ("input", "outputs", "bytes"),
        [(f"rows (N, {len(pipeline.columns)}), float64", "probability, decision", f"{size:,}")],
        [f"Columns of rows: {columns}"],
    )
