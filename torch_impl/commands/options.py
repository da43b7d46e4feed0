"""Options that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch_impl.features import FeatureTransform
from torch_impl.pipeline.pipeline import FraudPipeline

__all__ = [
    "add_base_rate", "add_model_and_table", "add_parser", "add_shown", "logged", "set_base_rate",
    "share",
]  # fmt: skip

AS_TRAINED = "as-trained"


def add_parser(
    commands: Any, name: str, summary: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """A command's parser, its text shown as it stands.

    Args:
        commands: argparse's sub-parsers.
        name: of the command.
        summary: a few words for the list of commands.
        description: what it does.
        examples: lines to copy.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_model_and_table(parser: argparse.ArgumentParser) -> None:
    """What most commands read."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="what `train` wrote")
    parser.add_argument("table", metavar="CSV", type=Path, help="rows: CSV, .gz or .parquet")


def add_shown(parser: argparse.ArgumentParser) -> None:
    """How a command tells what it did."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--no-progress", action="store_true", help="show no progress bar on a terminal"
    )


def add_base_rate(parser: argparse.ArgumentParser) -> None:
    """For which share of frauds probabilities are."""
    parser.add_argument(
        "--base-rate", metavar="SHARE",
        help="correct the probabilities for rows of which this share is fraud, by a shift of the "
        f"log-odds; {AS_TRAINED!r} for no correction (default: what MODEL has)",
    )  # fmt: skip


def set_base_rate(pipeline: FraudPipeline, rate: str | None) -> None:
    """Does what `--base-rate` says.

    Raises:
        ValueError: it is no share, or the model does not say what it was trained on.
    """
    if rate == AS_TRAINED:
        pipeline.log_odds_shift = 0.0
    elif rate is not None:
        try:
            number = float(rate)
        except ValueError:
            number = 0.0
        if not 0 < number < 1:
            raise ValueError(
                f"--base-rate {rate!r}: expected a share between 0 and 1, or {AS_TRAINED}"
            )
        pipeline.set_base_rate(number)


def logged(transform: FeatureTransform, columns: tuple[str, ...]) -> Mapping[str, float]:
    """The column whose logarithm is taken, and what its numbers must be more than."""
    place = transform.log_column
    return {} if place is None else {columns[place]: -transform.log_offset}


def share(part: float, whole: float) -> str:
    """A ratio as a person reads it."""
    return f"{part / whole:.2%}" if whole else "–"
