"""What a Keras file says, whichever format it is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

__all__ = [
    "MOST_LAYERS",
    "AdamState",
    "Contents",
    "KerasFileError",
    "Layer",
    "Network",
    "printable",
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


@dataclass(frozen=True)
class Layer:
    """One layer of a chain."""

    kind: Literal["Dense", "Dropout", "Activation"]
    name: str
    units: int = 0
    """Of a Dense layer."""
    activation: Literal["linear", "relu", "sigmoid"] = "linear"
    """Of a Dense or Activation layer."""
    use_bias: bool = True
    """Of a Dense layer."""
    rate: float = 0.0
    """Of a Dropout layer: share of units dropped."""
    seed: int | None = None
    """Of a Dropout layer, if the file says."""


@dataclass(frozen=True)
class Network:
    """A chain of layers."""

    in_features: int
    layers: tuple[Layer, ...]
    name: str = "sequential"

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """`layer/kernel` and `layer/bias` to shape, in Keras's layout and order."""
        shapes: dict[str, tuple[int, ...]] = {}
        width = self.in_features
        for layer in self.layers:
            if layer.kind == "Dense":
                shapes[f"{layer.name}/kernel"] = (width, layer.units)
                if layer.use_bias:
                    shapes[f"{layer.name}/bias"] = (layer.units,)
                width = layer.units
        return shapes


@dataclass(frozen=True)
class AdamState:
    """Where a `keras.optimizers.Adam` stands."""

    iterations: int
    learning_rate: float
    momentum: Mapping[str, Tensor]
    """By the weight's name, in Keras's layout, as `velocity`."""
    velocity: Mapping[str, Tensor]
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7


@dataclass(frozen=True)
class Contents:
    """What was read."""

    weights: Mapping[str, Tensor]
    """`layer/kernel` and `layer/bias`, in Keras's layout, of the file's own dtypes."""
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
