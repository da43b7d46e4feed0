"""The kinds of layers that are read, built and written: a row for each.

Classes are compared by name, never imported: what has no row is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from torch_impl.keras.layers import options as reading
from torch_impl.keras.layers.activations import KerasReLU, activation_module, leaky_relu
from torch_impl.keras.layers.dropout import KerasDropout
from torch_impl.keras.layers.network import WEIGHTS, Layer
from torch_impl.keras.layers.noise import (
    KerasAlphaDropout,
    KerasGaussianDropout,
    KerasGaussianNoise,
)
from torch_impl.keras.layers.normalization import KerasBatchNormalization
from torch_impl.keras.layers.options import Config
from torch_impl.keras.layers.regularizers import L1L2, regularizer_of
from torch_impl.keras.layers.scaling import KerasNormalization, KerasRescaling

__all__ = [
    "KINDS",
    "SUPPORTED",
    "Kind",
    "kind_of",
    "layer_config",
    "layer_modules",
    "layer_of",
    "snake_case",
]


class Kind(NamedTuple):
    """What is to be known of one of Keras's classes."""

    read: Callable[[str, Config], Layer]
    """From a layer's name and config; raises ValueError where it is not supported."""
    write: Callable[[Layer], dict[str, Any]]
    """What of the config is this kind's own."""
    module: Callable[[Layer, int, torch.dtype | None], nn.Module]
    """From the layer and the width that comes in."""
    weights: tuple[str, ...] = ()
    """The module's names for what `WEIGHTS` calls this kind's weights."""
    arguments: tuple[str, ...] = ()
    """What Keras's class takes, in its order, to build a layer."""
    fits: Callable[[Layer, int], bool] = lambda *_: True
    """Whether it takes rows of a width, and gives as many numbers."""


def layer_of(kind: str, name: str, config: Config) -> Layer:
    """The layer that Keras's config describes, with its regularizers as far as they are known.

    Raises:
        ValueError: an option of it is not supported, or none.
    """
    layer = KINDS[kind].read(name, config)
    found: dict[str, L1L2] = {}
    for weight in WEIGHTS.get(kind, ()):
        told = config.get(f"{weight}_regularizer")
        if told is not None:
            try:
                found[weight] = regularizer_of(told)
            except ValueError:
                continue  # a note tells of it, where a file has it
    return replace(layer, regularizers=found) if found else layer


def layer_config(layer: Layer) -> dict[str, Any]:
    """What of a layer's config is its kind's own, regularizers too, as Keras 3 writes it."""
    config = KINDS[layer.kind].write(layer)
    for weight, regularizer in layer.regularizers.items():
        config[f"{weight}_regularizer"] = {
            "module": "keras.regularizers", "class_name": "L1L2",
            "config": regularizer._asdict(), "registered_name": None,
        }  # fmt: skip
    return config


def layer_modules(layer: Layer, width: int, dtype: torch.dtype | None) -> list[nn.Module]:
    """The layer's module, if it has one, and its activation's, if it is not linear."""
    modules = [] if layer.kind == "Activation" else [KINDS[layer.kind].module(layer, width, dtype)]
    activation = layer.activation
    if isinstance(activation, Layer):
        modules += layer_modules(activation, layer.units or width, dtype)
    elif activation != "linear":
        modules.append(activation_module(activation))
    return modules


def _activation_config(layer: Layer) -> Any:
    inner = layer.activation
    if isinstance(inner, str):
        return inner
    return {
        "module": "keras.layers", "class_name": inner.kind,
        "config": {"name": inner.name, **layer_config(inner)}, "registered_name": None,
    }  # fmt: skip


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


def _as_long(options: Config, names: Iterable[str], width: int) -> bool:
    """Whether lists of numbers have one for each feature."""
    lists = [options[name] for name in names if isinstance(options.get(name), list)]
    return all(len(numbers) == width for numbers in lists)


