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

import math
from typing import Any

import torch
from torch import Tensor, nn

from torch_impl.base.processes import Part, Processes

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

    Attributes:
        part: which rows of the batch come, where several processes share it out; None for all.
    """

    part: Part | None = None

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
            took, taken = self._moments(wide.reshape(-1, x.shape[-1]), math.prod(x.shape[1:-1]))
            with torch.no_grad():
                for moving, new in ((variance, took), (mean, taken)):
                    moving.mul_(self.keras_momentum).add_(new * (1 - self.keras_momentum))
            mean, variance = taken, took
        inverse = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            inverse = inverse * self.weight
        shift = -mean * inverse if self.bias is None else self.bias - mean * inverse
        return (wide * inverse + shift).to(x.dtype)

    def _moments(self, x: Tensor, per_row: int) -> tuple[Tensor, Tensor]:
        """Population variance and mean of each column of the batch."""
        if self.part is None:
            return torch.var_mean(x, 0, correction=0)
        count = self.part.rows * per_row
        mean = self._of_all(x.sum(0)) / count
        return self._of_all((x - mean).square().sum(0)) / count, mean

    def _of_all(self, x: Tensor) -> Tensor:
        assert self.part is not None
        total: Tensor = _SumOfAll.apply(x, self.part.group)  # type: ignore[no-untyped-call]
        return total


class _SumOfAll(torch.autograd.Function):
    """Added up over processes, whose losses are parts of one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Processes) -> Tensor:
        ctx.group = group
        total = x.clone()
        group.add_up(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone()
        ctx.group.add_up(total)
        return total, None
