"""A model of somebody's own in PyTorch: what its layers give, and how it learns on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from torch_impl import KerasAdam, KerasAdamW, KerasNetwork, KerasRMSprop, KerasSGD, fit, losses
from torch_impl.keras.losses.names import LOSSES
from torch_impl.keras_files.contents import Contents
from torch_impl.keras_files.modules import adam_for, contents_of, module_from
from torch_impl.training.objective import ends_in_softmax

__all__ = ["Recipe", "layer_outputs", "recipe_of", "torch_runs"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}
NORMAL_NOISE = ("GaussianNoise", "GaussianDropout")

_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "Adam": KerasAdam, "AdamW": KerasAdamW, "RMSprop": KerasRMSprop, "SGD": KerasSGD,
}  # fmt: skip
_NUMBERS = {"learning_rate": "lr", "epsilon": "eps"}
"""Keras's names of an optimizer's numbers, where torch's are others."""


class Recipe(NamedTuple):
    """How a model is trained on, in both frameworks."""

    loss: tuple[str, dict[str, Any]]
    """Keras's class, and its options there."""
    ours: nn.Module
    """The same here."""
    optimizer: tuple[str, dict[str, Any]] | None
    """Keras's class and its options, started anew; None for the file's own, with its state."""
    notes: tuple[str, ...]
    """What of the file is trained otherwise."""


def recipe_of(told: Mapping[str, Any], contents: Contents) -> Recipe:
    """What a file says of its training, or what its end suggests.

    Args:
        told: as `keras_ref.own.told` gives it.
        contents: as `torch_impl` reads it.
    """
    network = contents.network
    assert network is not None
    loss, ours, notes = _loss(told["loss"], module_from(contents))
    row = told["optimizer"]
    if not told["trains"]:
        return Recipe(loss, ours, None, ("Keras 2: double and training are not compared",))
    if row is None:
        notes.append("no optimizer in the file: trained with a new Adam")
        return Recipe(loss, ours, ("Adam", {}), tuple(notes))
    state = contents.optimizer
    if row["class_name"] == "Adam" and state and state.iterations == told["iterations"]:
        return Recipe(loss, ours, None, tuple(notes))
    if state and state.iterations:
        notes.append("this Keras does not take over the file's optimizer: it starts anew in both")
    kind, config = row["class_name"], row["config"]
    options = {name: value for name, value in config.items() if value is not None}
    left = {"name", "loss_scale_factor", "gradient_accumulation_steps", "ema_momentum", "use_ema",
            "ema_overwrite_frequency", "jit_compile", "is_legacy_optimizer"}  # fmt: skip
    options = {name: value for name, value in options.items() if name not in left}
    known = kind in _OPTIMIZERS and not config.get("use_ema")
    if not known or not all(isinstance(value, (int, float)) for value in options.values()):
        notes.append(f"{kind} with these options is not known: trained with a new Adam")
        return Recipe(loss, ours, ("Adam", {}), tuple(notes))
    if told["iterations"]:
        notes.append(f"the state of {kind} is not read: it starts anew in both frameworks")
    return Recipe(loss, ours, (kind, options), tuple(notes))


def _loss(row: Any, model: Any) -> tuple[tuple[str, dict[str, Any]], nn.Module, list[str]]:
    end = getattr(model, "last_activation", "sigmoid")
    # Keras finds the logits behind what stands at the very end alone.
    behind = model.ends_in_sigmoid or ends_in_softmax(model)
    kind = None if row is None else LOSSES.get(row["class_name"])
    if row is not None and kind is not None:
        names = [*inspect.signature(kind).parameters]
        options = {n: v for n, v in row["config"].items() if n in names and v is not None}
        ours = dict(options)
        if "from_logits" in names:
            ours["from_logits"] = bool(options.get("from_logits")) or behind
        return (kind.__name__, options), kind(**ours), []
    name = "BinaryCrossentropy" if end == "sigmoid" else "MeanSquaredError"
    name = "CategoricalCrossentropy" if ends_in_softmax(model) else name
    told = "no loss in the file" if row is None else f"the loss {row['class_name']} is not known"
    made = getattr(losses, name)
    ours_made = made() if name == "MeanSquaredError" else made(from_logits=behind)
    return (name, {}), ours_made, [f"{told}: trained with {name}"]


