"""The kinds of layers that are read and written: a row for each.

Classes are compared by name, never imported: what has no row is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from torch_impl.keras.activations import ACTIVATIONS, activation_module, leaky_relu
from torch_impl.keras.dropout import KerasDropout
from torch_impl.keras.network import WEIGHTS, Layer
from torch_impl.keras.normalization import KerasBatchNormalization

__all__ = ["KINDS", "SUPPORTED", "Kind", "kind_of", "layer_modules", "layer_of", "snake_case"]

Config = Mapping[str, Any]


class Kind(NamedTuple):
    """What is to be known of one of Keras's classes."""

    read: Callable[[str, Config], Layer]
    """From a layer's name and config; raises ValueError where it is not supported."""
    write: Callable[[Layer], dict[str, Any]]
    """What of the config is this kind's own."""
    module: Callable[[Layer, int, torch.dtype | None], nn.Module]
    """From the layer and the width that comes in."""
    weights: tuple[str, ...] = ()
    """The module's names for what `contents.WEIGHTS` calls this kind's weights."""


def layer_of(kind: str, name: str, config: Config) -> Layer:
    """The layer that Keras's config describes.

    Raises:
        ValueError: an option of it is not supported, or none.
    """
    return KINDS[kind].read(name, config)


def layer_modules(layer: Layer, width: int, dtype: torch.dtype | None) -> list[nn.Module]:
    """The layer's module, if it has one, and its activation's, if it is not linear."""
    modules = [] if layer.kind == "Activation" else [KINDS[layer.kind].module(layer, width, dtype)]
    if layer.activation != "linear":
        modules.append(activation_module(layer.activation))
    return modules


def _dense(name: str, config: Config) -> Layer:
    units, use_bias = config.get("units"), config.get("use_bias", True)
    activation = _activation(name, config)
    if type(units) is not int or units < 1 or type(use_bias) is not bool:
        raise ValueError(
            f"{name!r} has units={str(units)[:80]} and use_bias={str(use_bias)[:80]}; "
            "expected a positive number, and true or false"
        )
    return Layer("Dense", name, units, activation, use_bias)


def _dropout(name: str, config: Config) -> Layer:
    rate, seed = config.get("rate"), config.get("seed")
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
        raise ValueError(f"{name!r} has the rate {str(rate)[:80]}; expected it in [0, 1]")
    if config.get("noise_shape") is not None:
        raise ValueError(f"{name!r} has a noise_shape, which is not supported")
    if type(seed) is int and not -(2**63) <= seed < 2**63:
        raise ValueError(f"{name!r} has a seed of {seed.bit_length()} bits; expected 64")
    return Layer("Dropout", name, rate=float(rate), seed=seed if type(seed) is int else None)


def _normalization(kind: str) -> Callable[[str, Config], Layer]:
    def read(name: str, config: Config) -> Layer:
        _last_axis(name, config)
        for option in ("rms_scaling", "renorm", "virtual_batch_size"):
            if config.get(option):
                raise ValueError(f"{name!r} has {option}, which is not supported")
        epsilon = _number(name, config, "epsilon", 1e-3, 1e9)
        momentum = _number(name, config, "momentum", 0.99, 1.0)
        switches = {option: config.get(option, True) for option in ("center", "scale")}
        if not all(type(value) is bool for value in switches.values()):
            raise ValueError(f"{name!r} has {switches}; expected true or false"[:200])
        return Layer(kind, name, epsilon=epsilon, momentum=momentum, **switches)

    return read


def _last_axis(name: str, config: Config) -> None:
    axis = config.get("axis", -1)
    (axis,) = axis if isinstance(axis, list) and len(axis) == 1 else (axis,)
    if axis not in (-1, 1) or isinstance(axis, bool):
        raise ValueError(f"{name!r} is along axis {str(axis)[:80]}; expected the last")


def _number(name: str, config: Config, option: str, default: float, most: float) -> float:
    value = config.get(option, default)
    match value:
        case {"class_name": "__numpy__", "config": {"value": scalar}}:
            value = scalar
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise ValueError(
            f"{name!r} has {option}={str(value)[:80]}; expected a number from 0 to {most:g}"
        )
    return float(value)


def _leaky_relu(name: str, config: Config) -> Layer:
    option = "alpha" if "alpha" in config else "negative_slope"  # Keras 2 and 3
    return Layer("LeakyReLU", name, slope=_number(name, config, option, 0.3, 1e9))


def _elu(name: str, config: Config) -> Layer:
    return Layer("ELU", name, slope=_number(name, config, "alpha", 1.0, 1e9))


def _relu(name: str, config: Config) -> Layer:
    slopes = [_number(name, config, option, 0.0, 1e9) for option in ("negative_slope", "threshold")]
    if any(slopes) or config.get("max_value") is not None:
        raise ValueError(f"{name!r} has a max_value, negative_slope or threshold: not supported")
    return Layer("ReLU", name)


