"""A chain of Keras layers as one module: loaded from a file, or built from scratch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from torch_impl.base.arrays import as_tensor
from torch_impl.base.modes import inference
from torch_impl.base.scripting import Unscriptable
from torch_impl.keras.layers.kinds import KINDS, layer_modules
from torch_impl.keras.layers.network import WEIGHTS, Layer, Network
from torch_impl.keras.layers.starts import named, started
from torch_impl.keras.weights import WeightRow, weights_of

__all__ = ["KerasNetwork", "weight_rows"]


class KerasNetwork(Unscriptable, nn.Module):
    """Any chain of the layers in `torch_impl.keras.layers.kinds`.

    Args:
        network: the chain.
        dtype: of the parameters.

    Attributes:
        keras_network: the chain.
        ends_in_sigmoid: whether the last activation is a sigmoid. `forward` leaves it out then
            and gives logits, as `FraudClassifier` does and `fit` wants.
        last_activation: the last one, by Keras's name or its layer's class; "linear" for none.
        regularizers: what `fit` adds to the loss, by the parameters' names.
    """

    def __init__(self, network: Network, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.keras_network = network
        chain: list[list[nn.Module]] = []
        for layer, width in zip(network.layers, network.widths(), strict=True):
            chain.append(layer_modules(layer, width, dtype))
        ends = [step for step in chain if step][-1:]
        self.ends_in_sigmoid = bool(ends) and isinstance(ends[0][-1], nn.Sigmoid)
        if self.ends_in_sigmoid:
            ends[0].pop()
        self.layers = nn.Sequential(*(nn.Sequential(*step) for step in chain))
        self.last_activation = _last_activation(network)
        self.regularizers = network.regularizers(self.weight_map())

    @classmethod
    def build(
        cls,
        in_features: int,
        layers: Iterable[Layer],
        *,
        seed: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> KerasNetwork:
        """A network from scratch, of layers that `torch_impl.layers` makes.

        Args:
            in_features: width of a row.
            layers: in their order.
            seed: what `keras.utils.set_random_seed` would get, 0 to 2**32 - 1: the initial
                weights, and what is drawn in training, are then what Keras draws for a
                `Sequential` of the same layers. If None, all come from torch's generator.
            dtype: of the parameters; what is drawn is float32's in every dtype.

        Raises:
            ValueError: two layers have one name, a layer does not take what the one before
                gives, or none has weights.
        """
        network, starts = started(named(in_features, tuple(layers)), seed)
        with torch.random.fork_rng(devices=[]):  # what modules draw for themselves is replaced
            model = cls(network, dtype)
        held = weights_of(model)
        with torch.no_grad():
            for row in model.weight_map():
                value = starts[row.keras]
                held[row.torch].copy_(value.T if row.transpose else value)
        return model

    def weight_map(self) -> list[WeightRow]:
        """Keras's name of each weight, and the module's."""
        places = [f"layers.{i}.0" for i in range(len(self.layers))]
        return weight_rows(self.keras_network, places)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, units), or what the last layer gives where it is no sigmoid.

        Raises:
            ValueError: the rows have another width.
        """
        if x.ndim < 1 or x.shape[-1] != self.keras_network.in_features:
            raise ValueError(
                f"KerasNetwork: features came as {tuple(x.shape)}; "
                f"expected (N, {self.keras_network.in_features})"
            )
        y: Tensor = self.layers(x)
        return y

    def predict_proba(self, x: ArrayLike | Tensor) -> Tensor:
        """What Keras's `predict` gives: no unit dropped, the last activation applied."""
        rows = x if isinstance(x, Tensor) else as_tensor(x, next(self.parameters()))
        with inference(self):
            y: Tensor = self(rows)
            return torch.sigmoid(y) if self.ends_in_sigmoid else y


def _last_activation(network: Network) -> str:
    for layer in reversed(network.layers):
        if layer.activation != "linear":
            return layer.last_activation
        if layer.kind not in ("Activation", "Dropout"):
            return "linear" if layer.kind in WEIGHTS and layer.kind != "PReLU" else layer.kind
    return "linear"


def weight_rows(network: Network, places: Sequence[str]) -> list[WeightRow]:
    """Each weight's names in Keras and in a module.

    Args:
        network: whose weights.
        places: where in the module each of its layers stands.
    """
    rows = []
    for layer, width, place in zip(network.layers, network.widths(), places, strict=True):
        names = dict(zip(WEIGHTS.get(layer.kind, ()), KINDS[layer.kind].weights, strict=True))
        rows += [
            WeightRow(f"{layer.name}/{name}", f"{place}.{names[name]}", transpose=name == "kernel")
            for name in layer.weight_shapes(width)
        ]
    return rows
