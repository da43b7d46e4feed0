"""Keras's losses, for `fit(loss=…)` and `evaluate(loss=…)`, or a loop of your own.

Each is an `nn.Module` that gives one loss per row, (N, 1), of outputs and labels; see
`torch_impl.keras.losses.base` for what they share, and for where they differ from torch's.
"""

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

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "Huber",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
]
