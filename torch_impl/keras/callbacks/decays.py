"""Keras's learning-rate schedules as functions of the step, to the bit.

Keras computes them in float32, whatever the model computes in. `fit` runs them in a graph, which
TensorFlow rewrites first: dividing by a constant becomes multiplying by its rounded reciprocal,
and constants are multiplied with each other. For one N in seven, 41 the first, N · (1 / N) is then
less than 1: a staircase takes its steps, and a cosine restarts, one step late. All of this is done
here too. Op by op, as `optimizer.learning_rate` is read, Keras computes them as they are written,
some ULP away from what it trains with.

Source: keras/src/optimizers/schedules/learning_rate_schedule.py.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from torch_impl.base.arguments import whole

__all__ = [
    "cosine_decay",
    "cosine_decay_restarts",
    "exponential_decay",
    "inverse_time_decay",
    "piecewise_constant_decay",
    "polynomial_decay",
]

_ONE, _HALF, _PI = np.float32(1), np.float32(0.5), np.float32(math.pi)


def exponential_decay(
    step: int,
    initial_learning_rate: float,
    decay_steps: float,
    decay_rate: float,
    staircase: bool = False,
) -> float:
    """lr₀ rᵖ with p = step / decay_steps, rounded down on a staircase."""
    start = _rate("exponential_decay: initial_learning_rate", initial_learning_rate)
    p = np.float32(step) * _reciprocal("exponential_decay: decay_steps", decay_steps)
    return float(start * _c("powf", np.float32(decay_rate), np.floor(p) if staircase else p))


def inverse_time_decay(
    step: int,
    initial_learning_rate: float,
    decay_steps: float,
    decay_rate: float,
    staircase: bool = False,
) -> float:
    """lr₀ / (1 + r p) with p = step / decay_steps, rounded down on a staircase."""
    start = _rate("inverse_time_decay: initial_learning_rate", initial_learning_rate)
    reciprocal = _reciprocal("inverse_time_decay: decay_steps", decay_steps)
    if staircase:
        grown = np.float32(decay_rate) * np.floor(np.float32(step) * reciprocal)
    else:
        grown = np.float32(step) * (np.float32(decay_rate) * reciprocal)
    return float(start / (_ONE + grown))


def polynomial_decay(
    step: int,
    initial_learning_rate: float,
    decay_steps: float,
    end_learning_rate: float = 1e-4,
    power: float = 1.0,
    cycle: bool = False,
) -> float:
    """(lr₀ - lr₁) (1 - p)^power + lr₁ with p = min(step, decay_steps) / decay_steps.

    With `cycle`, p = step / n, where n is the first multiple of decay_steps not below the step.
    """
    start = _rate("polynomial_decay: initial_learning_rate", initial_learning_rate)
    reciprocal = _reciprocal("polynomial_decay: decay_steps", decay_steps)
    if not power >= 0:
        raise ValueError(f"polynomial_decay: power={power}; expected it to be 0 or more")
    end, taken, steps = np.float32(end_learning_rate), np.float32(step), np.float32(decay_steps)
    if cycle:
        p = taken / (steps * (np.ceil(taken * reciprocal) if step else _ONE))
    else:
        p = min(taken, steps) * reciprocal
    left, fall = _ONE - p, start - end
    # The graph has operations of their own for these powers.
    if power == 0.5:
        fall = fall * np.sqrt(left)
    elif power == 2:
        fall = fall * (left * left)
    elif power == 3:
        fall = (fall * left) * (left * left)
    else:
        fall = fall * _c("powf", left, np.float32(power))
    return float(fall + end)


def piecewise_constant_decay(
    step: int, boundaries: Sequence[float], values: Sequence[float]
) -> float:
    """The value of the first boundary that the step does not exceed; beyond all, the last value.

    Steps are whole numbers to Keras, and so are boundaries: 20.5 is 20.
    """
    rates = [_rate("piecewise_constant_decay: values", value) for value in values]
    bounds = [int(np.float32(bound)) for bound in boundaries]
    if not bounds or len(rates) != len(bounds) + 1 or bounds != sorted(set(bounds)):
        raise ValueError(
            f"piecewise_constant_decay: boundaries={list(boundaries)} with {len(rates)} values; "
            "expected rising whole numbers, at least one, and one value more"
        )
    return float(rates[sum(step > bound for bound in bounds)])


def cosine_decay(
    step: int,
    initial_learning_rate: float,
    decay_steps: float,
    alpha: float = 0.0,
    warmup_target: float | None = None,
    warmup_steps: int = 0,
) -> float:
    """lr ((1 - α)(1 + cos πp) / 2 + α) with p = min(step, decay_steps) / decay_steps.

    lr is lr₀; or it is `warmup_target`, to which the rate rises from lr₀ in `warmup_steps` steps,
    behind which the steps of the decay are counted.
    """
    start = _rate("cosine_decay: initial_learning_rate", initial_learning_rate)
    reciprocal = _reciprocal("cosine_decay: decay_steps", decay_steps)
    taken, steps = np.float32(step), np.float32(decay_steps)
    if warmup_target is None:
        angle = min(taken, steps) * (_PI * reciprocal)
    else:
        target = np.float32(warmup_target)
        warmup = np.float32(whole("cosine_decay: warmup_steps", warmup_steps, 0))
        taken = min(taken, steps + warmup)
        # In the branches of a condition nothing is known for a constant: they divide.
        if taken < warmup:
            return float((target - start) * (taken / warmup) + start)
        start, angle = target, _PI * ((taken - warmup) / steps)
    # 1 - α is a Python number, which float32 then holds.
    wave = (_c("cosf", angle) + _ONE) * (np.float32(1 - alpha) * _HALF)
    return float(start * (wave + np.float32(alpha)))


def cosine_decay_restarts(
    step: int,
    initial_learning_rate: float,
    first_decay_steps: float,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
) -> float:
    """Cosine decays, one behind the other: the i-th from lr₀ · m_mulⁱ, t_mulⁱ times as long.

    Source: Loshchilov and Hutter, "SGDR" (ICLR 2017), as Keras computes it.
    """
    start = _rate("cosine_decay_restarts: initial_learning_rate", initial_learning_rate)
    reciprocal = _reciprocal("cosine_decay_restarts: first_decay_steps", first_decay_steps)
    if not t_mul >= 1:
        raise ValueError(f"cosine_decay_restarts: t_mul={t_mul}; expected it to be 1 or more")
    longer, low = np.float32(t_mul), np.float32(alpha)
    p = np.float32(step) * reciprocal
    if longer == 1:
        restart = np.floor(p)
        p = p - restart
    else:
        shorter = _ONE - longer
        restart = np.floor(_c("logf", _ONE - p * shorter) * (_ONE / _c("logf", longer)))
        length = _c("powf", longer, restart)
        p = (p - (_ONE - length) * (_ONE / shorter)) / length
    wave, height = _c("cosf", _PI * p) + _ONE, _c("powf", np.float32(m_mul), restart)
    if low == 0:  # nothing is added in the graph then, and lr₀ is among the constants
        return float(wave * (height * (_HALF * start)))
    return float(start * (wave * (height * ((_ONE - low) * _HALF)) + low))


def _rate(name: str, value: float) -> np.float32:
    """A rate as Keras's tensor of a Python float; others would have it compute in their dtype."""
    if type(value) is not float:
        raise ValueError(
            f"{name}={value!r}; expected a Python float (Keras would compute in another dtype)"
        )
    return np.float32(value)


def _reciprocal(name: str, steps: float) -> np.float32:
    if not steps > 0:
        raise ValueError(f"{name}={steps}; expected it to be above 0")
    return _ONE / np.float32(steps)


def _c(name: str, *x: np.float32) -> np.float32:
    """`powf`, `cosf` or `logf` of the C library, which TensorFlow calls for a single number.

    NumPy's cosine is its own, an ULP away for one number in six.
    """
    return np.float32(_c_function(name, len(x))(*x))


@cache
def _c_function(name: str, arguments: int) -> Callable[..., float]:
    try:
        function = ctypes.CDLL(None)[name]
    except (AttributeError, OSError, TypeError):  # as on Windows: rounded from double
        wide: Callable[..., float] = {"powf": np.power, "cosf": np.cos, "logf": np.log}[name]
        return lambda *x: wide(*map(np.float64, x))
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float] * arguments
    return function
