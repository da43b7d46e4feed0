"""Modules from contents, and contents from modules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from torch_impl.keras.layers.dropout import KerasDropout
from torch_impl.keras.layers.kinds import kind_of, layer_modules
from torch_impl.keras.layers.network import WEIGHTS, Layer, Network, trained
from torch_impl.keras.optimizers.adam import KerasAdam
from torch_impl.keras.weights import WeightRow, weights_of
from torch_impl.keras_files.contents import (
    MOST_LAYERS,
    AdamState,
    Contents,
    KerasFileError,
    by_layer,
)
from torch_impl.keras_network import KerasNetwork, weight_rows
from torch_impl.model import FraudClassifier

__all__ = [
    "adam_for",
    "contents_of",
    "module_from",
    "with_config",
    "with_network",
]


def module_from(contents: Contents) -> FraudClassifier | KerasNetwork:
    """The module with its weights; a `FraudClassifier` where the network is one.

    Args:
        contents: checked, with a network.
    """
    network = contents.network
    assert network is not None
    dtype = next(iter(contents.weights.values())).dtype
    with torch.random.fork_rng(devices=[]):  # loading a file draws from no one's generator
        model: FraudClassifier | KerasNetwork
        if _is_fraud_classifier(network):
            dropout = next((layer for layer in network.layers if layer.kind == "Dropout"), None)
            first = next(layer for layer in network.layers if layer.kind == "Dense")
            model = FraudClassifier(network.in_features, first.units, 0.0, dtype=dtype)
            if dropout is not None:
                (model.dropout,) = layer_modules(dropout, first.units, dtype)
            model.keras_network = network
            model.regularizers = network.regularizers(_weight_map(model, network))
        else:
            model = KerasNetwork(network, dtype)
    held = weights_of(model)
    with torch.no_grad():
        for row in _weight_map(model, network):
            tensor = contents.weights[row.keras]
            held[row.torch].copy_(tensor.T if row.transpose else tensor)
    return model.eval()


def adam_for(state: AdamState, model: FraudClassifier | KerasNetwork) -> KerasAdam:
    """The optimizer that goes on where Keras's stopped."""
    optimizer = KerasAdam(
        model.parameters(), state.learning_rate, (state.beta_1, state.beta_2), state.epsilon
    )
    parameters = dict(model.named_parameters())
    for row in _weight_map(model, network_of_module(model)):
        if row.torch not in parameters:
            continue
        slots = optimizer.state_of(parameters[row.torch])
        slots["step"].fill_(state.iterations)
        for name, held in (("momentum", state.momentum), ("velocity", state.velocity)):
            tensor = held[row.keras]
            slots[name].copy_(tensor.T if row.transpose else tensor)
    return optimizer


