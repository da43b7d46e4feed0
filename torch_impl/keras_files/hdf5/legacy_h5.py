"""Keras 2's `model.h5` and weights-only `.h5`, which Keras 3 writes too.

Source: keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from torch_impl.keras.layers.kinds import SUPPORTED
from torch_impl.keras.layers.network import WEIGHT_NAMES, Network
from torch_impl.keras_files.config import adam_of, network_of, parsed_json
from torch_impl.keras_files.contents import AdamState, Contents, KerasFileError
from torch_impl.keras_files.hdf5.reader import Dataset, Group
from torch_impl.keras_files.hdf5.weights_h5 import adam_from

__all__ = ["read_legacy_h5"]


def read_legacy_h5(root: Group, where: str) -> Contents:
    """Reads the root of a file that has `model_weights` or `layer_names`.

    Raises:
        KerasFileError: it is damaged, or holds other layers than are supported.
    """
    whole = root.group("model_weights")
    network: Network | None = None
    numbers: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    if whole is not None:
        config = root.attrs.get("model_config")
        if not isinstance(config, str):
            raise KerasFileError(f"{where}: has model_weights and no model_config")
        network, notes = network_of(parsed_json(config, f"{where}: model_config"), where)
        training = root.attrs.get("training_config")
        if isinstance(training, str):
            row = parsed_json(training, f"{where}: training_config").get("optimizer_config")
            numbers, more = adam_of(row, where)
    weights = _weights(whole or root, where)
    if network is not None:
        expected = network.weight_shapes()
        if set(weights) != set(expected):
            raise KerasFileError(
                f"{where}: holds the weights {', '.join(weights)[:300]}; "
                f"the config has {', '.join(expected)[:300]}"
            )
        weights = {name: weights[name] for name in expected}
    optimizer: AdamState | None = None
    slots = root.group("optimizer_weights")
    if numbers is not None and slots is not None:
        optimizer, why = adam_from(_adam_variables(slots, where), weights, numbers)
        more += why
    version = (whole or root).attrs.get("keras_version")
    kind = "legacy .h5 model" if whole is not None else "legacy .h5 weights"
    return Contents(
        weights, network, optimizer, kind, version if isinstance(version, str) else None,
        notes, more, tuple(_names(whole or root, "layer_names", where)),
    )  # fmt: skip


def _weights(group: Group, where: str) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for layer in _names(group, "layer_names", where):
        held = group.members.get(layer)
        if not isinstance(held, Group):
            raise KerasFileError(f"{where}: the layer {layer[:80]!r} is named and not there")
        names = _names(held, "weight_names", where)
        for path in names:
            kind = path.rpartition("/")[2].removesuffix(":0")
            if kind.startswith("seed_generator"):
                continue
            name = f"{layer}/{kind}"
            if kind not in WEIGHT_NAMES or name in weights or "/" in layer:
                raise KerasFileError(
                    f"{where}: the layer {layer[:80]!r} has a weight {path[:80]!r}; {SUPPORTED}"
                )
            weights[name] = _dataset(held, path, where).tensor()
    return weights


def _adam_variables(group: Group, where: str) -> list[Tensor]:
    """In Keras 3's order, whichever version wrote them: Keras 2.10 has all momenta first."""
    first: list[Tensor] = []
    momentum: list[Tensor] = []
    velocity: list[Tensor] = []
    for name in _names(group, "weight_names", where):
        # adam/…_momentum (Keras 3), Adam/m/dense/kernel:0 (2.11), Adam/dense/kernel/m:0 (2.10)
        if name.endswith(("_momentum", "/m:0")) or name.startswith("Adam/m/"):
            kind = momentum
        elif name.endswith(("_velocity", "/v:0")) or name.startswith("Adam/v/"):
            kind = velocity
        else:
            kind = first
        kind.append(_dataset(group, name, where).tensor())
    pairs = zip(momentum, velocity, strict=False)
    left = momentum[len(velocity) :] + velocity[len(momentum) :]  # then it is not Adam's
    return [*first, *(slot for pair in pairs for slot in pair), *left]


def _dataset(group: Group, path: str, where: str) -> Dataset:
    found = group.at(path)
    if not isinstance(found, Dataset):
        raise KerasFileError(f"{where}: the weight {path[:200]!r} is named and not there")
    return found


def _names(group: Group, attribute: str, where: str) -> list[str]:
    """A list of names; Keras splits long ones into `layer_names0`, `layer_names1`, …."""
    parts = [group.attrs.get(attribute)]
    if attribute not in group.attrs:
        parts, i = [], 0
        while f"{attribute}{i}" in group.attrs:
            parts.append(group.attrs[f"{attribute}{i}"])
            i += 1
        if not parts:
            raise KerasFileError(f"{where}: an HDF5 group has no {attribute}")
    names: list[str] = []
    for part in parts:  # None: an empty list, which h5py writes as numbers
        names += part if isinstance(part, list) else []
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise KerasFileError(f"{where}: {attribute} has {twice[:80]!r} twice")
    return names