def layer_outputs(contents: Contents, features: np.ndarray) -> dict[str, np.ndarray]:
    """What each layer of a file's chain gives in inference, by the layers' names.

    Args:
        contents: the file, as `torch_impl` reads it.
        features: (N, F) of the weights' dtype.
    """
    network = contents.network
    assert network is not None
    chain = KerasNetwork(network, next(iter(contents.weights.values())).dtype).eval()
    held = chain.state_dict()
    steps: list[list[nn.Module]] = [[*step] for step in chain.layers]  # type: ignore[arg-type]
    if chain.ends_in_sigmoid:  # which the module leaves out
        last = max(i for i, layer in enumerate(network.layers) if layer.activation == "sigmoid")
        steps[last].append(nn.Sigmoid())
    found: dict[str, np.ndarray] = {}
    with torch.no_grad():
        for row in chain.weight_map():
            weight = contents.weights[row.keras]
            held[row.torch].copy_(weight.T if row.transpose else weight)
        x = torch.from_numpy(features)
        for layer, modules in zip(network.layers, steps, strict=True):
            for module in modules:
                x = module(x)
            found[layer.name] = x.numpy()
    # The module that people get, which is a FraudClassifier where the chain is the tutorial's.
    predictions = module_from(contents).predict_proba(torch.from_numpy(features))
    return found | {"predictions": predictions.numpy()}


def torch_runs(
    contents: Contents,
    seeds: Mapping[str, int],
    recipe: Recipe,
    features: np.ndarray,
    labels: np.ndarray,
    epochs: int,
    batch_size: int,
) -> dict[str, dict[str, np.ndarray]]:
    """As `keras_ref.own.trained`, in PyTorch.

    Args:
        contents: the file, as `torch_impl` reads it.
        seeds: of the layers that draw, as Keras drew them.
        recipe: what to train with.
        features: (N, F), float32.
        labels: as the loss takes them.
        epochs: passes over the rows.
        batch_size: rows per step.
    """
    network = contents.network
    assert network is not None
    layers = tuple(
        replace(layer, seed=seeds.get(layer.name, layer.seed))
        for layer in network.layers
        if layer.kind not in NORMAL_NOISE
    )
    contents = replace(contents, network=replace(network, layers=layers))
    found = {}
    for name, dtype in DTYPES.items():
        model = module_from(contents)
        start = None if recipe.optimizer else adam_for(contents.optimizer, model)  # type: ignore[arg-type]
        model.to(dtype)
        optimizer = _optimizer(recipe, model)
        if start is not None:
            optimizer.load_state_dict(start.state_dict())
        history = fit(
            model, features.astype(name), labels.astype(name), loss=recipe.ours, epochs=epochs,
            batch_size=batch_size, optimizer=optimizer, shuffle=False, metrics=False,
            progress=False,
        ).history  # fmt: skip
        weights: dict[str, Tensor] = dict(contents_of(model).weights)
        found[name] = {key: tensor.numpy() for key, tensor in weights.items()}
        found[name]["history/loss"] = np.array(history["loss"], name)
    return found


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    if recipe.optimizer is None:
        return KerasAdam(model.parameters())
    kind, told = recipe.optimizer
    betas = tuple(told.get(name, default) for name, default in _BETAS)
    given: dict[str, Any] = {
        _NUMBERS.get(name, name): value for name, value in told.items() if name[:5] != "beta_"
    }
    if kind.startswith("Adam"):
        given["betas"] = betas
    return _OPTIMIZERS[kind](model.parameters(), **given)


_BETAS = (("beta_1", 0.9), ("beta_2", 0.999))
