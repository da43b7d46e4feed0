"""Forward error bounds of a whole network of Keras's layers, given as data.

What each layer gives in float64, and how far a right float32 computation of it may be off, by any
library and in any order of summation, carried from layer to layer (`parity_tests.judge.bounds`).
A layer is a row of Keras's own config; its weights are arrays in Keras's layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from parity_tests.judge.bounds import Bounded, affine
from parity_tests.judge.layers import elementwise, normalizations
from parity_tests.judge.layers.elementwise import ACTIVATIONS, applied, claimed
from parity_tests.judge.layers.softmax import log_softmax, softmax
from parity_tests.judge.sigmoid import TINY

__all__ = ["KINDS", "NAMED", "forward_layers"]

Config = Mapping[str, Any]
Weight = Callable[[str, tuple[int, ...]], np.ndarray]
"""A layer's weight of a name and a shape, as float64 of what float32 holds."""
Kind = Callable[[Bounded, Config, Weight], Bounded]


def forward_layers(
    rows: Iterable[Config], weights: Mapping[str, np.ndarray], x: Bounded
) -> dict[str, Bounded]:
    """Every layer's output in inference, one layer after the other.

    Args:
        rows: each layer's `class_name` and `config`, as in Keras's files; an `InputLayer` is
            passed over.
        weights: by `layer/weight`, in Keras's layout.
        x: (N, …), with an allowance of zero where every library gets the same bits.

    Returns:
        By the layers' names. Of a Dense layer with an activation also what that is taken of, as
        `dense: pre-activations`, before `dense`.

    Raises:
        ValueError: layers or activations that nothing is known of, all of them; a weight that is
            missing or of another shape; an option that is not supported.
    """
    rows = [row for row in rows if row["class_name"] != "InputLayer"]
    unknown = [f"{row['config'].get('name')!r} ({what})" for row in rows for what in _unknown(row)]
    if unknown:
        raise ValueError(
            f"no bound is known of {', '.join(unknown)}; "
            f"expected layers {', '.join(KINDS)}; activations {', '.join(NAMED)}"
        )
    found = {}
    for row in rows:
        kind, config = row["class_name"], row["config"]
        name = config["name"]
        x = KINDS[kind](x, config, _weights_of(name, weights))
        if kind == "Dense" and config.get("activation") not in (None, "linear"):
            found[f"{name}: pre-activations"] = x
            x = _activated(x, config)
        found[name] = x
    return found


def _unknown(row: Config) -> list[str]:
    """The kinds of a layer and its activation that there is no bound of."""
    found = [] if row["class_name"] in KINDS else [str(row["class_name"])]
    match row["config"].get("activation"):
        case None:
            return found
        case str(name) | {"class_name": "function", "config": str(name)}:
            return found + [name] * (name not in NAMED)
        case {"class_name": str(), "config": dict()} as layer:
            return found + _unknown(layer)
        case other:
            return [*found, str(other)[:80]]


def _weights_of(layer: str, weights: Mapping[str, np.ndarray]) -> Weight:
    def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
        held = weights.get(f"{layer}/{name}")
        if held is None or held.shape != shape:
            came = "is missing" if held is None else f"has the shape {held.shape}"
            raise ValueError(f"weight {layer}/{name} {came}; expected {shape}")
        return held.astype(np.float64)

    return weight


def _of_one(config: Config, option: str, *expected: Any) -> None:
    """Raises where an option, if it is given, is none of what is expected."""
    if config.get(option, expected[0]) not in expected:
        raise ValueError(
            f"{config.get('name')!r} has {option}={config[option]!r}; expected {expected[0]!r}"
        )


def _over_last(x: Bounded, config: Config) -> None:
    last = x.value.ndim - 1
    _of_one(config, "axis", -1, last, [-1], [last], (-1,), (last,))


def _number(value: Any) -> np.ndarray:
    """A number or an array of a config, as float64 of what float32 holds."""
    if isinstance(value, Mapping):  # as Keras writes an array of NumPy
        value = value["config"]["value"]
    return np.asarray(value, np.float32).astype(np.float64)


def _activated(x: Bounded, config: Config, _: Weight | None = None) -> Bounded:
    match config["activation"]:
        case None:
            return x
        case str(name) | {"class_name": "function", "config": str(name)}:
            return NAMED[name](x)
        case layer:
            return KINDS[layer["class_name"]](x, layer["config"], _weights_of("activation", {}))


