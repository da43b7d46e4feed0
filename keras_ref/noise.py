"""Layers that draw in training, with float32's draws in every dtype."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_ref.compat import to_numpy
from keras_ref.model import DropoutOfFloat32

__all__ = ["OF_FLOAT32", "AlphaDropoutOfFloat32", "drawn"]


class AlphaDropoutOfFloat32(keras.layers.AlphaDropout):
    """`AlphaDropout` that drops the units of float32 in every dtype."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drops, scales and shifts in the inputs' dtype."""
        if not training or self.rate == 0:
            return inputs
        # Keras's own draws numbers of floatx.
        drawn = keras.random.uniform(
            keras.ops.shape(inputs), dtype="float32", seed=self.seed_generator
        )
        kept = keras.ops.cast(drawn >= self.rate, inputs.dtype)
        lowest = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946
        scale = ((1 - self.rate) * (1 + self.rate * lowest**2)) ** -0.5
        shift = -scale * lowest * self.rate
        return scale * (inputs * kept + lowest * (1 - kept)) + shift


OF_FLOAT32: dict[str, type[keras.layers.Layer]] = {
    "Dropout": DropoutOfFloat32,
    "AlphaDropout": AlphaDropoutOfFloat32,
}
"""By the class in whose place they stand."""


def drawn(kind: str, rate: float, seed: int, x: np.ndarray, calls: int) -> np.ndarray:
    """What a layer of Keras makes of x in training, call after call: (calls, *x.shape)."""
    layer = getattr(keras.layers, kind)(rate, seed=seed)
    return np.stack([to_numpy(layer(x, training=True)) for _ in range(calls)])
