"""`threshold MODEL CSV`: where the model calls a row fraud, by what that costs."""

from __future__ import annotations

import argparse
from typing import Any

from torch_impl.commands.options import (
    add_base_rate,
    add_model_and_table,
    add_parser,
    add_shown,
    logged,
    set_base_rate,
    share,
)
from torch_impl.commands.tables import read_table
from torch_impl.commands.telling import tell, tell_json
from torch_impl.commands.wanted import TableError
from torch_impl.pipeline.file import load_pipeline, save_pipeline
from torch_impl.pipeline.threshold import (
    Choice,
    Ranking,
    threshold_for_alerts,
    threshold_for_cost,
    threshold_for_precision,
    threshold_for_recall,
)

__all__ = ["add_to"]

_DESCRIPTION = """\
Chooses the threshold on rows that the model was not trained on, and writes it
into MODEL, with the correction for a base rate if one is given. The rows need a
column Class (0 or 1). For --alerts-per-day they do not: it needs all rows of
some days, as many as Time (in seconds) spans or --days says."""

_EXAMPLES = """\
  python -m torch_impl threshold model.safetensors held_out.csv \\
      --miss 120 --false-alarm 2.5
  python -m torch_impl threshold model.safetensors held_out.csv --precision 0.9
  python -m torch_impl threshold model.safetensors held_out.csv \\
      --recall 0.8 --dry-run
  python -m torch_impl threshold model.safetensors last_week.csv \\
      --alerts-per-day 40
"""

_SECONDS_A_DAY = 86_400


def add_to(commands: Any) -> None:
    """Adds the command to argparse's sub-parsers."""
    parser = add_parser(
        commands, "threshold", "where to call a row fraud, by costs or by alerts a day",
        _DESCRIPTION, _EXAMPLES,
    )  # fmt: skip
    add_model_and_table(parser)
    for option, unit, means in (
        ("--miss", "COST", "what a fraud costs that is not called one"),
        ("--false-alarm", "COST", "what another row costs that is; least cost is chosen"),
        ("--precision", "SHARE", "so many alerts right at least, and most frauds found"),
        ("--recall", "SHARE", "so many frauds found at least, by the fewest alerts"),
        ("--alerts-per-day", "N", "so many alerts at most"),
        ("--days", "D", "in which the table's rows came"),
    ):
        parser.add_argument(option, type=float, metavar=unit, help=means)
    parser.add_argument("--dry-run", action="store_true", help="leave MODEL as it is")
    add_base_rate(parser)
    add_shown(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Chooses, writes and tells."""
    wish = _wish(options)
    pipeline = load_pipeline(options.model)
    set_base_rate(pipeline, options.base_rate)
    needed, optional = (["Class"], []) if wish != "alerts" else ([], ["Class", "Time"])
    block = read_table(
        options.table, pipeline.columns, needed, optional,
        logged(pipeline.transform, pipeline.columns), progress=not options.no_progress,
    )  # fmt: skip
    labels = block.labels(options.table) if "Class" in block.others else None
    ranking = Ranking(pipeline.predict_proba(block.rows).numpy(), labels)
    if wish == "cost":
        choice = threshold_for_cost(ranking, options.miss, options.false_alarm)
    elif wish == "precision":
        choice = threshold_for_precision(ranking, options.precision)
    elif wish == "recall":
        choice = threshold_for_recall(ranking, options.recall)
    else:
        days = _days(options, block.others.get("Time"))
        choice = threshold_for_alerts(ranking, options.alerts_per_day * days)
    before = ranking.at(pipeline.threshold)
    pipeline.threshold = choice.threshold
    if not options.dry_run:
        save_pipeline(pipeline, options.model)
    _tell(options, before, choice, known=labels is not None)


def _wish(options: argparse.Namespace) -> str:
    """Which of the four ways to choose is asked for."""
    costs = (options.miss, options.false_alarm)
    wishes = {
        "cost": None not in costs,
        "precision": options.precision is not None,
        "recall": options.recall is not None,
        "alerts": options.alerts_per_day is not None,
    }
    asked = [name for name, is_asked in wishes.items() if is_asked]
    if len(asked) != 1 or costs.count(None) == 1:
        raise ValueError(
            "expected one of: --miss with --false-alarm, --precision, --recall, --alerts-per-day"
        )
    if asked[0] == "alerts" and not options.alerts_per_day >= 0:
        raise ValueError(f"--alerts-per-day {options.alerts_per_day:g}: expected 0 or more")
    if asked[0] != "alerts" and options.days is not None:
        raise ValueError("--days: expected with --alerts-per-day alone")
    return asked[0]


def _days(options: argparse.Namespace, seconds: Any) -> float:
    days = options.days
    if days is None:
        if seconds is None:
            raise TableError(f"{options.table}: has no column 'Time'; expected it, or --days")
        days = float(seconds.max() - seconds.min()) / _SECONDS_A_DAY
    if not days > 0:
        raise ValueError(f"the rows came in {days:g} days; expected more than 0 (--days says so)")
    return float(days)


def _tell(options: argparse.Namespace, before: Choice, after: Choice, known: bool) -> None:
    if options.json:
        facts = {
            name: {
                "threshold": choice.threshold, "alerts": choice.alerts, "rows": choice.rows,
                **({} if not known else {
                    "true_positives": choice.true_positives, "positives": choice.positives,
                    "precision": choice.precision, "recall": choice.recall,
                }),
            }
            for name, choice in (("before", before), ("after", after))
        }  # fmt: skip
        tell_json({**facts, "written": not options.dry_run})
        return
    headings = ["", "threshold", "alerts", *(["precision", "recall"] if known else [])]
    rows = [
        [
            name, f"{choice.threshold:.6g}", f"{choice.alerts:,} of {choice.rows:,} rows",
            *([
                share(choice.true_positives, choice.alerts),
                share(choice.true_positives, choice.positives),
            ] if known else []),
        ]
        for name, choice in (("before", before), ("after", after))
    ]  # fmt: skip
    done = "was left as it is (--dry-run)" if options.dry_run else "has the new threshold"
    tell(f"{options.model} on {options.table}", headings, rows, [f"{options.model} {done}"])
