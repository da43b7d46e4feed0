"""Keras's names of losses."""

from __future__ import annotations

from torch_impl.keras.losses.base import RowLoss
from torch_impl.keras.losses.categorical import (
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    SparseCategoricalCrossentropy,
)
from torch_impl.keras.losses.elementwise import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
)

__all__ = ["LOSSES", "keras_loss"]

LOSSES: dict[str, type[RowLoss]] = {
    "binary_crossentropy": BinaryCrossentropy,
    "bce": BinaryCrossentropy,
    "BCE": BinaryCrossentropy,
    "BinaryCrossentropy": BinaryCrossentropy,
    "binary_focal_crossentropy": BinaryFocalCrossentropy,
    "BinaryFocalCrossentropy": BinaryFocalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "CategoricalCrossentropy": CategoricalCrossentropy,
    "categorical_focal_crossentropy": CategoricalFocalCrossentropy,
    "CategoricalFocalCrossentropy": CategoricalFocalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "SparseCategoricalCrossentropy": SparseCategoricalCrossentropy,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "MSE": MeanSquaredError,
    "MeanSquaredError": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "mae": MeanAbsoluteError,
    "MAE": MeanAbsoluteError,
    "MeanAbsoluteError": MeanAbsoluteError,
    "huber": Huber,
    "Huber": Huber,
}
"""Name to class, as `keras.losses.get` knows them: functions, short names and classes."""


def keras_loss(name: str) -> RowLoss:
    """The loss of a name that `compile(loss=…)` takes, with Keras's defaults, from logits.

    Raises:
        ValueError: there is none of the name.
    """
    if name not in LOSSES:
        raise ValueError(f"loss is {name[:80]!r}; expected one of {', '.join(LOSSES)}")
    return LOSSES[name]()
