"""Layers that scale their inputs by numbers given, or measured before.

Source: keras/src/layers/preprocessing/rescaling.py and normalization.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["KerasNormalization", "KerasRescaling"]

Numbers = float | Sequence[float]

_EPSILON = 1e-7  # keras.config.epsilon()


class KerasRescaling(nn.Module):
    """`keras.layers.Rescaling`: x · scale + offset.

    TensorFlow makes both numbers float32 first, in a network of float64 too.

    Args:
        scale: one number, or one for each feature.
        offset: likewise.
        dtype: of the numbers; a floating-point type.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, scale: Numbers, offset: Numbers, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        for name, numbers in (("scale", scale), ("offset", offset)):
            # Told by the architecture: no weights, so no part of the state_dict.
            held = torch.tensor(numbers, dtype=torch.float32).to(dtype or torch.float32)
            self.register_buffer(name, held, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, F)."""
        return x * self.scale + self.offset


class KerasNormalization(nn.Module):
    """`keras.layers.Normalization`: (x - mean) / max(√variance, 1e-7).

    Differs from `torch_impl.FeatureTransform`, which scales as scikit-learn does: a feature
    that does not vary is divided by 1e-7 here, and by 1 there.

    Args:
        features: F.
        invert: whether it takes scaled numbers back, mean + x · max(√variance, 1e-7).
        mean: of each feature, told by the architecture; measured, and a buffer, if None.
        variance: likewise.
        dtype: of both.
    """

    mean: Tensor
    variance: Tensor

    def __init__(
        self,
        features: int,
        invert: bool = False,
        mean: Numbers | None = None,
        variance: Numbers | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.invert = invert
        measured = mean is None
        for name, numbers in (
            ("mean", 0.0 if mean is None else mean),
            ("variance", 1.0 if variance is None else variance),
        ):
            held = torch.tensor(numbers, dtype=torch.float32).to(dtype or torch.float32)
            held = held.expand(features).clone() if measured else held
            self.register_buffer(name, held, persistent=measured)
        if measured:  # of older files; nothing is computed from it
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """(…, F)."""
        deviation = self.variance.sqrt().clamp(min=_EPSILON)
        if self.invert:
            return self.mean + x * deviation
        return (x - self.mean) / deviation

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"features={self.mean.numel()}, invert={self.invert}"
