"""What goes wrong, and by how much, in layers and first weights that the tutorial lacks."""

from __future__ import annotations

import math
from typing import Any

import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import hardsigmoid

from parity_tests.traps.plain_loop import BATCH_SIZE, SEED, Lab
from torch_impl import KerasNetwork, layers
from torch_impl.keras.layers.activations import activation_module
from torch_impl.keras.layers.initializers import initializer_of
from torch_impl.keras.layers.network import Layer
from torch_impl.keras.layers.normalization import KerasBatchNormalization
from torch_impl.keras.layers.scaling import KerasNormalization

__all__ = ["RELU", "network"]

RELU = layers.ReLU()


def network(
    lab: Lab, *middle: Layer, rate: float = 0.5, bias: float | None = None, **options: Any
) -> KerasNetwork:
    """The tutorial's, with other layers in the place of its ReLU, as Keras starts it.

    Args:
        lab: whose rows it takes.
        middle: behind the first Dense layer and in front of the Dropout.
        rate: of the Dropout.
        bias: of the output at first; the prior if None.
        options: of the first Dense layer.
    """
    start = initializer_of("constant", value=lab.prior if bias is None else bias)
    end = layers.Dense(1, activation="sigmoid", bias_initializer=start)
    chain = [layers.Dense(16, **options), *middle, layers.Dropout(rate), end]
    return KerasNetwork.build(lab.train[0].shape[1], chain, seed=SEED)


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.eval()(x)
    return logits


def share_taken(lab: Lab) -> dict[str, float]:
    """A batch's share of the moving statistics: PyTorch's 0.1, and Keras's 0.99 carried over."""
    x, _ = lab.validation

    def logits(taken: float) -> Tensor:
        model = network(lab, layers.BatchNormalization(momentum=1 - taken), RELU)
        return _logits(lab.run(model).model, x)

    right = logits(0.01)
    return {
        "torchs": (logits(0.1) - right).abs().max().item(),
        "copied": (logits(0.99) - right).abs().max().item(),
    }


def variance_of_a_sample(lab: Lab) -> dict[str, float]:
    """`nn.BatchNorm1d` with Keras's momentum and ε, after an epoch in batches of 32."""
    x, _ = lab.train
    ours = KerasBatchNormalization(x.shape[1])
    theirs = nn.BatchNorm1d(x.shape[1], momentum=0.01, eps=1e-3)
    for batch in x[lab.order].split(32):
        ours(batch)
        theirs(batch)
    share = theirs.state_dict()["running_var"] / ours.state_dict()["running_var"] - 1
    rows, _ = lab.validation
    moved = _logits(theirs, rows) - _logits(ours, rows)
    return {"share": share.max().item(), "moved": moved.abs().max().item()}


def smaller_epsilon(lab: Lab) -> dict[str, float]:
    """PyTorch's ε in both layers; and one batch of features whose deviation is 0.01."""
    epsilons = (1e-3, 1e-5)

    def apart(kind: Any) -> float:
        right, wrong = (lab.run(network(lab, kind(epsilon=e), RELU)).model for e in epsilons)
        return lab.apart(wrong, right)

    x, _ = lab.train
    small = x / x.std(dim=0) / 100
    right, wrong = (KerasBatchNormalization(x.shape[1], epsilon=e)(small) for e in epsilons)
    return {
        "batch": apart(layers.BatchNormalization),
        "layer": apart(layers.LayerNormalization),
        "ratio": (wrong / right).median().item(),
    }


def other_slopes(lab: Lab) -> dict[str, float]:
    """The weights of a network trained with a slope of 0.3, in networks of other slopes."""
    x, _ = lab.validation
    right = lab.run(network(lab, layers.LeakyReLU())).model

    def moved(slope: float) -> float:
        model = network(lab, layers.LeakyReLU(slope))
        model.load_state_dict(right.state_dict())
        return (_logits(model, x) - _logits(right, x)).abs().max().item()

    return {"torchs": moved(nn.LeakyReLU().negative_slope), "named": moved(0.2)}


