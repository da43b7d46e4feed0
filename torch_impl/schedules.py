"""Keras's learning-rate schedules, for `fit(scheduler=…)` or a loop of your own.

Each is a `torch.optim.lr_scheduler.LRScheduler` that is stepped after each batch; see
`torch_impl.keras.callbacks.schedules`.
"""

from torch_impl.keras.callbacks.schedules import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
]
