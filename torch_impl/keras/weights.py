"""Weights between Keras and PyTorch, in memory, by name.

The map is data. Keras holds a kernel as (in, out), `nn.Linear` its weight as (out, in):
the transposes stand in the table, nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = [
    "KERAS_WEIGHT_MAP",
    "WeightRow",
    "load_keras_weights",
    "to_keras_weights",
    "weights_of",
]


class WeightRow(NamedTuple):
    """One weight under both its names.

    Args:
        keras: `layer/weight` in Keras, as `f"{layer.name}/{weight.name}"`.
        torch: the key in the module's `state_dict`.
        transpose: whether the two are each other's transpose.
    """

    keras: str
    torch: str
    transpose: bool


KERAS_WEIGHT_MAP = (
    WeightRow("dense/kernel", "hidden.weight", transpose=True),
    WeightRow("dense/bias", "hidden.bias", transpose=False),
    WeightRow("dense_1/kernel", "output.weight", transpose=True),
    WeightRow("dense_1/bias", "output.bias", transpose=False),
)
"""The names of a `FraudClassifier` in a process's first Keras model of this shape."""

# Which NumPy types a parameter can take without rounding.
_HELD_EXACTLY = {
    torch.float16: ("float16",),
    torch.float32: ("float16", "float32"),
    torch.float64: ("float16", "float32", "float64"),
}


def load_keras_weights(
    model: nn.Module,
    weights: Mapping[str, NDArray[Any]],
    weight_map: Sequence[WeightRow] = KERAS_WEIGHT_MAP,
) -> None:
    """Copies Keras weights into a module, bit for bit.

    Args:
        model: whose parameters are overwritten in place; device and dtype stay.
        weights: `layer/weight` to array, in Keras's layout (a kernel is (in, out)).
            A narrower float type is widened, since that loses nothing.
        weight_map: which weight is which; replace its Keras names for a model whose
            layers are called otherwise.

    Raises:
        ValueError: weights are missing, unexpected, of another shape, or of a type that
            the parameter cannot hold exactly. Every fault is named at once and nothing
            is copied.
    """
    _check_map(model, weight_map)
    parameters = weights_of(model)
    expected = {row.keras for row in weight_map}
    faults = [f"{name} is missing" for name in sorted(expected - weights.keys())]
    faults += [f"{name} is unexpected" for name in sorted(weights.keys() - expected)]
    copies: list[tuple[torch.Tensor, torch.Tensor]] = []
    for row in weight_map:
        if row.keras not in weights:
            continue
        parameter = parameters[row.torch]
        array = np.asarray(weights[row.keras])
        shape = tuple(parameter.shape[::-1] if row.transpose else parameter.shape)
        if array.shape != shape:
            faults.append(f"{row.keras} has shape {array.shape}, expected {shape} ({row.torch})")
        elif array.dtype.name not in _HELD_EXACTLY.get(parameter.dtype, ()):
            faults.append(
                f"{row.keras} is {array.dtype}, expected one of "
                f"{_HELD_EXACTLY.get(parameter.dtype, ())}, which {parameter.dtype} holds "
                f"exactly ({row.torch})"
            )
        else:
            # A copy in the native byte order, without steps backwards, is what torch can take.
            array = np.array(array.T if row.transpose else array, array.dtype.name)
            copies.append((parameter, torch.from_numpy(array)))
    if faults:
        raise ValueError("Keras weights do not fit: " + "; ".join(faults))
    with torch.no_grad():
        for parameter, source in copies:
            parameter.copy_(source)


def to_keras_weights(
    model: nn.Module, weight_map: Sequence[WeightRow] = KERAS_WEIGHT_MAP
) -> dict[str, NDArray[Any]]:
    """A module's parameters under Keras's names and in Keras's layout.

    Args:
        model: read, not changed; the arrays are copies on the CPU. bfloat16, which NumPy
            lacks, comes as float32.
        weight_map: which weight is which.

    Raises:
        ValueError: the map names a parameter that the module lacks, or leaves one out.
    """
    _check_map(model, weight_map)
    parameters = weights_of(model)
    weights = {}
    for row in weight_map:
        parameter = parameters[row.torch].cpu()
        if parameter.dtype == torch.bfloat16:
            parameter = parameter.float()
        array = parameter.numpy()
        weights[row.keras] = np.array(array.T if row.transpose else array, order="C")
    return weights


def _check_map(model: nn.Module, weight_map: Sequence[WeightRow]) -> None:
    mapped, held = {row.torch for row in weight_map}, weights_of(model).keys()
    faults = [f"{name} is not in the module" for name in sorted(mapped - held)]
    faults += [f"{name} is not in the map" for name in sorted(held - mapped)]
    if faults:
        raise ValueError(
            f"the weight map does not fit the module: {'; '.join(faults)} "
            "(weight_map= says which weight is which)"
        )


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A module's `state_dict` without what is no weight, such as a dropout's count of calls.

    Args:
        model: whose tensors are given, not copied.
    """
    held = model.state_dict().items()
    return {name: value for name, value in held if not name.endswith("_extra_state")}