def slope_of_keras_2(lab: Lab) -> dict[str, float]:
    """`nn.Hardsigmoid` in the place of Keras 2's formula, at the end of the trained network."""
    logits = _logits(lab.keras.model, lab.validation[0])
    z = torch.linspace(-4, 4, 801)

    def of_keras_2(z: Tensor) -> Tensor:
        return (0.2 * z + 0.5).clamp(0, 1)

    nothing = (of_keras_2(logits) == 0) & (hardsigmoid(logits) > 0)
    return {
        "most": (hardsigmoid(z) - of_keras_2(z)).abs().max().item(),
        "share": nothing.float().mean().item(),
    }


def gradients_at_bends(lab: Lab) -> dict[str, float]:
    """PyTorch's own modules at 0 and at 1, beside Keras's gradients there."""

    def slope(module: nn.Module, at: float) -> float:
        x = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        (found,) = torch.autograd.grad(module(x), x)
        return found.item()

    return {
        "selu": slope(nn.SELU(), 0.0) / slope(activation_module("selu"), 0.0),
        "celu": slope(nn.CELU(), 0.0) / slope(activation_module("celu"), 0.0),
        "tanh": slope(nn.Hardtanh(), 1.0) / slope(activation_module("hard_tanh"), 1.0),
        "sixth": slope(nn.Hardsigmoid(), 0.5) - 1 / 6,
    }


def bias_of_noise(lab: Lab) -> dict[str, float]:
    """Two runs without prior, one with each batch's rows backwards: to the power of ten."""
    backwards = torch.cat([batch.flip(0) for batch in lab.order.split(BATCH_SIZE)])
    x, _ = lab.validation

    def trained(order: Tensor, use_bias: bool) -> KerasNetwork:
        normalization = layers.BatchNormalization()
        model = network(lab, normalization, RELU, rate=0, bias=0, use_bias=use_bias)
        return lab.run(model, order=lambda: order).model

    def apart(use_bias: bool) -> dict[str, float]:
        one, other = trained(lab.order, use_bias), trained(backwards, use_bias)
        pairs = zip(one.named_parameters(), other.parameters(), strict=True)
        found = {name: (a - b).abs().max().item() for (name, a), b in pairs}
        return {**found, "logits": (_logits(one, x) - _logits(other, x)).abs().max().item()}

    found = apart(use_bias=True)
    figures = {
        "bias": found.pop("layers.0.0.bias"),
        "logits": found.pop("logits"),
        "weights": max(found.values()),
        "without": apart(use_bias=False)["logits"],
    }
    return {name: _power_of_ten(value) for name, value in figures.items()}


def _power_of_ten(value: float) -> float:
    """The nearest: another processor rounds to other digits."""
    return 10.0 ** round(math.log10(value)) if value else 0.0


def not_cut_off(lab: Lab) -> dict[str, float]:
    """`kaiming_normal_` of 512 by 512 weights, in the deviation that is asked for."""
    del lab
    fan = 512
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        theirs = nn.init.kaiming_normal_(torch.empty(fan, fan))
    ours = initializer_of("he_normal").value(SEED, (fan, fan))
    deviation = math.sqrt(2 / fan)
    return {
        "beyond": (ours.abs() > 2 * deviation).float().mean().item(),
        "most": ours.abs().max().item() / deviation,
        "torchs_beyond": (theirs.abs() > 2 * deviation).float().mean().item(),
        "torchs_most": theirs.abs().max().item() / deviation,
    }


def no_variance(lab: Lab) -> dict[str, float]:
    """A row of 1.01 behind a column of ones; and rows as mean 0 and variance 1 leave them."""
    row, column = torch.tensor([[1.01]], dtype=torch.float64), torch.ones(8, 1)
    ours = KerasNormalization(1, mean=1.0, variance=0.0, dtype=torch.float64)
    raw = torch.from_numpy(lab.prepared.validation.raw)
    unscaled = torch.cat([raw[:, :-1], torch.log(raw[:, -1:] + 0.001)], dim=1).float()
    by_hand = (column - column.mean()) / column.std()
    moved = _logits(lab.keras.model, unscaled) - _logits(lab.keras.model, lab.validation[0])
    return {
        "keras": ours(row).item(),
        "sklearn": StandardScaler().fit(column.numpy()).transform(row.numpy()).item(),
        "nan": by_hand.isnan().float().mean().item(),
        "moved": moved.abs().max().item(),
    }
