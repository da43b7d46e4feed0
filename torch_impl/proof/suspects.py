"""What a layer gives that was ported by hand with one of the known mistakes.

Each suspect computes, in float64 and from the very inputs that the module's layer got, what it
would give if it were the culprit. Where that is what the module gave, it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_impl.proof.recording import Layer

__all__ = ["moving_suspects", "suspects"]

Array = NDArray[Any]
Suspect = tuple[str, Array]
"""What is said of it, and what it gives."""


def suspects(layer: Layer, x: Array) -> Iterator[Suspect]:
    """The known mistakes of a layer of this kind, whatever part of it was compared.

    Args:
        layer: as Keras has it.
        x: (N, F), what the module's layer got.
    """
    x = x.astype(np.float64)
    yield "the layer is left out: it gives what it gets", x
    with np.errstate(all="ignore"):
        yield from _KINDS.get(layer.kind, _nothing)(layer, x)


def _nothing(layer: Layer, x: Array) -> Iterator[Suspect]:
    yield from ()


def _dense(layer: Layer, x: Array) -> Iterator[Suspect]:
    kernel = layer.weights["kernel"].astype(np.float64)
    bias = layer.weights.get("bias", np.zeros(kernel.shape[1])).astype(np.float64)
    variants = {"": x @ kernel + bias, "the bias is missing": x @ kernel}
    variants["the bias is added twice"] = x @ kernel + 2 * bias
    variants["the bias is subtracted"] = x @ kernel - bias
    if kernel.shape[0] == kernel.shape[1]:
        variants["the kernel is not transposed"] = x @ kernel.T + bias
    else:
        reshaped = kernel.reshape(kernel.shape[::-1]).T
        variants["the kernel is reshaped where it has to be transposed"] = x @ reshaped + bias
    name = layer.config.get("activation") or "linear"
    right = _named(name, layer)
    for told, before in variants.items():
        if told:
            yield told, before
            yield told, right(before)
    before = variants[""]
    if name != "linear":
        yield f"the activation {name} is missing", before
        yield f"the activation {name} is applied twice", right(right(before))
    for told, other in _OTHERS.items():
        yield f"the activation is {told} in the place of {name}", other(before)


def _normalization(layer: Layer, x: Array) -> Iterator[Suspect]:
    of_batch = layer.kind == "BatchNormalization"
    shape = x.shape[-1]
    gamma, beta = (
        layer.weights.get(name, np.full(shape, default)).astype(np.float64)
        for name, default in (("gamma", 1.0), ("beta", 0.0))
    )
    axis = 0 if of_batch else -1
    own = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    mean, variance = (
        np.asarray(layer.weights.get(f"moving_{name}", measured), np.float64)
        for name, measured in zip(("mean", "variance"), own, strict=True)
    )
    epsilon = float(layer.config.get("epsilon", 1e-3))

    def scaled(variance: Array, epsilon: float = epsilon, mean: Array = mean) -> Array:
        return (x - mean) / np.sqrt(variance + epsilon)

    for other in (1e-5, 1e-3, 1e-6, 1e-7, 1e-8, 1e-12, 0.0):
        if other != epsilon:
            told = f"ε is {other:g} in the place of {epsilon:g}"
            yield told, scaled(variance, other) * gamma + beta
    right = scaled(variance)
    yield "γ (weight) is missing", right + beta
    yield "β (bias) is missing", right * gamma
    yield "γ and β are missing", right
    yield "γ and β are exchanged", right * beta + gamma
    yield (
        "ε is added to the deviation, not to the variance",
        (x - mean) / (np.sqrt(variance) + epsilon) * gamma + beta,
    )
    yield (
        "the variance is taken for the deviation",
        (x - mean) / (variance + epsilon) * gamma + beta,
    )
    yield "the deviation is taken for the variance", scaled(np.sqrt(variance)) * gamma + beta
    n = x.shape[axis]
    if of_batch:
        told = "it normalises by the batch's statistics: the module is in training, or tracks none"
        yield told, scaled(own[1], mean=own[0]) * gamma + beta
        yield "the moving mean and variance are not loaded", x / np.sqrt(1 + epsilon) * gamma + beta
    elif n > 1:
        yield "its variance is divided by n - 1", scaled(variance * n / (n - 1)) * gamma + beta


def _sloped(layer: Layer, x: Array) -> Iterator[Suspect]:
    slope = float(layer.config.get("negative_slope", layer.config.get("alpha", 0.3)))
    for other in (0.01, 0.2, 0.3, 0.1, 1.0):
        if other != slope:
            yield f"the slope is {other:g} in the place of {slope:g}", np.where(x < 0, other * x, x)
    yield "it is a ReLU: the slope is missing", np.maximum(x, 0)


def _elu(layer: Layer, x: Array) -> Iterator[Suspect]:
    alpha = float(layer.config.get("alpha", 1.0))
    for other in (1.0, 1.6732632423543772):
        if other != alpha:
            told = f"α is {other:.4g} in the place of {alpha:g}"
            yield told, np.where(x < 0, other * np.expm1(x), x)
    yield "it is a ReLU", np.maximum(x, 0)


def _prelu(layer: Layer, x: Array) -> Iterator[Suspect]:
    alpha = layer.weights["alpha"].astype(np.float64)
    yield "its slopes are not loaded: 0.25 each", np.where(x < 0, 0.25 * x, x)
    yield "one slope serves all features", np.where(x < 0, alpha.flat[0] * x, x)


def _dropout(layer: Layer, x: Array) -> Iterator[Suspect]:
    rate = float(layer.config.get("rate", 0.5))
    yield "it scales in inference, by 1 - rate", x * (1 - rate)
    yield "it scales in inference, by 1 / (1 - rate)", x / max(1 - rate, 1e-300)


def _rescaling(layer: Layer, x: Array) -> Iterator[Suspect]:
    scale, offset = (np.asarray(layer.config.get(n, 0.0), float) for n in ("scale", "offset"))
    yield "the offset is missing", x * scale
    yield "the offset is added before scaling", (x + offset) * scale
    yield "it divides by the scale", x / scale + offset


def _measured(layer: Layer, x: Array) -> Iterator[Suspect]:
    mean = np.asarray(layer.weights.get("mean", layer.config.get("mean")), float)
    variance = np.asarray(layer.weights.get("variance", layer.config.get("variance")), float)
    yield "the variance is taken for the deviation", (x - mean) / variance
    yield "the mean is not subtracted", x / np.sqrt(variance)
    yield "ε is added to the variance, not a least deviation", (x - mean) / np.sqrt(variance + 1e-3)


def _softmax(layer: Layer, x: Array) -> Iterator[Suspect]:
    e = np.exp(x - x.max(0, keepdims=True))
    yield "the softmax is over the rows, not over the classes", e / e.sum(0, keepdims=True)
    top = x.max(-1, keepdims=True)
    log = x - top - np.log(np.exp(x - top).sum(-1, keepdims=True))
    yield "it is a log-softmax", log


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    found: Array = np.where(x < 0, e, 1.0) / (1 + e)
    return found


_OTHERS: dict[str, Callable[[Array], Array]] = {
    "a ReLU": lambda x: np.maximum(x, 0),
    "a sigmoid": _sigmoid,
    "tanh": np.tanh,
    "a LeakyReLU of slope 0.01": lambda x: np.where(x < 0, 0.01 * x, x),
    "a LeakyReLU of slope 0.2": lambda x: np.where(x < 0, 0.2 * x, x),
    "a LeakyReLU of slope 0.3": lambda x: np.where(x < 0, 0.3 * x, x),
    "an ELU": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    "the gelu that tanh approximates": lambda x: (
        0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    ),
    "silu": lambda x: x * _sigmoid(x),
    "softplus": lambda x: np.logaddexp(0, x),
    "the hard sigmoid of Keras 2": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "the hard sigmoid of Keras 3": lambda x: np.clip(x + 3, 0, 6) / 6,
    "softmax": lambda x: (
        np.exp(x - x.max(-1, keepdims=True))
        / np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)
    ),
}
"""What people write in an activation's place."""


