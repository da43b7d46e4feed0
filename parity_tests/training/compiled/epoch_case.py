"""A run of the compiled epoch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["B1", "B2", "K1", "K2", "NAMES", "Case", "State"]

K1, B1, K2, B2 = NAMES = ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")
State = dict[str, dict[str, np.ndarray]]
"""`weights`, `momentum` and `velocity` by the names of the weights."""


class Case(NamedTuple):
    """A run, its rows in order."""

    features: int = 5
    hidden: int = 8
    rows: int = 130
    batch_size: int = 64
    epochs: int = 1
    dropout: float = 0.5
    weighted: bool = False
    lr: tuple[float, ...] = (1e-3,)
    """Of each epoch; the last one stays."""
    before: int = 0
    """Steps that came before, with moments of their own."""
    steepness: float = 1.0
    """A factor of the rows."""

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Rows, labels and weights of rows, of which every third is zero."""
        draw = np.random.default_rng(7)
        x = (self.steepness * draw.normal(size=(self.rows, self.features))).astype(np.float32)
        y = (draw.random((self.rows, 1)) < 0.4).astype(np.float32)
        weight = draw.uniform(0.5, 3, (self.rows, 1)).astype(np.float32)
        weight[::3] = 0
        return x, y, weight if self.weighted else None

    def start(self) -> State:
        """Of numbers that float32 holds."""
        draw = np.random.default_rng(8)
        shapes = [(self.features, self.hidden), (self.hidden,), (self.hidden, 1), (1,)]

        def numbers(scale: float) -> dict[str, np.ndarray]:
            return {
                name: (scale * draw.normal(size=shape)).astype(np.float32)
                for name, shape in zip(NAMES, shapes, strict=True)
            }

        momentum = numbers(0.01 * (self.before > 0))
        velocity = {name: array * array for name, array in numbers(0.01).items()}
        if not self.before:
            velocity = {name: 0 * array for name, array in velocity.items()}
        return {"weights": numbers(0.5), "momentum": momentum, "velocity": velocity}