def _softmax(name: str, config: Config) -> Layer:
    _last_axis(name, config)
    return Layer("Softmax", name)


def _prelu(name: str, config: Config) -> Layer:
    if config.get("shared_axes"):
        raise ValueError(f"{name!r} has shared_axes, which is not supported")
    return Layer("PReLU", name)


def _activation(name: str, config: Config) -> str:
    told = _activation_name(config.get("activation"))
    told = _SAME.get(told, told) if isinstance(told, str | None) else str(told)
    if told not in ACTIVATIONS:
        raise ValueError(f"{name!r} has the activation {str(told)[:80]!r}")
    return str(told)


_SAME: dict[str | None, str] = {None: "linear", "swish": "silu", "hard_swish": "hard_silu"}


def _activation_name(told: Any) -> Any:
    """The name of an activation that is one, a function, or a layer object without options."""
    if isinstance(told, dict) and told.get("registered_name") is not None:
        return str(told)  # a class or function that is not Keras's, of whatever name
    match told:
        case None | str():
            return told
        case {"class_name": "function", "config": str(name)}:
            return name
        case {"class_name": "Activation", "config": {"activation": inner}}:
            return inner if inner is None or isinstance(inner, str) else str(inner)
        case {"class_name": "ReLU" | "Softmax" as kind, "config": dict(config)}:
            try:
                layer_of(kind, "activation", config)
            except ValueError:
                return str(told)
            return kind.lower()
    return str(told)


def _layer_norm(layer: Layer, width: int, dtype: torch.dtype | None) -> nn.Module:
    affine = layer.center or layer.scale  # nothing is allocated for weights that there are not
    module = nn.LayerNorm(width, layer.epsilon, affine, layer.center, dtype=dtype)
    if not layer.scale:
        module.register_parameter("weight", None)
    return module


def _normalized(layer: Layer) -> dict[str, Any]:
    return {
        "axis": -1, "epsilon": layer.epsilon, "center": layer.center, "scale": layer.scale,
    }  # fmt: skip


KINDS: dict[str, Kind] = {
    "Dense": Kind(
        _dense,
        lambda layer: {
            "units": layer.units, "activation": layer.activation, "use_bias": layer.use_bias,
        },
        lambda layer, width, dtype: nn.Linear(width, layer.units, layer.use_bias, dtype=dtype),
        ("weight", "bias"),
    ),
    "Dropout": Kind(
        _dropout,
        lambda layer: {"rate": layer.rate, "seed": layer.seed, "noise_shape": None},
        lambda layer, *_: (
            nn.Dropout(layer.rate) if layer.seed is None else KerasDropout(layer.rate, layer.seed)
        ),
    ),
    "Activation": Kind(
        lambda name, config: Layer("Activation", name, activation=_activation(name, config)),
        lambda layer: {"activation": layer.activation},
        lambda layer, *_: activation_module(layer.activation),
    ),
    "BatchNormalization": Kind(
        _normalization("BatchNormalization"),
        lambda layer: {**_normalized(layer), "momentum": layer.momentum},
        lambda layer, width, dtype: KerasBatchNormalization(
            width, layer.momentum, layer.epsilon, layer.center, layer.scale, dtype=dtype
        ),
        ("weight", "bias", "running_mean", "running_var"),
    ),
    "LayerNormalization": Kind(
        _normalization("LayerNormalization"),
        lambda layer: {**_normalized(layer), "rms_scaling": False},
        _layer_norm,
        ("weight", "bias"),
    ),
    "ReLU": Kind(_relu, lambda _: {}, lambda *_: nn.ReLU()),
    "LeakyReLU": Kind(
        _leaky_relu,
        lambda layer: {"negative_slope": layer.slope},
        lambda layer, *_: leaky_relu(layer.slope),
    ),
    "ELU": Kind(_elu, lambda layer: {"alpha": layer.slope}, lambda layer, *_: nn.ELU(layer.slope)),
    "PReLU": Kind(
        _prelu,
        lambda _: {"shared_axes": None},
        lambda _, width, dtype: nn.PReLU(width, dtype=dtype),
        ("weight",),
    ),
    "Softmax": Kind(_softmax, lambda _: {"axis": -1}, lambda *_: nn.Softmax(-1)),
}  # fmt: skip
"""By Keras's class."""

SUPPORTED = f"supported: Input, {', '.join(KINDS)}, one after another"


def snake_case(kind: str) -> str:
    """What Keras calls the groups of a class: `re_lu`, `leaky_re_lu`, `p_re_lu`, `elu`."""
    apart = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", kind)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", apart).lower()


def kind_of(weights: Iterable[str]) -> str | None:
    """The kind of layer whose weights these may be, the one with the fewest; None for no kind."""
    named = set(weights)
    kinds = [kind for kind, names in WEIGHTS.items() if named <= set(names)]
    return min(kinds, key=lambda kind: len(WEIGHTS[kind]), default=None)