def _named(name: Any, layer: Layer) -> Callable[[Array], Array]:
    """Keras's activation, as far as a mistake beside it is looked for."""
    known: dict[Any, Callable[[Array], Array]] = {
        "relu": _OTHERS["a ReLU"], "sigmoid": _sigmoid, "tanh": np.tanh,
        "silu": _OTHERS["silu"], "swish": _OTHERS["silu"], "elu": _OTHERS["an ELU"],
        "softmax": _OTHERS["softmax"], "softplus": _OTHERS["softplus"],
        "leaky_relu": _OTHERS["a LeakyReLU of slope 0.2"],
        "hard_sigmoid": _OTHERS["the hard sigmoid of Keras 3"],
    }  # fmt: skip
    return known.get(name if isinstance(name, str) else None, lambda x: x)


_KINDS: dict[str, Callable[[Layer, Array], Iterator[Suspect]]] = {
    "Dense": _dense,
    "BatchNormalization": _normalization,
    "LayerNormalization": _normalization,
    "LeakyReLU": _sloped,
    "ELU": _elu,
    "PReLU": _prelu,
    "Dropout": _dropout,
    "Rescaling": _rescaling,
    "Normalization": _measured,
    "Softmax": _softmax,
}


def moving_suspects(layer: Layer, x: Array, statistic: str) -> Iterator[Suspect]:
    """What a BatchNormalization's moving statistic is after a batch, with a known mistake.

    Args:
        layer: as Keras has it.
        x: (N, F), the batch.
        statistic: `mean` or `variance`.
    """
    x = x.astype(np.float64)
    old = layer.weights[f"moving_{statistic}"].astype(np.float64)
    momentum, n = float(layer.config.get("momentum", 0.99)), len(x)
    own = x.mean(0) if statistic == "mean" else x.var(0)
    unbiased = own * n / max(n - 1, 1)
    right = f"momentum is the share kept in Keras, the share taken in PyTorch: {1 - momentum:.4g}"
    wrong = {"": 1 - momentum, f"{right} is wanted, {momentum:g} came": momentum}
    wrong[f"{right} is wanted, PyTorch's own 0.1 came"] = 0.1
    for told, taken in wrong.items():
        if told:
            yield told, (1 - taken) * old + taken * own
        if statistic == "variance":
            more = f"{told}; and " if told else ""
            yield (
                f"{more}it takes n / (n - 1) times the batch's variance, as nn.BatchNorm1d does",
                (1 - taken) * old + taken * unbiased,
            )
    yield "it does not change in training", old
