"""The rows that a user hands to `fit`, `evaluate` and `predict`, whatever holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from torch_impl.base.arrays import as_tensor
from torch_impl.features import FeatureTransform

__all__ = ["Labels", "Like", "Rows", "column", "held_out", "like_of", "table"]

Rows = ArrayLike | Tensor | Dataset[Any]


class Like(NamedTuple):
    """What a model's numbers are brought to: empty tensors, of its device and a dtype."""

    rows: Tensor
    """Of the parameters' dtype; float64 where a `FeatureTransform` takes the rows, which must
    not be rounded before they are scaled."""
    numbers: Tensor
    """Of the parameters' dtype, for labels and weights."""


def like_of(model: nn.Module) -> Like:
    """What to bring a model's rows, labels and weights to."""
    numbers = next(model.parameters(), torch.empty(0)).detach().new_empty(0)
    raw = any(isinstance(module, FeatureTransform) for module in model.modules())
    return Like(numbers.double() if raw else numbers, numbers)


Labels = Callable[[Any, Tensor, str, Tensor], Tensor]
"""From y, what they are brought to, the caller and the rows: labels, a row for each row."""


def held_out(data: Any, like: Like, labels_of: Labels) -> tuple[Tensor, Tensor, Tensor | None]:
    """`validation_data`, (x, y), (x, y, weights of rows) or a Dataset, as `table` gives it.

    Its rows lie together in memory.
    """
    where = "fit: validation_data"
    weights = None
    if isinstance(data, (Dataset, DataLoader)):
        rows, labels = table(data, None, like, where, labels_of)
    elif isinstance(data, (tuple, list)) and len(data) in (2, 3):
        rows, labels = table(data[0], data[1], like, where, labels_of)
        if len(data) == 3:
            weights = column(data[2], like.numbers, f"{where}: sample_weight", len(rows))
    else:
        raise ValueError(f"{where}: expected (x, y), (x, y, sample_weight) or a Dataset")
    return rows.contiguous(), labels, weights


def table(x: Any, y: Any, like: Like, where: str, labels_of: Labels) -> tuple[Tensor, Tensor]:
    """Rows (N, F) and labels, as a model and its loss take them.

    Args:
        x: an array, a tensor, or a Dataset of (row, label) pairs.
        y: labels; None beside a Dataset.
        like: what they are brought to.
        where: the caller, for errors.
        labels_of: what a loss takes of y.

    Raises:
        ValueError: shapes do not fit, or a label is none.
    """
    if isinstance(x, DataLoader):
        raise ValueError(
            f"{where}: x is a DataLoader, which makes batches of its own; expected its Dataset "
            "(loader.dataset), with batch_size and shuffle here"
        )
    if isinstance(x, Dataset):
        if y is not None:
            raise ValueError(f"{where}: y came beside a Dataset; expected its items to be pairs")
        x, y = _stacked(x, like.rows, where)
    if y is None:
        raise ValueError(f"{where}: y is missing")
    rows = as_tensor(x, like.rows)
    if rows.ndim != 2:
        raise ValueError(f"{where}: x came as {tuple(rows.shape)}; expected (N, F)")
    return rows, labels_of(y, like.numbers, where, rows)


def _stacked(dataset: Dataset[Any], like: Tensor, where: str) -> tuple[Tensor, Tensor]:
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        return dataset.tensors[0], dataset.tensors[1]
    if not hasattr(dataset, "__len__"):
        raise ValueError(f"{where}: the Dataset has no length; expected one with items 0 to N - 1")
    count, rows, labels = len(dataset), like.new_zeros(0, 1), like.new_zeros(0)
    for i in range(count):
        pair = dataset[i]
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"{where}: item {i} of the Dataset is no (row, label) pair")
        row, label = as_tensor(pair[0], like), as_tensor(pair[1], like)
        if i == 0:
            rows, labels = like.new_empty(count, row.numel()), like.new_empty(count)
        if row.numel() != rows.shape[1] or label.numel() != 1:
            raise ValueError(
                f"{where}: item {i} of the Dataset has a row of {row.numel()} and a label of "
                f"{label.numel()} numbers; expected {rows.shape[1]} and 1"
            )
        rows[i], labels[i] = row.reshape(-1), label.reshape(())
    return rows.detach(), labels.detach()


def column(values: Any, like: Tensor, where: str, rows: int) -> Tensor:
    """One number per row, (N, 1).

    Raises:
        ValueError: they are not N.
    """
    numbers = as_tensor(values, like)
    if numbers.shape not in ((rows,), (rows, 1)):
        raise ValueError(f"{where} came as {tuple(numbers.shape)}; expected ({rows}, 1)")
    return numbers.reshape(rows, 1).contiguous()