def contents_of(model: nn.Module, optimizer: KerasAdam | None = None) -> Contents:
    """What a file of the model holds.

    Raises:
        ValueError: the module is of another class, or the optimizer is not its own.
    """
    if not isinstance(model, (FraudClassifier, KerasNetwork)):
        raise ValueError(
            f"save_keras: the model is a {type(model).__name__}; "
            "expected a FraudClassifier or a KerasNetwork"
        )
    network = network_of_module(model)
    rows = _weight_map(model, network)
    parameters = dict(model.named_parameters())

    def in_keras(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        held = {row: tensors[row.torch].detach().cpu() for row in rows if row.torch in tensors}
        return {
            row.keras: (tensor.T if row.transpose else tensor).clone(
                memory_format=torch.contiguous_format
            )
            for row, tensor in held.items()
        }

    state = None
    if optimizer is not None:
        group = optimizer.param_groups[0]
        if optimizer.has_options():
            raise ValueError(
                "save_keras: the optimizer clips, decays or has amsgrad, which no file of ours "
                "says; expected a plain KerasAdam"
            )
        if len(optimizer.param_groups) != 1 or {id(p) for p in group["params"]} != {
            id(p) for p in parameters.values()
        }:
            raise ValueError("save_keras: the optimizer is not of this model's parameters alone")
        slots = {name: optimizer.state_of(p) for name, p in parameters.items()}
        steps = {int(slot["step"]) for slot in slots.values()}
        if len(steps) != 1:
            raise ValueError(f"save_keras: parameters took different numbers of steps: {steps}")
        state = AdamState(
            steps.pop(),
            float(group["lr"]),
            in_keras({name: slot["momentum"] for name, slot in slots.items()}),
            in_keras({name: slot["velocity"] for name, slot in slots.items()}),
            float(group["betas"][0]),
            float(group["betas"][1]),
            float(group["eps"]),
        )
    return Contents(in_keras(weights_of(model)), network, state, "module")


def with_network(contents: Contents, dropout: float, where: str) -> Contents:
    """Contents of weights alone with the network that they are taken for.

    Hidden layers get a ReLU, the last a sigmoid where it has one unit. Dropout stands where the
    file names one, or where it names no layers as the tutorial's: after the only hidden layer.

    Raises:
        ValueError: the dropout is no share.
        KerasFileError: the layers do not follow from one another.
    """
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout is {dropout}; expected a share from 0 to 1")
    if contents.network is not None:
        return contents
    kinds = {name: kind_of(own) for name, own in by_layer(contents.weights).items()}
    if others := [f"{name} ({kind})" for name, kind in kinds.items() if kind != "Dense"]:
        raise KerasFileError(
            f"{where}: has the weights of {', '.join(others)[:300]}, and does not say where in the "
            "chain they stand; give the architecture as config= (--config), which "
            "model.to_json() wrote"
        )
    names = list(kinds)
    shapes = {name: tuple(t.shape) for name, t in contents.weights.items()}
    named = list(dict.fromkeys(contents.layer_names))
    if not set(names) <= set(named):
        named = [names[0], "dropout", names[1]] if len(names) == 2 else names
    if len(named) > MOST_LAYERS:
        raise KerasFileError(f"{where}: {len(named)} layers; at most {MOST_LAYERS} are read")
    layers: list[Layer] = []
    unknown: list[str] = []
    width = 0
    for name in named:
        if name in kinds:
            # No Dense layer has a kernel of another shape: the comparison below tells.
            inputs, units = (*shapes.get(f"{name}/kernel", ()), 0, 0)[:2]
            width = width or inputs
            ends = "sigmoid" if units == 1 else "linear"
            activation = ends if name == names[-1] else "relu"
            bias = f"{name}/bias" in contents.weights
            layers.append(Layer("Dense", name, units, activation, bias))
        elif re.fullmatch(r"dropout(_\d+)?", name):
            layers.append(Layer("Dropout", name, rate=dropout))
        elif not re.fullmatch(r"(input|dense|flatten)(_\w+)?", name):
            unknown.append(name)
    network = Network(width, tuple(layers))
    if shapes != network.weight_shapes():
        raise KerasFileError(f"{where}: weights {str(shapes)[:1000]} are no chain of Dense layers")
    ended = any(layer.activation == "sigmoid" for layer in layers)  # a Dropout may stand behind
    end = "a sigmoid" if ended else "no activation"
    note = f"the file holds weights alone: taken for hidden layers with ReLU and {end} at the end"
    drops = [layer.name for layer in layers if layer.kind == "Dropout"]
    if [layer.kind for layer in layers] == ["Dense", "Dropout", "Dense"]:
        note += f", and Dropout({dropout}) between"
    elif drops:
        note += f", and Dropout({dropout}) for {', '.join(drops)[:200]}"
    if unknown:
        note += f"; what {', '.join(unknown)[:200]} did is not known and left out"
    return replace(contents, network=network, notes=(*contents.notes, note))


def with_config(
    contents: Contents, network: Network, notes: tuple[str, ...], where: str
) -> Contents:
    """Contents of weights alone with the network of a model's config.

    Args:
        contents: of any file; a network that it has gives way.
        network: of the config.
        notes: on what of the config is not taken over.
        where: the config's file, for errors.

    Raises:
        KerasFileError: the config is of other weights.
    """
    renamed = _matched(contents.weights, network, where)
    weights = {name: contents.weights[came] for name, came in renamed.items()}
    optimizer = contents.optimizer
    if optimizer is not None:
        momentum, velocity = (
            {name: slots[renamed[name]] for name in trained(renamed)}
            for slots in (optimizer.momentum, optimizer.velocity)
        )
        optimizer = replace(optimizer, momentum=momentum, velocity=velocity)
    return replace(contents, weights=weights, network=network, optimizer=optimizer, notes=notes)


def _matched(weights: Mapping[str, Tensor], network: Network, where: str) -> dict[str, str]:
    """The network's names of weights to the file's.

    A layer may be called otherwise in a model that was built again: then its place among those
    of its kind tells.
    """
    expected = network.weight_shapes()
    came = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    names = dict(zip(expected, expected, strict=True))
    if came.keys() != expected.keys():
        theirs = {layer.name: layer.kind for layer in network.layers}
        ours = {name: kind_of(own) for name, own in by_layer(weights).items()}
        layers: dict[str, str] = {}
        for kind in WEIGHTS:
            both = [[n for n, k in side.items() if k == kind] for side in (theirs, ours)]
            layers |= dict(zip(*both, strict=False))
        names = {
            name: f"{layers.get(name.rpartition('/')[0])}/{name.rpartition('/')[2]}"
            for name in expected
        }
    if sorted(names.values()) != sorted(came) or any(
        came[theirs] != expected[name] for name, theirs in names.items()
    ):
        told = {name: shape for name, shape in came.items() if expected.get(name) != shape}
        raise KerasFileError(
            f"{where}: its layers have weights {expected}; the file has {told or came}"[:1000]
        )
    return names


def network_of_module(model: FraudClassifier | KerasNetwork) -> Network:
    """The chain, under the names of the file it came from or Keras's defaults."""
    if isinstance(model, KerasNetwork):
        return model.keras_network
    if model.keras_network is not None:
        return model.keras_network
    drop = model.dropout
    rate = drop.rate if isinstance(drop, KerasDropout) else getattr(drop, "p", 0.0)
    seed = drop.seed if isinstance(drop, KerasDropout) else None
    return Network(
        model.in_features,
        (
            Layer("Dense", "dense", model.hidden_units, "relu"),
            Layer("Dropout", "dropout", rate=float(rate), seed=seed),
            Layer("Dense", "dense_1", 1, "sigmoid"),
        ),
    )


def _is_fraud_classifier(network: Network) -> bool:
    """Dense, one ReLU and at most one Dropout in either order, Dense 1, sigmoid; both biased."""
    steps: list[str] = []
    for layer in network.layers:
        steps += [layer.kind] if layer.kind != "Activation" else []
        steps += [layer.last_activation] if layer.activation != "linear" else []
    dense = [layer for layer in network.layers if layer.kind == "Dense"]
    middles = (["relu"], ["relu", "Dropout"], ["Dropout", "relu"])
    return (
        steps in [["Dense", *middle, "Dense", "sigmoid"] for middle in middles]
        and dense[-1].units == 1
        and all(layer.use_bias for layer in dense)
    )


def _weight_map(model: FraudClassifier | KerasNetwork, network: Network) -> list[WeightRow]:
    if isinstance(model, KerasNetwork):
        return model.weight_map()
    dense = iter(("hidden", "output"))
    places = [next(dense) if layer.kind == "Dense" else "" for layer in network.layers]
    return weight_rows(network, places)
