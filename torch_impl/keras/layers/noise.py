"""Layers that add or multiply noise in training, with Keras's own random stream.

Without a seed they draw from torch's generator. The numbers are float32's in every dtype; a
float64 layer of Keras draws others.
Source: keras/src/layers/regularization/gaussian_noise.py, gaussian_dropout.py, alpha_dropout.py.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torch_impl.keras.layers.drawing import Drawing
from torch_impl.keras.random import call_seed, normal, uniform

__all__ = ["KerasAlphaDropout", "KerasGaussianDropout", "KerasGaussianNoise"]


class _Noise(Drawing):
    """What the three share.

    Args:
        rate: how much, 0 to 1; at 0 Keras draws nothing.
        seed: the layer's, or None.
    """

    def __init__(self, rate: float, seed: int | None = None) -> None:
        super().__init__(seed)
        if not 0 <= rate <= 1:
            raise ValueError(f"{type(self).__name__}: {rate} came; expected 0 to 1")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(…, units): with noise in training, else the identity."""
        if not self.training or self.rate == 0:
            return x
        return self._counted(self._noisy, x)

    def _noisy(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _normal(self, x: Tensor, mean: float, deviation: float) -> Tensor:
        """A normal number for each of x, rounded to float32 on its way as TensorFlow's is."""
        if self.seed is None:
            return torch.randn_like(x) * deviation + mean
        drawn = normal(call_seed(self.seed, self.calls), x.shape, self._before(x), x.device)
        self.calls += 1
        return (drawn * deviation + mean).to(x.dtype)

    def _uniform(self, x: Tensor) -> Tensor:
        """A number in [0, 1) for each of x."""
        if self.seed is None:
            return torch.rand_like(x)
        seed = call_seed(self.seed, self.calls)
        drawn = uniform(seed, x.shape, start=self._before(x), device=x.device)
        self.calls += 1
        return drawn.to(x.dtype)

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.rate}, seed={self.seed}"


class KerasGaussianNoise(_Noise):
    """`keras.layers.GaussianNoise(stddev)`: x + stddev · n."""

    def _noisy(self, x: Tensor) -> Tensor:
        return x + self._normal(x, 0.0, self.rate)


class KerasGaussianDropout(_Noise):
    """`keras.layers.GaussianDropout(rate)`: x · (1 + √(rate / (1 - rate)) n)."""

    def _noisy(self, x: Tensor) -> Tensor:
        return x * self._normal(x, 1.0, math.sqrt(self.rate / (1 - self.rate)))


class KerasAlphaDropout(_Noise):
    """`keras.layers.AlphaDropout(rate)`: SELU's lowest value in the place of what is dropped.

    Scaled and shifted so that mean and variance stay. Differs from `nn.AlphaDropout` in which
    units are dropped alone.
    """

    def _noisy(self, x: Tensor) -> Tensor:
        lowest = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946
        kept = (self._uniform(x) >= self.rate).to(x.dtype)
        scale = ((1 - self.rate) * (1 + self.rate * lowest**2)) ** -0.5
        shift = -scale * lowest * self.rate
        noisy: Tensor = scale * (x * kept + lowest * (1 - kept)) + shift
        return noisy
