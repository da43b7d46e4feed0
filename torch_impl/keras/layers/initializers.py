"""What Keras's initializers draw, from names and from the configs in its files.

Source: keras/src/initializers/random_initializers.py and constant_initializers.py. They differ
from those of `torch.nn.init` in:

1. The normal ones of a fan (`he_normal`, `glorot_normal`, `lecun_normal`) are cut off at two
   deviations and widened, so that the deviation is the one asked for; `kaiming_normal_` and
   `xavier_normal_` are not cut off.
2. `truncated_normal` cuts off at two deviations and is not widened: 0.88 of the deviation asked
   for is left. `trunc_normal_` cuts off at ±2, whatever the deviation.
3. The fans of a vector of n are n and n; torch has none.

The uniform ones, constants and `identity` are Keras's bit for bit, the normal ones as nearly as
`torch_impl.keras.random.normal` is TensorFlow's. All are those of Keras 3 on TensorFlow in
float32; in float64 Keras draws other numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_impl.base.arguments import whole
from torch_impl.keras.random import call_seed, normal, scaled_uniform, truncated_normal

__all__ = ["INITIALIZERS", "Initializer", "initializer_of"]

_CUT_OFF = 0.87962566103423978  # deviation of normal numbers below 2 in size, as Keras has it
_WORDS = {
    "mode": ("fan_in", "fan_out", "fan_avg"),
    "distribution": ("truncated_normal", "untruncated_normal", "uniform"),
}
_LEAST = {"stddev": (0.0, "of 0 or more"), "scale": (math.ulp(0.0), "above 0")}
_MOST = float(np.finfo(np.float32).max)


class Initializer(NamedTuple):
    """One of Keras's initializers, as data; `initializer_of` makes it."""

    name: str
    """Keras's class."""
    options: Mapping[str, float | str]
    """Its arguments by Keras's names, the seed apart."""
    seed: int | None = None
    """Its own, if it was given one."""

    @property
    def draws(self) -> bool:
        """Whether Keras draws a seed for it (see `layer_seeds`) where it is constructed."""
        return self.seed is None and INITIALIZERS[self.name].random

    def value(self, seed: int, shape: Sequence[int]) -> Tensor:
        """The weights that Keras starts with.

        Args:
            seed: what Keras drew for it; not looked at where it does not draw.
            shape: (fan_in, fan_out) of a kernel (the transpose of a torch weight), (n,) of a
                vector, or () of a scalar.

        Returns:
            float32 of that shape, on the CPU.

        Raises:
            ValueError: `shape` has more axes, or too few for this initializer, or `seed` does
                not fit int64.
        """
        row = INITIALIZERS[self.name]
        if not row.least_axes <= len(shape) <= 2:
            kinds = ("()", "(n,)", "(fan_in, fan_out)")[row.least_axes :]
            raise ValueError(f"{self.name}: shape={tuple(shape)}; expected {' or '.join(kinds)}")
        return row.compute(seed if self.seed is None else self.seed, shape, **self.options)


def _constant(seed: int, shape: Sequence[int], value: float) -> Tensor:
    return torch.full(tuple(shape), value, dtype=torch.float32)


def _identity(seed: int, shape: Sequence[int], gain: float) -> Tensor:
    return torch.eye(*shape, dtype=torch.float32) * gain


def _normal(seed: int, shape: Sequence[int], mean: float, stddev: float) -> Tensor:
    return normal(call_seed(seed, 0), shape) * _float32(stddev) + _float32(mean)


def _truncated_normal(seed: int, shape: Sequence[int], mean: float, stddev: float) -> Tensor:
    return truncated_normal(call_seed(seed, 0), shape) * _float32(stddev) + _float32(mean)


def _variance_scaling(
    seed: int, shape: Sequence[int], scale: float, mode: str, distribution: str
) -> Tensor:
    fan_in, fan_out = (shape[0], shape[-1]) if len(shape) else (1, 1)
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}
    variance = scale / max(1.0, fans[mode])
    if distribution == "uniform":
        limit = math.sqrt(3.0 * variance)
        return scaled_uniform(seed, shape, -limit, limit)
    if distribution == "truncated_normal":
        return _truncated_normal(seed, shape, 0.0, math.sqrt(variance) / _CUT_OFF)
    return _normal(seed, shape, 0.0, math.sqrt(variance))


def _orthogonal(seed: int, shape: Sequence[int], gain: float) -> Tensor:
    # In float64: Keras's own is as far from it as its factorization in float32 errs.
    drawn = normal(call_seed(seed, 0), (max(shape), min(shape))).double()
    q, r = torch.linalg.qr(drawn)
    q = q * r.diagonal().sign()
    tall: Tensor = q.float() * _float32(gain)
    return tall if shape[0] >= shape[1] else tall.T.contiguous()


def _float32(value: float) -> float:
    return float(np.float32(value))


class _Row(NamedTuple):
    """What there is to know of one of Keras's classes."""

    compute: Callable[..., Tensor]
    """Of a seed, a shape and the options."""
    options: Mapping[str, float | str]
    """With Keras's defaults."""
    random: bool = True
    least_axes: int = 0


