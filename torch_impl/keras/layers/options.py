"""The options of each kind of layer, from Keras's config: what is supported, and what is one.

Each reader takes a layer's name and config and raises ValueError, in one line that names the
layer, where it cannot be taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch_impl.keras.layers.activations import ACTIVATIONS
from torch_impl.keras.layers.network import Layer

__all__ = [
    "Config", "activation", "dense", "drawing", "elu", "leaky_relu", "measured", "normalization",
    "numbers", "prelu", "relu", "rescaling", "reshape", "softmax",
]  # fmt: skip

Config = Mapping[str, Any]


def dense(name: str, config: Config) -> Layer:
    """Dense."""
    units, use_bias = config.get("units"), config.get("use_bias", True)
    told = activation(name, config)
    if type(units) is not int or units < 1 or type(use_bias) is not bool:
        raise ValueError(
            f"{name!r} has units={str(units)[:80]} and use_bias={str(use_bias)[:80]}; "
            "expected a positive number, and true or false"
        )
    return Layer("Dense", name, units, told, use_bias)


def drawing(kind: str, option: str = "rate") -> Callable[[str, Config], Layer]:
    """What reads a kind that draws numbers in training."""

    def read(name: str, config: Config) -> Layer:
        rate, seed = config.get(option), config.get("seed")
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise ValueError(f"{name!r} has the {option} {str(rate)[:80]}; expected it in [0, 1]")
        if kind == "GaussianDropout" and rate == 1:
            raise ValueError(f"{name!r} has the rate 1; expected it below 1")
        if config.get("noise_shape") is not None:
            raise ValueError(f"{name!r} has a noise_shape, which is not supported")
        if type(seed) is int and not -(2**63) <= seed < 2**63:
            raise ValueError(f"{name!r} has a seed of {seed.bit_length()} bits; expected 64")
        return Layer(kind, name, rate=float(rate), seed=seed if type(seed) is int else None)

    return read


def normalization(kind: str) -> Callable[[str, Config], Layer]:
    """What reads a kind of normalization."""

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


def _number(
    name: str, config: Config, option: str, default: float, most: float, least: float = 0.0
) -> float:
    value = config.get(option, default)
    match value:
        case {"class_name": "__numpy__", "config": {"value": scalar}}:
            value = scalar
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value <= most:
        raise ValueError(
            f"{name!r} has {option}={str(value)[:80]}; expected a number from {least:g} to {most:g}"
        )
    return float(value)


def leaky_relu(name: str, config: Config) -> Layer:
    """LeakyReLU, of Keras 2 too."""
    option = "alpha" if "alpha" in config else "negative_slope"  # Keras 2 and 3
    return Layer("LeakyReLU", name, slope=_number(name, config, option, 0.3, 1e9))


def elu(name: str, config: Config) -> Layer:
    """ELU."""
    return Layer("ELU", name, slope=_number(name, config, "alpha", 1.0, 1e9))


def relu(name: str, config: Config) -> Layer:
    """ReLU."""
    options: dict[str, float | None] = {"max_value": None}
    for option in ("max_value", "negative_slope", "threshold"):
        if option != "max_value" or config.get(option) is not None:
            options[option] = _number(name, config, option, 0.0, 1e9)
    plain = options == {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
    return Layer("ReLU", name, options={} if plain else options)


def rescaling(name: str, config: Config) -> Layer:
    """Rescaling."""
    given = {"scale": config.get("scale"), "offset": config.get("offset", 0.0)}
    return Layer("Rescaling", name, options=numbers(name, given))


def measured(name: str, config: Config) -> Layer:
    """Normalization."""
    _last_axis(name, config)
    told = {n: config[n] for n in ("mean", "variance") if config.get(n) is not None}
    if len(told) == 1 or type(config.get("invert", False)) is not bool:
        raise ValueError(f"{name!r} has one of mean and variance; expected both, or neither")
    invert = {"invert": config.get("invert", False)}
    return Layer("Normalization", name, options=invert | numbers(name, told))


def numbers(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Each one number or a list of some, maybe within an array of NumPy's."""
    found: dict[str, Any] = {}
    for option, value in options.items():
        match value:
            case {"class_name": "__numpy__" | "__tensor__", "config": {"value": inner}}:
                value = inner
        while isinstance(value, (list, tuple)) and len(value) == 1:
            (value,) = value  # (1, F), as adapt gives it
        several = isinstance(value, (list, tuple))
        items = [_number(name, {option: v}, option, 0.0, 1e30, -1e30) for v in
                 (value if several else [value])]  # fmt: skip
        if len(items) > _MOST_NUMBERS:
            raise ValueError(f"{name!r} has {len(items)} numbers as its {option}; too many")
        found[option] = items if several else items[0]
    return found


_MOST_NUMBERS = 1 << 16


def reshape(name: str, config: Config) -> Layer:
    """Reshape."""
    target = config.get("target_shape")
    items = list(target) if isinstance(target, (list, tuple)) else []
    if len(items) != 1 or type(items[0]) is not int or not (items[0] >= 1 or items[0] == -1):
        raise ValueError(f"{name!r} has target_shape={str(target)[:80]}; expected one axis")
    return Layer("Reshape", name, options={"target_shape": items})


def softmax(name: str, config: Config) -> Layer:
    """Softmax."""
    _last_axis(name, config)
    return Layer("Softmax", name)


def prelu(name: str, config: Config) -> Layer:
    """PReLU."""
    if config.get("shared_axes"):
        raise ValueError(f"{name!r} has shared_axes, which is not supported")
    return Layer("PReLU", name)


def activation(name: str, config: Config) -> str | Layer:
    """A name of `ACTIVATIONS`, or a layer that is one.

    Raises:
        ValueError: it is another.
    """
    told = config.get("activation")
    layer = told if isinstance(told, Layer) else _activation_layer(told)
    if layer is not None:
        if layer.kind not in _AS_ACTIVATION:
            raise ValueError(f"{name!r} has the activation {layer.kind}")
        plain = layer.kind == "Softmax" or (layer.kind == "ReLU" and not layer.options)
        return layer.kind.lower() if plain else layer
    told = _activation_name(told)
    told = _SAME.get(told, told) if isinstance(told, str | None) else str(told)
    if told not in ACTIVATIONS:
        raise ValueError(f"{name!r} has the activation {str(told)[:80]!r}")
    return str(told)


_SAME: dict[str | None, str] = {None: "linear", "swish": "silu", "hard_swish": "hard_silu"}


def _activation_layer(told: Any) -> Layer | None:
    """The layer of Keras that an activation is, if it is one."""
    match told:
        case {"class_name": str(kind), "config": dict(config)} if kind in _AS_ACTIVATION:
            if told.get("registered_name") is None:
                name = str(config.get("name") or kind)
                try:
                    return _AS_ACTIVATION[kind](name, config)
                except ValueError:
                    return None
    return None


def _activation_name(told: Any) -> Any:
    """The name of an activation that is one, or a function."""
    if isinstance(told, dict) and told.get("registered_name") is not None:
        return str(told)  # a class or function that is not Keras's, of whatever name
    match told:
        case None | str():
            return told
        case {"class_name": "function", "config": str(name)}:
            return name
        case {"class_name": "Activation", "config": {"activation": inner}}:
            return inner if inner is None or isinstance(inner, str) else str(inner)
    return str(told)


_AS_ACTIVATION: dict[str, Callable[[str, Config], Layer]] = {
    "ELU": elu, "LeakyReLU": leaky_relu, "ReLU": relu, "Softmax": softmax,
}  # fmt: skip
"""Layers without weights that may stand in an activation's place."""
