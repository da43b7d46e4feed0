"""What a Keras file says, whichever format it is in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

__all__ = [
    "MOST_LAYERS",
    "WEIGHTS",
    "WEIGHT_NAMES",
    "AdamState",
    "Contents",
    "KerasFileError",
    "Layer",
    "Network",
    "by_layer",
    "printable",
    "trained",
]

MOST_LAYERS = 2_000  # of one network; a module of as many is built in half a second

_LONGEST_LINE = 8_000  # two of the longest paths


def printable(text: str) -> str:
    """One line that cannot steer a terminal, whatever a file put into it."""
    line = " ".join(text[:_LONGEST_LINE].split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


class KerasFileError(ValueError):
    """A Keras file is damaged or hostile, or holds what is not supported.

    The message is one line; what a file put into it cannot steer a terminal.

    Args:
        message: is made one printable line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


WEIGHTS: dict[str, tuple[str, ...]] = {
    "Dense": ("kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "LayerNormalization": ("gamma", "beta"),
    "PReLU": ("alpha",),
}
"""What each kind of layer that has weights calls them, in Keras's order."""

WEIGHT_NAMES = frozenset(name for names in WEIGHTS.values() for name in names)

_NOT_TRAINED = ("/moving_mean", "/moving_variance")


def by_layer(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """`layer/weight` to tensor as layer to weight to tensor."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        layer, _, weight = name.rpartition("/")
        found.setdefault(layer, {})[weight] = tensor
    return found


def trained(names: Iterable[str]) -> list[str]:
    """Those of `layer/weight` that an optimizer changes: no moving statistics."""
    return [name for name in names if not name.endswith(_NOT_TRAINED)]


@dataclass(frozen=True)
class Layer:
    """One layer of a chain."""

    kind: str
    """Keras's class, of those in `torch_impl.keras_files.layers`."""
    name: str
    units: int = 0
    """Of a Dense layer."""
    activation: str = "linear"
    """Of a Dense or Activation layer: one of `torch_impl.keras_activations`."""
    use_bias: bool = True
    """Of a Dense layer."""
    rate: float = 0.0
    """Of a Dropout layer: share of units dropped."""
    seed: int | None = None
    """Of a Dropout layer, if the file says."""
    epsilon: float = 1e-3
    """Of a normalization, as the next three."""
    momentum: float = 0.99
    center: bool = True
    scale: bool = True
    slope: float = 0.3
    """Of a LeakyReLU below zero; an ELU's alpha."""

    def weight_shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """Its weights' names to shapes, in Keras's order.

        Args:
            width: what comes in.
        """
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(WEIGHTS.get(self.kind, ()), (width,))
        if self.kind == "Dense":
            shapes = {"kernel": (width, self.units), "bias": (self.units,)}
        absent = {
            "bias": not self.use_bias, "gamma": not self.scale, "beta": not self.center,
        }  # fmt: skip
        return {name: shape for name, shape in shapes.items() if not absent.get(name, False)}


@dataclass(frozen=True)
class Network:
    """A chain of layers."""

    in_features: int
    layers: tuple[Layer, ...]
    name: str = "sequential"

    def widths(self) -> list[int]:
        """What comes into each layer."""
        widths = [self.in_features]
        for layer in self.layers:
            widths.append(layer.units or widths[-1])
        return widths[:-1]

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """`layer/weight` to shape, in Keras's layout and order."""
        return {
            f"{layer.name}/{weight}": shape
            for layer, width in zip(self.layers, self.widths(), strict=True)
            for weight, shape in layer.weight_shapes(width).items()
        }


@dataclass(frozen=True)
class AdamState:
    """Where a `keras.optimizers.Adam` stands."""

    iterations: int
    learning_rate: float
    momentum: Mapping[str, Tensor]
    """By the name of each weight that is trained, in Keras's layout, as `velocity`."""
    velocity: Mapping[str, Tensor]
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7


@dataclass(frozen=True)
class Contents:
    """What was read."""

    weights: Mapping[str, Tensor]
    """`layer/weight`, in Keras's layout, of the file's own dtypes."""
    network: Network | None = None
    """None where the file holds weights alone."""
    optimizer: AdamState | None = None
    """None where the model was saved without one."""
    format: str = ""
    """What kind of file it was, for people."""
    keras_version: str | None = None
    """Who wrote it, if the file says."""
    notes: tuple[str, ...] = ()
    """What the file says of the network and the module does not do, or does not say and was
    assumed."""
    optimizer_notes: tuple[str, ...] = ()
    """Likewise of the optimizer."""
    layer_names: tuple[str, ...] = ()
    """Of a file of weights alone that names its layers in order, those without weights too."""
