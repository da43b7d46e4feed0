"""What a Keras file says, whichever format it is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from torch_impl.base.printing import printable
from torch_impl.keras.layers.network import Network

__all__ = [
    "MOST_LAYERS",
    "AdamState",
    "Contents",
    "KerasFileError",
    "by_layer",
    "printable",
]

MOST_LAYERS = 2_000  # of one network; a module of as many is built in half a second


class KerasFileError(ValueError):
    """A Keras file is damaged or hostile, or holds what is not supported.

    The message is one line; what a file put into it cannot steer a terminal.

    Args:
        message: is made one printable line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def by_layer(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """`layer/weight` to tensor as layer to weight to tensor."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        layer, _, weight = name.rpartition("/")
        found.setdefault(layer, {})[weight] = tensor
    return found


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
