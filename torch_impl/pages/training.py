"""What a training run was and gave, as a page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torch_impl.pages.classes import separation
from torch_impl.pages.skeleton import (
    answer,
    card,
    document,
    facts,
    figure,
    listing,
    percent,
    scrolling,
    section,
    table_rows,
    terms,
)

__all__ = ["Counts", "Training", "training_page"]

_CURVES = {
    "loss": "Loss",
    "prc": "PR-AUC",
    "precision": "Precision",
    "recall": "Recall",
}
_COLUMNS = 8  # of those that tell the classes apart best


class Counts(NamedTuple):
    """How many rows a split has, and how many of them are frauds."""

    rows: int
    frauds: int


class Training(NamedTuple):
    """What `training_page` shows.

    Args:
        model: its name, as the reader knows it.
        table: name of the rows.
        history: one value per epoch, under Keras's keys, those of the validation with `val_`.
        kept_epoch: whose weights the model has, counted from 0 as `History.epoch` is.
        options: of the run, names to values, as the reader knows them.
        splits: of the rows, by name, in order.
        columns: names of the F columns.
        rows: (N, F) raw training rows, finite.
        labels: (N,) or (N, 1), 0 or 1.
        logarithmic: columns that are shown on a logarithmic axis, and always.
    """

    model: str
    table: str
    history: Mapping[str, Sequence[float]]
    kept_epoch: int
    options: Mapping[str, str]
    splits: Mapping[str, Counts]
    columns: Sequence[str]
    rows: NDArray[np.floating]
    labels: NDArray[np.floating]
    logarithmic: Collection[str] = ("Amount",)


def training_page(training: Training) -> str:
    """The whole page, ready to be written as UTF-8.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    return document(
        f"{training.model}, trained on {training.table}",
        f"How {training.model} was trained on {training.table}",
        _header(training),
        (_run(training), _curves(training), _classes(training)),
        "python -m torch_impl train",
    )


def _header(training: Training) -> str:
    epochs = len(training.history["loss"])
    told = f"Epoch {training.kept_epoch + 1:,} of {epochs:,} is kept."
    shown = {}
    for key, name in (("val_loss", "validation loss"), ("val_prc", "validation PR-AUC")):
        if key in training.history:
            shown[name] = f"{training.history[key][training.kept_epoch]:.4f}"
    if training.splits:
        name, counts = next(iter(training.splits.items()))
        shown[f"{name} rows"] = f"{counts.rows:,}"
        shown["frauds among them"] = f"{counts.frauds:,} ({_rate(counts)})"
    more = "The model has the weights that it had after this epoch."
    return f"{answer(told, more)}\n{facts(shown)}"


def _run(training: Training) -> str:
    rows = [
        (name, f"{counts.rows:,}", f"{counts.frauds:,}", _rate(counts))
        for name, counts in training.splits.items()
    ]
    splits = scrolling("Splits", listing(("split", "rows", "frauds", "share"), table_rows(rows)))
    body = f"""<div class="plots wide cards">
{card("Options", f'<dl class="pairs">{terms(training.options)}</dl>')}
{card("Rows", splits)}</div>"""
    return section("The run", "What was asked for, and the rows that it had.", body)


def _rate(counts: Counts) -> str:
    return percent(counts.frauds / counts.rows) if counts.rows else "–"


def _curves(training: Training) -> str:
    # Here, since whoever imports this file may never make a page.
    from torch_impl.pages.training_plots import epoch_plot

    figures = "".join(
        figure(name, epoch_plot(training.history, key, name, training.kept_epoch))
        for key, name in _CURVES.items()
        if key in training.history
    )
    lead = (
        "Training's values are measured batch by batch while the weights change, with dropout; "
        "the validation's after each epoch, without. The upright line is the epoch that is kept."
    )
    return section("By epoch", lead, f'<div class="plots wide">{figures}</div>')


def _classes(training: Training) -> str:
    from torch_impl.pages.training_plots import class_plot

    lead = (
        "Of the training rows, as they came: the columns that tell frauds from the others best, "
        "first those whose distributions are farthest apart (Kolmogorov–Smirnov distance, 1 where "
        "a single number parts the classes). Each class's shares make up 100\u00a0%."
    )
    fraud = np.asarray(training.labels).reshape(-1) > 0
    if fraud.all() or not fraud.any():
        return section("Classes", lead, "<p>This needs training rows of both classes.</p>")
    columns = {
        name: (values[fraud], values[~fraud])
        for name, values in zip(
            training.columns, np.asarray(training.rows, np.float64).T, strict=True
        )
    }
    apart = {name: separation(*both) for name, both in columns.items()}
    ordered = sorted(apart, key=lambda name: -apart[name])
    always = [name for name in ordered if name in training.logarithmic]
    best = [name for name in ordered if name not in always][:_COLUMNS]
    figures = "".join(
        figure(
            name,
            class_plot(f"class-{number}", name, *columns[name], name in training.logarithmic),
            f"Distance {apart[name]:.3f}",
        )
        for number, name in enumerate([*best, *always])
    )
    return section("Classes", lead, f'<div class="plots">{figures}</div>')