KINDS: dict[str, Kind] = {
    "Dense": Kind(
        reading.dense,
        lambda layer: {
            "units": layer.units, "activation": _activation_config(layer),
            "use_bias": layer.use_bias,
        },
        lambda layer, width, dtype: nn.Linear(width, layer.units, layer.use_bias, dtype=dtype),
        ("weight", "bias"),
        ("units", "activation", "use_bias"),
    ),
    "Dropout": Kind(
        reading.drawing("Dropout"),
        lambda layer: {"rate": layer.rate, "seed": layer.seed, "noise_shape": None},
        lambda layer, *_: (
            nn.Dropout(layer.rate) if layer.seed is None else KerasDropout(layer.rate, layer.seed)
        ),
        arguments=("rate", "noise_shape", "seed"),
    ),
    "GaussianNoise": Kind(
        reading.drawing("GaussianNoise", "stddev"),
        lambda layer: {"stddev": layer.rate, "seed": layer.seed},
        lambda layer, *_: KerasGaussianNoise(layer.rate, layer.seed),
        arguments=("stddev", "seed"),
    ),
    "GaussianDropout": Kind(
        reading.drawing("GaussianDropout"),
        lambda layer: {"rate": layer.rate, "seed": layer.seed},
        lambda layer, *_: KerasGaussianDropout(layer.rate, layer.seed),
        arguments=("rate", "seed"),
    ),
    "AlphaDropout": Kind(
        reading.drawing("AlphaDropout"),
        lambda layer: {"rate": layer.rate, "seed": layer.seed, "noise_shape": None},
        lambda layer, *_: KerasAlphaDropout(layer.rate, layer.seed),
        arguments=("rate", "noise_shape", "seed"),
    ),
    "Activation": Kind(
        lambda name, config: Layer("Activation", name, activation=reading.activation(name, config)),
        lambda layer: {"activation": _activation_config(layer)},
        lambda *_: nn.Identity(),  # its activation's is all there is
        arguments=("activation",),
    ),
    "BatchNormalization": Kind(
        reading.normalization("BatchNormalization"),
        lambda layer: {**_normalized(layer), "momentum": layer.momentum},
        lambda layer, width, dtype: KerasBatchNormalization(
            width, layer.momentum, layer.epsilon, layer.center, layer.scale, dtype=dtype
        ),
        ("weight", "bias", "running_mean", "running_var"),
        ("axis", "momentum", "epsilon", "center", "scale"),
    ),
    "LayerNormalization": Kind(
        reading.normalization("LayerNormalization"),
        lambda layer: {**_normalized(layer), "rms_scaling": False},
        _layer_norm,
        ("weight", "bias"),
        ("axis", "epsilon", "center", "scale"),
    ),
    "ReLU": Kind(
        reading.relu,
        lambda layer: {**layer.options},
        lambda layer, *_: KerasReLU(**layer.options) if layer.options else nn.ReLU(),
        arguments=("max_value", "negative_slope", "threshold"),
    ),
    "LeakyReLU": Kind(
        reading.leaky_relu,
        lambda layer: {"negative_slope": layer.slope},
        lambda layer, *_: leaky_relu(layer.slope),
        arguments=("negative_slope",),
    ),
    "ELU": Kind(
        reading.elu,
        lambda layer: {"alpha": layer.slope},
        lambda layer, *_: nn.ELU(layer.slope),
        arguments=("alpha",),
    ),
    "PReLU": Kind(
        reading.prelu,
        lambda _: {"shared_axes": None},
        lambda _, width, dtype: nn.PReLU(width, dtype=dtype),
        ("weight",),
        ("alpha_initializer", "alpha_regularizer"),
    ),
    "Softmax": Kind(
        reading.softmax, lambda _: {"axis": -1}, lambda *_: nn.Softmax(-1), arguments=("axis",)
    ),
    "Rescaling": Kind(
        reading.rescaling,
        lambda layer: {**layer.options},
        lambda layer, _, dtype: KerasRescaling(**layer.options, dtype=dtype),
        arguments=("scale", "offset"),
        fits=lambda layer, width: _as_long(layer.options, ("scale", "offset"), width),
    ),
    "Normalization": Kind(
        reading.measured,
        lambda layer: {"axis": -1, "mean": None, "variance": None, **layer.options},
        lambda layer, width, dtype: KerasNormalization(width, **layer.options, dtype=dtype),
        ("mean", "variance", "count"),
        ("axis", "mean", "variance", "invert"),
        fits=lambda layer, width: _as_long(layer.options, ("mean", "variance"), width),
    ),
    "Flatten": Kind(
        lambda name, _: Layer("Flatten", name),
        lambda _: {"data_format": "channels_last"},
        lambda *_: nn.Flatten(),
    ),
    "Reshape": Kind(
        reading.reshape,
        lambda layer: {**layer.options},
        lambda layer, width, _: nn.Unflatten(-1, (width,)),
        arguments=("target_shape",),
        fits=lambda layer, width: layer.options["target_shape"][0] in (-1, width),
    ),
    "Identity": Kind(
        lambda name, _: Layer("Identity", name), lambda _: {}, lambda *_: nn.Identity()
    ),
    "ActivityRegularization": Kind(
        lambda name, config: Layer("ActivityRegularization", name, options=reading.numbers(
            name, {option: config.get(option, 0.0) for option in ("l1", "l2")}
        )),
        lambda layer: {**layer.options},
        lambda *_: nn.Identity(),
    ),
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
