"""Keras's learning-rate schedules as schedulers of torch's kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from torch_impl.keras.callbacks import decays

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
]


class LearningRateSchedule(LRScheduler):
    """What the schedules of `keras.optimizers.schedules` have in common.

    `fit(…, optimizer=…, scheduler=…)` steps it after each batch; so does any loop that calls
    `step` behind the optimizer's. The formulas are functions of the step in
    `torch_impl.keras.callbacks.decays`.

    Differs from `torch.optim.lr_scheduler`:

    1. Its unit is the step of the optimizer, from 0; torch's are mostly stepped once an epoch.
    2. The rate follows from the number of steps and the options alone: the optimizer's own rate,
       and that of the step before, are not looked at. Every group gets it.
    3. It is computed in float32, whatever the model computes in: the bits that Keras trains with.

    Source: keras/src/optimizers/schedules/learning_rate_schedule.py.

    Args:
        optimizer: whose rate it sets, at once too.
        options: of the formula.
        last_epoch: steps that the optimizer has made before, less one.

    Raises:
        ValueError: a number is outside its range, or a rate is an `int`.
    """

    decay: ClassVar[Callable[..., float]]
    """The formula."""

    def __init__(self, optimizer: Optimizer, options: dict[str, Any], last_epoch: int) -> None:
        self.options = options
        if last_epoch >= 0:  # what torch asks for then
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
        super().__init__(optimizer, last_epoch)

    def rate(self, step: int) -> float:
        """The rate at a step, from 0."""
        return type(self).decay(step, **self.options)

    def get_lr(self) -> list[Any]:
        """Of each group, what `step` sets."""
        return [self.rate(self.last_epoch)] * len(self.optimizer.param_groups)


class _AtARate(LearningRateSchedule):
    def __init__(
        self,
        optimizer: Optimizer,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        *,
        last_epoch: int = -1,
    ) -> None:
        options = {
            "initial_learning_rate": initial_learning_rate,
            "decay_steps": decay_steps,
            "decay_rate": decay_rate,
            "staircase": staircase,
        }
        super().__init__(optimizer, options, last_epoch)


class ExponentialDecay(_AtARate):
    """`keras.optimizers.schedules.ExponentialDecay`: `decays.exponential_decay`."""

    decay = staticmethod(decays.exponential_decay)


class InverseTimeDecay(_AtARate):
    """`keras.optimizers.schedules.InverseTimeDecay`: `decays.inverse_time_decay`."""

    decay = staticmethod(decays.inverse_time_decay)


class PolynomialDecay(LearningRateSchedule):
    """`keras.optimizers.schedules.PolynomialDecay`: `decays.polynomial_decay`."""

    decay = staticmethod(decays.polynomial_decay)

    def __init__(
        self,
        optimizer: Optimizer,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 1e-4,
        power: float = 1.0,
        cycle: bool = False,
        *,
        last_epoch: int = -1,
    ) -> None:
        options = {
            "initial_learning_rate": initial_learning_rate,
            "decay_steps": decay_steps,
            "end_learning_rate": end_learning_rate,
            "power": power,
            "cycle": cycle,
        }
        super().__init__(optimizer, options, last_epoch)


class PiecewiseConstantDecay(LearningRateSchedule):
    """`keras.optimizers.schedules.PiecewiseConstantDecay`: `decays.piecewise_constant_decay`."""

    decay = staticmethod(decays.piecewise_constant_decay)

    def __init__(
        self,
        optimizer: Optimizer,
        boundaries: Sequence[float],
        values: Sequence[float],
        *,
        last_epoch: int = -1,
    ) -> None:
        options = {"boundaries": list(boundaries), "values": list(values)}
        super().__init__(optimizer, options, last_epoch)


class CosineDecay(LearningRateSchedule):
    """`keras.optimizers.schedules.CosineDecay`, with its warm-up: `decays.cosine_decay`."""

    decay = staticmethod(decays.cosine_decay)

    def __init__(
        self,
        optimizer: Optimizer,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        warmup_target: float | None = None,
        warmup_steps: int = 0,
        *,
        last_epoch: int = -1,
    ) -> None:
        options = {
            "initial_learning_rate": initial_learning_rate,
            "decay_steps": decay_steps,
            "alpha": alpha,
            "warmup_target": warmup_target,
            "warmup_steps": warmup_steps,
        }
        super().__init__(optimizer, options, last_epoch)


class CosineDecayRestarts(LearningRateSchedule):
    """`keras.optimizers.schedules.CosineDecayRestarts`: `decays.cosine_decay_restarts`."""

    decay = staticmethod(decays.cosine_decay_restarts)

    def __init__(
        self,
        optimizer: Optimizer,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        *,
        last_epoch: int = -1,
    ) -> None:
        options = {
            "initial_learning_rate": initial_learning_rate,
            "first_decay_steps": first_decay_steps,
            "t_mul": t_mul,
            "m_mul": m_mul,
            "alpha": alpha,
        }
        super().__init__(optimizer, options, last_epoch)
