"""Options that several commands have."""

from __future__ import annotations

import argparse
from typing import Any

from torch_impl.pipeline.pipeline import FraudPipeline

__all__ = ["add_base_rate", "add_parser", "add_shown", "set_base_rate", "share"]

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
        help="give probabilities for rows among which so many are frauds, 0 to 1, by a shift of "
        f"the log-odds; {AS_TRAINED!r} for none (default: as the model's file has it)",
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
            raise ValueError(
                f"--base-rate {rate!r}: expected a share between 0 and 1, or {AS_TRAINED}"
            ) from None
        pipeline.set_base_rate(number)


def share(part: float, whole: float) -> str:
    """A ratio as a person reads it."""
    return f"{part / whole:.2%}" if whole else "–"
