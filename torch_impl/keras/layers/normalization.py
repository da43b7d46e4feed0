"""Keras's BatchNormalization.

Source: keras/src/layers/normalization/batch_normalization.py. It differs from PyTorch's in three
numbers and one meaning:

1. `momentum` is the share of the moving statistics that is kept (0.99); PyTorch's is the share
   that is taken (0.1).
2. The moving variance takes the population variance of the batch; PyTorch's takes n / (n - 1)
   times it.
3. `epsilon` is 1e-3; PyTorch's is 1e-5.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["KerasBatchNormalization"]


class KerasBatchNormalization(nn.BatchNorm1d):
    """Normalises each feature by the batch in training, by the moving statistics otherwise.

    What `print` shows as `momentum` is the share that is taken, as in PyTorch.

    Args:
        num_features: C, the size of the last axis.
        momentum: the share of the moving statistics that a batch leaves.
        epsilon: added to the variance.
        center: whether there is a β to add (`bias`).
        scale: whether there is a γ to multiply with (`weight`).
        device: of the parameters and statistics.
        dtype: likewise.
    """

    def __init__(
        self,
        num_features: int,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, epsilon, 1 - momentum, device=device, dtype=dtype)
        self.keras_momentum = momentum
        self.num_batches_tracked = None  # which Keras does not count
        for name, kept in (("bias", center), ("weight", scale)):
            if not kept:
                self.register_parameter(name, None)

    def reset_running_stats(self) -> None:
        """Mean 0 and variance 1."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        # PyTorch's would ask for a count of batches, which Keras has not; its own dicts have one.
        state_dict.pop(f"{prefix}num_batches_tracked", None)
        nn.Module._load_from_state_dict(self, state_dict, prefix, *others)

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) of any rank; in training the moving statistics change.

        Computed as TensorFlow's `batch_normalization` does, in float32 at least; unlike PyTorch's
        it takes a batch of one row.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean, variance = self.running_mean, self.running_var
        assert mean is not None
        assert variance is not None
        if self.training:
            took, taken = torch.var_mean(wide.reshape(-1, x.shape[-1]), 0, correction=0)
            with torch.no_grad():
                for moving, new in ((variance, took), (mean, taken)):
                    moving.mul_(self.keras_momentum).add_(new * (1 - self.keras_momentum))
            mean, variance = taken, took
        inverse = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            inverse = inverse * self.weight
        shift = -mean * inverse if self.bias is None else self.bias - mean * inverse
        return (wide * inverse + shift).to(x.dtype)