def _of_fans(scale: float, mode: str, distribution: str) -> _Row:
    return _Row(partial(_variance_scaling, scale=scale, mode=mode, distribution=distribution), {})


INITIALIZERS: dict[str, _Row] = {
    "Zeros": _Row(partial(_constant, value=0.0), {}, random=False),
    "Ones": _Row(partial(_constant, value=1.0), {}, random=False),
    "Constant": _Row(_constant, {"value": 0.0}, random=False),
    "Identity": _Row(_identity, {"gain": 1.0}, random=False, least_axes=2),
    "RandomUniform": _Row(scaled_uniform, {"minval": -0.05, "maxval": 0.05}),
    "RandomNormal": _Row(_normal, {"mean": 0.0, "stddev": 0.05}),
    "TruncatedNormal": _Row(_truncated_normal, {"mean": 0.0, "stddev": 0.05}),
    "VarianceScaling": _Row(
        _variance_scaling, {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal"}
    ),
    "GlorotUniform": _of_fans(1.0, "fan_avg", "uniform"),
    "GlorotNormal": _of_fans(1.0, "fan_avg", "truncated_normal"),
    "HeUniform": _of_fans(2.0, "fan_in", "uniform"),
    "HeNormal": _of_fans(2.0, "fan_in", "truncated_normal"),
    "LecunUniform": _of_fans(1.0, "fan_in", "uniform"),
    "LecunNormal": _of_fans(1.0, "fan_in", "truncated_normal"),
    "Orthogonal": _Row(_orthogonal, {"gain": 1.0}, least_axes=2),
}
"""By Keras's class."""

_NAMES = {re.sub(r"(?<=.)(?=[A-Z])", "_", name).lower(): name for name in INITIALIZERS} | {
    "zero": "Zeros", "one": "Ones", "uniform": "RandomUniform", "normal": "RandomNormal",
    "IdentityInitializer": "Identity", "OrthogonalInitializer": "Orthogonal",
}  # fmt: skip
"""Keras's other names, to its classes."""


def initializer_of(told: str | Mapping[str, Any] | Initializer, **options: Any) -> Initializer:
    """The initializer of Keras's name or serialized object.

    Args:
        told: a class (`"HeNormal"`), its other names (`"he_normal"`, `"zero"`), or what Keras's
            `serialize` gives, `{"class_name": …, "config": …}`.
        options: arguments of Keras's class, where `told` is a name: `stddev=0.1`, `seed=7`.

    Raises:
        ValueError: it is none of `INITIALIZERS`, or an option is not one that it takes.
    """
    if isinstance(told, Initializer) and not options:
        return told
    name, config = (told, options) if isinstance(told, str) else _class_and_config(told)
    name = _NAMES.get(name, name)
    if name not in INITIALIZERS or (options and not isinstance(told, str)):
        raise ValueError(f"initializer={told!r:.80}; expected one of {', '.join(INITIALIZERS)}")
    row = INITIALIZERS[name]
    takes = [*row.options, *(["seed"] if row.random else [])]
    for option in config:
        if option not in takes:
            takes = takes or ["no options"]
            raise ValueError(f"{name} has {option!r:.80}; expected {', '.join(takes)}")
    values = {**row.options, **config}
    seed = values.pop("seed", None)
    seed = None if seed is None else whole(f"{name}: seed", seed, -(2**63))
    return Initializer(name, {o: _value(f"{name}: {o}", o, v) for o, v in values.items()}, seed)


def _class_and_config(told: Any) -> tuple[str, dict[str, Any]]:
    """The class of a serialized object, "" where it is not Keras's, and its options."""
    row = told if isinstance(told, Mapping) else {}
    kind, config = str(row.get("class_name")), row.get("config") or {}
    package = str(row.get("module") or "keras").partition(".")[0]
    if package != "keras" or row.get("registered_name") not in (None, kind):
        kind = ""
    if not isinstance(config, Mapping):
        raise ValueError(f"{kind} has the config {config!r:.80}; expected options")
    # Keras 2 drops a dtype; axes that are None leave the fans what they are.
    nothing = {"dtype": config.get("dtype"), "input_axes": None, "output_axes": None}
    return kind, {o: v for o, v in config.items() if o not in nothing or v is not nothing[o]}


def _value(where: str, option: str, value: Any) -> float | str:
    """An option's value, as Keras holds it.

    Raises:
        ValueError: no weights can be made of it.
    """
    if option in _WORDS:
        word = str(value).lower() if option == "distribution" else value
        word = "truncated_normal" if word == "normal" else word  # as Keras 2 called it first
        if word not in _WORDS[option]:
            raise ValueError(f"{where}={value!r:.80}; expected {' or '.join(_WORDS[option])}")
        return str(word)
    least, span = _LEAST.get(option, (-_MOST, "that float32 holds"))
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not least <= value <= _MOST:
        raise ValueError(f"{where}={value!r:.80}; expected a number {span}")
    return float(value)
