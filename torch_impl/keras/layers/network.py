"""A chain of Keras layers, as data: what each is, and which weights it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch_impl.keras.layers.initializers import Initializer
from torch_impl.keras.layers.regularizers import L1L2
from torch_impl.keras.weights import WeightRow

__all__ = ["WEIGHTS", "WEIGHT_NAMES", "Layer", "Network", "trained"]

WEIGHTS: dict[str, tuple[str, ...]] = {
    "Dense": ("kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "LayerNormalization": ("gamma", "beta"),
    "PReLU": ("alpha",),
    "Normalization": ("mean", "variance", "count"),
}
"""What each kind of layer that has weights calls them, in Keras's order."""

WEIGHT_NAMES = frozenset(name for names in WEIGHTS.values() for name in names)

_NOT_TRAINED = ("/moving_mean", "/moving_variance", "/mean", "/variance", "/count")


def trained(names: Iterable[str]) -> list[str]:
    """Those of `layer/weight` that an optimizer changes: no moving statistics."""
    return [name for name in names if not name.endswith(_NOT_TRAINED)]


@dataclass(frozen=True)
class Layer:
    """One layer of a chain."""

    kind: str
    """Keras's class, of those in `torch_impl.keras.layers.kinds`."""
    name: str
    units: int = 0
    """Of a Dense layer."""
    activation: str | Layer = "linear"
    """Of a Dense or Activation layer: one of `torch_impl.keras.layers.activations`, or a layer."""
    use_bias: bool = True
    """Of a Dense layer."""
    rate: float = 0.0
    """Of a Dropout or its kin: share of units dropped; of a GaussianNoise: its deviation."""
    seed: int | None = None
    """Of what draws numbers in training, if the file says."""
    epsilon: float = 1e-3
    """Of a normalization, as the next three."""
    momentum: float = 0.99
    center: bool = True
    scale: bool = True
    slope: float = 0.3
    """Of a LeakyReLU below zero; an ELU's alpha."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What Keras's config says of this kind alone, such as a Rescaling's `scale`."""
    regularizers: Mapping[str, L1L2] = field(default_factory=dict)
    """Weights that are penalised, by Keras's names."""
    initializers: Mapping[str, Initializer] = field(default_factory=dict)
    """Of weights that do not start as Keras's default has them; of networks built alone."""

    @property
    def last_activation(self) -> str:
        """Its activation's name, or class where it is a layer."""
        return self.activation if isinstance(self.activation, str) else self.activation.kind

    def weight_shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """Its weights' names to shapes, in Keras's order.

        Args:
            width: what comes in.
        """
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(WEIGHTS.get(self.kind, ()), (width,))
        if self.kind == "Dense":
            shapes = {"kernel": (width, self.units), "bias": (self.units,)}
        elif self.kind == "Normalization":
            told = "mean" in self.options
            shapes = {} if told else {"mean": (width,), "variance": (width,), "count": ()}
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

    @property
    def out_features(self) -> int:
        """What the last layer gives."""
        return self.layers[-1].units or self.widths()[-1]

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """`layer/weight` to shape, in Keras's layout and order."""
        return {
            f"{layer.name}/{weight}": shape
            for layer, width in zip(self.layers, self.widths(), strict=True)
            for weight, shape in layer.weight_shapes(width).items()
        }

    def regularizers(self, weight_map: Iterable[WeightRow]) -> dict[str, L1L2]:
        """The penalised parameters of a module, by its names, and their penalties."""
        told = {
            f"{layer.name}/{weight}": regularizer
            for layer in self.layers
            for weight, regularizer in layer.regularizers.items()
        }
        return {row.torch: told[row.keras] for row in weight_map if row.keras in told}
