"""Callbacks that set the learning rate from epoch to epoch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torch_impl.base.arguments import whole
from torch_impl.keras.callbacks.watching import Callback, MonitorCallback

__all__ = ["LearningRateScheduler", "ReduceLROnPlateau"]


class ReduceLROnPlateau(MonitorCallback):
    """`keras.callbacks.ReduceLROnPlateau`, epoch for epoch.

    Differs from `torch.optim.lr_scheduler.ReduceLROnPlateau`:

    1. An improvement is one by more than `min_delta`, an absolute 1e-4; torch's `threshold` is
       a share, 1e-4 of the best.
    2. The rate falls in the `patience`-th epoch without one; torch waits for one epoch more.
    3. The epoch in which the cooldown ends counts as waited for; torch's does not.
    4. Comparisons are float32's, as `MonitorCallback` explains, that of the rate with `min_lr`
       too. The rate is held in the dtype of Keras's floatx, which is taken for float64 where a
       group's parameters are; torch holds a Python number.
    5. Where a NaN comes first nothing is ever better, and the rate falls on and on.
    6. A rate falls however little is left; torch leaves it if it would change by 1e-8 at most.

    Each group has its own rate; it is logged as `learning_rate`, or as `learning_rate_0`, … of
    several groups. The optimizer must be free of a Keras schedule, which would set the rate anew.
    Source: keras/src/callbacks/reduce_lr_on_plateau.py.

    Args:
        optimizer: whose rate falls.
        monitor: a key of the history.
        factor: of the rate, below 1.
        patience: epochs without an improvement, in the last of which the rate falls.
        mode: `"min"`, `"max"`, or `"auto"`, by what is monitored.
        min_delta: an improvement is more than this.
        cooldown: epochs after a fall in which nothing is waited for.
        min_lr: the rate falls no lower.

    Raises:
        ValueError: the factor is 1 or more, the mode is unknown, or `"auto"` cannot tell a
            direction.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        mode: Literal["auto", "min", "max"] = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor={factor}; expected it to be below 1")
        self.optimizer = optimizer
        self.factor = factor
        self.patience = whole("ReduceLROnPlateau: patience", patience, 0)
        self.cooldown = whole("ReduceLROnPlateau: cooldown", cooldown, 0)
        self.min_lr = min_lr
        self.wait = 0
        self.cooldown_counter = 0

    def _options(self) -> dict[str, Any]:
        return {
            **super()._options(),
            "factor": self.factor,
            "patience": self.patience,
            "cooldown": self.cooldown,
            "min_lr": self.min_lr,
        }

    def on_train_begin(self, model: nn.Module) -> None:
        """Forgets an earlier run."""
        self.best = None
        self.wait = 0
        self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float], model: nn.Module) -> None:
        """Judges the epoch."""
        logs |= _logged(self.optimizer)
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(self._missing("reducing the learning rate on", logs), stacklevel=2)
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
        if self._improves(current, self.best):
            self.best = current
            self.wait = 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            if self.wait >= self.patience and self._reduce():
                self.cooldown_counter = self.cooldown
                self.wait = 0

    def _reduce(self) -> bool:
        """Whether there was a rate to reduce."""
        least = np.float32(self.min_lr)
        high = [g for g in self.optimizer.param_groups if np.float32(_rate(g)) > least]
        for group in high:
            _set_rate(group, max(_rate(group) * self.factor, self.min_lr))
        return bool(high)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epoch's verdict depends on, but for the rate itself."""
        counts = {"wait": self.wait, "cooldown_counter": self.cooldown_counter}
        return {**super().state_dict(), **counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        super().load_state_dict(state)
        self.wait = state["wait"]
        self.cooldown_counter = state["cooldown_counter"]


class LearningRateScheduler(Callback):
    """`keras.callbacks.LearningRateScheduler`: the rate of an epoch is schedule(epoch, rate).

    The rate that it gets is the one in use, as Keras's floatx holds it: 1e-3 comes as
    0.0010000000474974513, unless a group's parameters are float64. `ReduceLROnPlateau` says under
    which names it is logged, and which optimizers serve. Unlike in Keras the schedule must take
    both numbers.
    Source: keras/src/callbacks/learning_rate_scheduler.py.

    Args:
        schedule: of the number of the epoch, from 0, and of the rate; gives the rate.
        optimizer: whose groups' rates it sets.
    """

    def __init__(self, schedule: Callable[[int, float], float], optimizer: Optimizer) -> None:
        self.schedule = schedule
        self.optimizer = optimizer

    @property
    def kind(self) -> str:
        """The class and what its schedule is called."""
        named = getattr(self.schedule, "__qualname__", type(self.schedule).__qualname__)
        return f"{type(self).__name__}({named})"

    def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
        """Sets the rate of the epoch.

        Raises:
            ValueError: what the schedule gave is no float.
        """
        for group in self.optimizer.param_groups:
            rate = self.schedule(epoch, _rate(group))
            if not isinstance(rate, float | np.float32):
                raise ValueError(
                    f"LearningRateScheduler: the schedule gave {rate!r} in epoch {epoch}; "
                    "expected a float"
                )
            _set_rate(group, float(rate))

    def on_epoch_end(self, epoch: int, logs: dict[str, float], model: nn.Module) -> None:
        """Logs it."""
        logs |= _logged(self.optimizer)


def _held(group: Mapping[str, Any], rate: float) -> float:
    """As Keras's variable of floatx holds it."""
    return rate if group["params"][0].dtype == torch.float64 else float(np.float32(rate))


def _rate(group: Mapping[str, Any]) -> float:
    return _held(group, float(group["lr"]))


def _set_rate(group: dict[str, Any], rate: float) -> None:
    if isinstance(group["lr"], Tensor):  # which a captured or compiled step reads
        group["lr"].fill_(_held(group, rate))
    else:
        group["lr"] = _held(group, rate)


def _logged(optimizer: Optimizer) -> dict[str, float]:
    groups = optimizer.param_groups
    if len(groups) == 1:
        return {"learning_rate": _rate(groups[0])}
    return {f"learning_rate_{i}": _rate(group) for i, group in enumerate(groups)}