def _dense(x: Bounded, config: Config, weight: Weight) -> Bounded:
    n, units = x.value.shape[-1], config["units"]
    kernel = weight("kernel", (n, units))
    bias = weight("bias", (units,)) if config.get("use_bias", True) else np.zeros(units)
    flat = Bounded(*(part.reshape(-1, n) for part in x))
    found = affine(flat, kernel, bias)
    return Bounded(*(part.reshape(*x.value.shape[:-1], units) for part in found))


def _reshaped(x: Bounded, shape: Iterable[int]) -> Bounded:
    return Bounded(*(part.reshape(len(part), *shape) for part in x))


def _scale_and_offset(x: Bounded, config: Config, weight: Weight) -> tuple[np.ndarray, np.ndarray]:
    n = x.value.shape[-1:]
    gamma = weight("gamma", n) if config.get("scale", True) else np.ones(n)
    return gamma, weight("beta", n) if config.get("center", True) else np.zeros(n)


def _batch_normalization(x: Bounded, config: Config, weight: Weight) -> Bounded:
    _over_last(x, config)
    _of_one(config, "renorm", False)
    moving = (weight(f"moving_{name}", x.value.shape[-1:]) for name in ("mean", "variance"))
    return normalizations.batch_normalization(
        x, *_scale_and_offset(x, config, weight), *moving, config.get("epsilon", 1e-3)
    )


def _layer_normalization(x: Bounded, config: Config, weight: Weight) -> Bounded:
    _over_last(x, config)
    _of_one(config, "rms_scaling", False)
    return normalizations.layer_normalization(
        x, *_scale_and_offset(x, config, weight), config.get("epsilon", 1e-3)
    )


def _normalization(x: Bounded, config: Config, weight: Weight) -> Bounded:
    if config.get("mean") is None:  # adapted to data
        _over_last(x, config)
        mean, variance = (weight(name, x.value.shape[-1:]) for name in ("mean", "variance"))
    else:
        mean, variance = _number(config["mean"]), _number(config["variance"])
        if mean.ndim:
            _over_last(x, config)
    if config.get("invert", False):
        return normalizations.inverse_normalization(x, mean, variance)
    return normalizations.normalization(x, mean, variance)


def _prelu(x: Bounded, config: Config, weight: Weight) -> Bounded:
    shared = config.get("shared_axes") or ()
    shape = tuple(1 if i in shared else n for i, n in enumerate(x.value.shape) if i)
    alpha = weight("alpha", shape)
    found = applied(elementwise.leaky_relu(alpha), x)
    flushed = np.isinf(x.value) & (alpha != 0) & (np.abs(alpha) < TINY)
    return claimed(*found, flushed | np.isinf(alpha))


def _softmax(x: Bounded, config: Config, _: Weight) -> Bounded:
    _over_last(x, config)
    return softmax(x)


def _unit_normalization(x: Bounded, config: Config, _: Weight) -> Bounded:
    _over_last(x, config)
    return normalizations.unit_normalization(x)


KINDS: dict[str, Kind] = {
    "Dense": _dense,
    **dict.fromkeys(
        ("Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "SpatialDropout1D",
         "ActivityRegularization", "Identity"),
        lambda x, *_: x,
    ),
    "Activation": _activated,
    "ReLU": lambda x, config, _: applied(
        elementwise.relu(**{
            option: config[option] for option in ("max_value", "negative_slope", "threshold")
            if option in config
        }), x,
    ),
    "LeakyReLU": lambda x, config, _: applied(  # Keras 2 calls it alpha
        elementwise.leaky_relu(_number(config.get("negative_slope", config.get("alpha", 0.3)))), x
    ),
    "ELU": lambda x, config, _: applied(elementwise.elu(_number(config.get("alpha", 1.0))), x),
    "PReLU": _prelu,
    "Softmax": _softmax,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "UnitNormalization": _unit_normalization,
    "Normalization": _normalization,
    "Rescaling": lambda x, config, _: normalizations.rescaling(
        x, _number(config["scale"]), _number(config.get("offset", 0.0))
    ),
    "Flatten": lambda x, *_: _reshaped(x, (int(np.prod(x.value.shape[1:])),)),
    "Reshape": lambda x, config, _: _reshaped(x, config["target_shape"]),
}  # fmt: skip
"""By Keras's class: what a layer makes of a value, its config and its weights."""

NAMED: dict[str, Callable[[Bounded], Bounded]] = {
    **{name: partial(applied, f) for name, f in ACTIVATIONS.items()},
    "swish": partial(applied, ACTIVATIONS["silu"]),
    "hard_swish": partial(applied, ACTIVATIONS["hard_silu"]),
    "softmax": softmax,
    "log_softmax": log_softmax,
}
"""By Keras's name: the activations that can be named without numbers of their own."""
