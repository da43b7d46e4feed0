"""The tutorial's feature steps as a module: log amount, scale, clip.

Reproduces `np.log(amount + 0.001)`, scikit-learn's `StandardScaler` and `np.clip(x, -5, 5)`
without pandas or scikit-learn, so that a deployed model takes raw rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from torch_impl.base.arrays import as_tensor
from torch_impl.base.memory import plain_numbers
from torch_impl.base.scaling import Scaling, scale_rows
from torch_impl.base.scripting import Unscriptable

__all__ = ["FeatureTransform"]

_MANY = 2**20
"""Fewer numbers (8 MB) stay in a cache while torch's operations go over them one by one, which is
over before a compiler has begun."""


class _FittedScaler(Protocol):
    mean_: Any
    scale_: Any


class FeatureTransform(Unscriptable, nn.Module):
    """Raw rows to the features that the network takes.

    Computes in float64, as pandas and scikit-learn do, and rounds once, to the dtype that
    `.to(dtype)` gave the module (float32 at first). The statistics stay float64 whatever
    `.to` says: rounding them to float32 would move every feature. So the module needs a
    device that has float64 (CPU and CUDA do). A `state_dict` holds the options too, and
    loading it sets them.

    A raw row holds V1 … V28 and then Amount in euros; its features have the same places,
    with log(Amount + 0.001) for Amount. An amount of -0.001 or less gives what `log`
    gives: -inf, clipped, or NaN.

    Args:
        mean: (F,) of each column after the logarithm, subtracted.
        scale: (F,) standard deviations (population, ddof 0), divided by; all above 0.
        clip: features are limited to ±clip.
        log_column: the column that the logarithm is taken of; None for no such column.
        log_offset: added before the logarithm, in the column's unit.

    Raises:
        ValueError: `mean` and `scale` are not finite vectors of one length, a scale is not
            above 0, or `log_column` is not a column.
    """

    mean: Tensor
    scale: Tensor
    _out: Tensor

    def __init__(
        self,
        mean: ArrayLike | Tensor,
        scale: ArrayLike | Tensor,
        clip: float = 5.0,
        log_column: int | None = -1,
        log_offset: float = 0.001,
    ) -> None:
        super().__init__()
        means, scales = _as_float64(mean).clone(), _as_float64(scale).clone()
        if means.ndim != 1 or means.shape != scales.shape or len(means) == 0:
            raise ValueError(
                f"FeatureTransform: mean has shape {tuple(means.shape)}, scale "
                f"{tuple(scales.shape)}; expected two vectors of one length, 1 or more"
            )
        if not (means.isfinite().all() and scales.isfinite().all() and (scales > 0).all()):
            raise ValueError("FeatureTransform: expected a finite mean and a finite scale above 0")
        self._set_options(len(means), clip, log_column, log_offset)
        self.register_buffer("mean", means)
        self.register_buffer("scale", scales)
        # Holds nothing: it is what `.to(dtype)` converts, and so the dtype of the output.
        self.register_buffer("_out", torch.empty(0, dtype=torch.float32), persistent=False)

    def _set_options(
        self, columns: int, clip: float, log_column: int | None, log_offset: float
    ) -> None:
        if not clip > 0:
            raise ValueError(f"FeatureTransform: clip={clip}; expected it above 0")
        if log_column is not None and not -columns <= log_column < columns:
            raise ValueError(
                f"FeatureTransform: log_column={log_column}; expected one of {columns} columns"
            )
        if not math.isfinite(log_offset):
            raise ValueError(f"FeatureTransform: log_offset={log_offset}; expected it finite")
        self.clip = float(clip)
        self.log_column = None if log_column is None else log_column % columns
        self.log_offset = float(log_offset)

    @property
    def dtype(self) -> torch.dtype:
        """Of the features."""
        return self._out.dtype

    def get_extra_state(self) -> Tensor:
        """Clip, column of the logarithm (NaN for none) and offset, for the `state_dict`."""
        column = math.nan if self.log_column is None else self.log_column
        return torch.tensor([self.clip, column, self.log_offset], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Takes them from a `state_dict`.

        Raises:
            ValueError: they are not three numbers, or no options of this transform.
        """
        options = state.tolist() if isinstance(state, Tensor) and state.shape == (3,) else []
        if not options or not (math.isnan(options[1]) or float(options[1]).is_integer()):
            raise ValueError(
                f"FeatureTransform: its extra state is {str(state)[:80]}; expected clip, column "
                "of the logarithm (NaN for none) and offset"
            )
        clip, column, offset = options
        log_column = None if math.isnan(column) else int(column)
        self._set_options(len(self.mean), clip, log_column, offset)

    @classmethod
    def from_scaler(cls, scaler: _FittedScaler, **options: Any) -> FeatureTransform:
        """Takes the numbers of a fitted scaler.

        Args:
            scaler: anything with `mean_` and `scale_`, such as scikit-learn's
                `StandardScaler` fitted on V1 … V28 and the log amount.
            **options: `clip`, `log_column`, `log_offset` as in the constructor.
        """
        return cls(scaler.mean_, scaler.scale_, **options)

    @classmethod
    def fit(
        cls,
        rows: ArrayLike | Tensor,
        clip: float = 5.0,
        log_column: int | None = -1,
        log_offset: float = 0.001,
    ) -> FeatureTransform:
        """Measures mean and standard deviation as scikit-learn's `StandardScaler` does.

        Args:
            rows: (N, F) raw training rows, an array or a tensor on any device.
            clip: see the constructor.
            log_column: see the constructor.
            log_offset: see the constructor.

        Returns:
            A transform on the device of `rows`. A column that is constant but for
            rounding gets scale 1, as in scikit-learn.

        Raises:
            ValueError: `rows` is not a table with a row, holds a number that is not
                finite, or a value too small for the logarithm; the first is named.
        """
        table = _as_float64(rows)
        if table.ndim != 2 or 0 in table.shape:
            raise ValueError(
                f"FeatureTransform.fit: rows came as {tuple(table.shape)}; "
                "expected (N, F), both at least 1"
            )
        _refuse_first(~table.isfinite(), table, "a finite number")
        identity = cls(torch.zeros(table.shape[1]), torch.ones(table.shape[1]), clip,
                       log_column, log_offset)  # fmt: skip
        if identity.log_column is not None:
            too_small = torch.zeros_like(table, dtype=torch.bool)
            too_small[:, identity.log_column] = table[:, identity.log_column] + log_offset <= 0
            _refuse_first(too_small, table, f"more than {-log_offset}, as its logarithm is taken")
        table = identity._log(table)
        mean = table.mean(dim=0)
        variance = table.var(dim=0, correction=0)
        # scikit-learn's test for a constant column (preprocessing/_data.py,
        # `_is_constant_feature`): its variance is what rounding alone can leave.
        n, eps = len(table), torch.finfo(torch.float64).eps
        constant = variance <= n * eps * variance + (n * mean * eps) ** 2
        scale = torch.where(constant, 1.0, variance.sqrt())
        return cls(mean, scale, clip, log_column, log_offset)

    def forward(self, rows: ArrayLike | Tensor) -> Tensor:
        """Features (N, F) of raw rows (N, F), a tensor or an array, in the module's dtype.

        Raises:
            ValueError: the rows have another width.
        """
        if not isinstance(rows, Tensor):
            rows = as_tensor(rows, self.mean)
        if rows.ndim < 1 or rows.shape[-1] != len(self.mean):
            raise ValueError(
                f"FeatureTransform: rows came as {tuple(rows.shape)}; "
                f"expected (N, {len(self.mean)})"
            )
        if self._is_plain(rows) and rows.numel() >= _MANY:
            features = scale_rows(rows, self.scaling(), self.dtype)
            if features is not None:
                return features
        table = (self._log(rows.to(torch.float64)) - self.mean) / self.scale
        return table.clamp(-self.clip, self.clip).to(self.dtype)

    def _is_plain(self, rows: Tensor) -> bool:
        """Whether compiled code may read rows and statistics, where they lie."""
        return (
            plain_numbers(rows, self.mean, self.scale)
            and rows.ndim == 2
            and rows.dtype == torch.float64
            and rows.is_contiguous()
        )

    def scaling(self) -> Scaling:
        """What compiled code takes of it."""
        return Scaling(self.mean, self.scale, self.clip, self.log_column, self.log_offset)

    def _log(self, table: Tensor) -> Tensor:
        if self.log_column is None:
            return table
        before, column, after = (
            table[..., : self.log_column],
            table[..., self.log_column : self.log_column + 1],
            table[..., self.log_column + 1 :],
        )
        return torch.cat([before, torch.log(column + self.log_offset), after], dim=-1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FeatureTransform:
        statistics = {"mean": self.mean, "scale": self.scale}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, kept in statistics.items():
            moved = self._buffers[name]
            if moved is not None and moved.dtype != torch.float64:
                self._buffers[name] = kept.to(moved.device)
        return self

    def extra_repr(self) -> str:
        """What `print(transform)` shows."""
        return (
            f"{len(self.mean)} columns, clip={self.clip}, log_column={self.log_column}, "
            f"log_offset={self.log_offset}"
        )


def _as_float64(values: ArrayLike | Tensor) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().to(torch.float64)
    return torch.from_numpy(np.array(values, dtype=np.float64))


def _refuse_first(bad: Tensor, table: Tensor, expected: str) -> None:
    if bool(bad.any()):
        row, column = (int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"FeatureTransform.fit: row {row}, column {column} is {float(table[row, column])!r}; "
            f"expected {expected} ({int(bad.sum())} such values)"
        )
