"""How the weights of a network built from scratch start, as Keras starts them.

`keras.utils.set_random_seed` seeds Python's generator; each initializer, and each layer that
draws in training, takes its own seed from there when it is made, in the order of the layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from torch_impl.base.arguments import whole as whole_number
from torch_impl.keras.layers.initializers import initializer_of
from torch_impl.keras.layers.kinds import KINDS, snake_case
from torch_impl.keras.layers.network import WEIGHTS, Layer, Network
from torch_impl.keras.random import layer_seeds

__all__ = ["named", "started"]

_STARTS = {
    "kernel": "glorot_uniform", "bias": "zeros", "gamma": "ones", "beta": "zeros",
    "moving_mean": "zeros", "moving_variance": "ones", "alpha": "zeros", "mean": "zeros",
    "variance": "ones", "count": "zeros",
}  # fmt: skip
"""Keras's defaults."""

_MADE_FIRST = ("beta",)
"""Weights whose initializer is made before those that stand before them."""

_DRAWING = ("Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout")


def named(in_features: int, layers: tuple[Layer, ...]) -> Network:
    """The chain, its layers called as Keras calls them in a process's first model.

    Raises:
        ValueError: two have one name, a layer does not take its inputs, or none has weights.
    """
    in_features = whole_number("KerasNetwork: in_features", in_features, 1)
    counts: Counter[str] = Counter()
    whole: list[Layer] = []
    for layer in layers:
        kind = snake_case(layer.kind)
        name = layer.name or (f"{kind}_{counts[kind]}" if counts[kind] else kind)
        counts[kind] += not layer.name
        whole.append(replace(layer, name=name))
    network = Network(in_features, tuple(whole))
    faults = [name for name, count in Counter(layer.name for layer in whole).items() if count > 1]
    if faults:
        raise ValueError(f"two layers are called {', '.join(faults)}; expected names of their own")
    for layer, width in zip(whole, network.widths(), strict=True):
        if not KINDS[layer.kind].fits(layer, width):
            raise ValueError(f"{layer.name} has {layer.options}; {width} features come in")
    if not network.weight_shapes():
        told = ", ".join(layer.kind for layer in whole) or "no layers"
        raise ValueError(f"none of {told} has weights")
    return network


def started(network: Network, seed: int | None) -> tuple[Network, dict[str, Tensor]]:
    """The network with the seeds of its layers, and its first weights.

    Args:
        network: the chain.
        seed: of `set_random_seed`; None for seeds from torch's generator.

    Returns:
        The network, and `layer/weight` to float32 in Keras's layout.
    """
    seeds = _seeds(seed, 5 * len(network.layers))  # a layer takes four or fewer
    layers: list[Layer] = []
    starts: dict[str, Tensor] = {}
    drawn: dict[int, int] = {}  # an object that several layers have draws once
    for layer, width in zip(network.layers, network.widths(), strict=True):
        shapes = layer.weight_shapes(width)
        for weight in sorted(WEIGHTS.get(layer.kind, ()), key=lambda w: w not in _MADE_FIRST):
            told = layer.initializers.get(weight)
            initializer = told or initializer_of(_STARTS[weight])
            own = drawn.get(id(told), 0)
            if initializer.draws and not own:
                own = next(seeds)
            if told is not None:
                drawn[id(told)] = own
            if weight in shapes:  # an initializer is made for a weight that is left out, too
                starts[f"{layer.name}/{weight}"] = initializer.value(own, shapes[weight])
        if layer.kind in _DRAWING and layer.rate and layer.seed is None and seed is not None:
            layer = replace(layer, seed=next(seeds))
        layers.append(layer)
    return replace(network, layers=tuple(layers)), starts


def _seeds(seed: int | None, most: int) -> Iterator[int]:
    if seed is None:
        while True:
            yield int(torch.randint(1, 10**9 + 1, ()))
    yield from layer_seeds(seed, most)
