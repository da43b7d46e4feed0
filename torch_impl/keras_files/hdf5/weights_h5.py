"""The tree of `model.weights.h5`, Keras 3's and late Keras 2's.

Layers stand under `layers` (before Keras 2.15 under `_layer_checkpoint_dependencies`), each in
a group called after its class with a counter: `dense`, `dense_1`, …. A layer's own name is an
attribute since Keras 3.6 and not there before. Keras 2.12 and 2.13 counted each Dense layer
twice, so that the second is `dense_2`. Source: keras/src/saving/saving_lib.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from torch_impl.keras.layers.kinds import KINDS, SUPPORTED, kind_of, snake_case
from torch_impl.keras.layers.network import WEIGHTS, Network, trained
from torch_impl.keras_files.contents import AdamState, KerasFileError, by_layer
from torch_impl.keras_files.hdf5.reader import Dataset, Group

__all__ = ["adam_from", "is_adam", "layer_groups", "named_weights", "optimizer_tensors"]

LayerGroup = tuple[str, str | None, list[Tensor]]
"""A layer's kind, its own name where the file says it, and its numbers."""


_KINDS = {snake_case(kind): kind for kind in (*KINDS, "InputLayer")}
_GROUP = re.compile(rf"({'|'.join(_KINDS)})(?:_(\d{{1,9}}))?")


def layer_groups(root: Group, where: str) -> list[LayerGroup]:
    """Each layer that has weights, in order among those of its kind.

    Raises:
        KerasFileError: there are other layers, or a layer's group is not as Keras writes it.
    """
    layers = _below(root, "layers") or _below(root, "_layer_checkpoint_dependencies")
    if layers is None:
        raise KerasFileError(f"{where}: no Keras weights; expected a group 'layers'")
    found: list[tuple[int, LayerGroup]] = []
    for name, group in layers.items():
        match = _GROUP.fullmatch(name)
        if match is None or not isinstance(group, Group):
            raise KerasFileError(f"{where}: holds a layer {name[:80]!r}; {SUPPORTED}")
        kind, tensors = _KINDS[match[1]], _numbered(group, f"{where}: {name}")
        if kind not in WEIGHTS:
            if tensors:
                raise KerasFileError(f"{where}: {name} has weights; expected none")
            continue
        # An activation that is a layer object is a group of its own, without weights.
        inner = group.members.get("activation")
        bare = isinstance(inner, Group) and not _numbered(inner, f"{where}: {name}/activation")
        more = sorted(set(group.members) - {"vars", *(["activation"] if bare else [])})
        if more:
            raise KerasFileError(f"{where}: {name} holds {more[0][:80]!r} too; {SUPPORTED}")
        own = group.members["vars"].attrs.get("name") if "vars" in group.members else None
        row = (kind, own if isinstance(own, str) else None, tensors)
        found.append((int(match[2] or 0), row))
    return [row for _, row in sorted(found, key=lambda numbered: numbered[0])]


def _below(root: Group, name: str) -> Mapping[str, Group | Dataset] | None:
    """A group's members; Keras 2.12 to 2.15 on Windows put a backslash between their names."""
    group, prefix = root.group(name), f"{name}\\"
    if group is not None:
        return group.members
    flat = {k.removeprefix(prefix): v for k, v in root.members.items() if k.startswith(prefix)}
    return flat or None


def named_weights(
    groups: Sequence[LayerGroup],
    network: Network | None,
    where: str,
    like: Network | None = None,
) -> dict[str, Tensor]:
    """Tensors by `layer/weight`, in the network's order where there is one.

    Args:
        groups: what `layer_groups` gave.
        network: if it is known. Else layers without a name get Keras's default for their place.
        where: the file, for errors.
        like: a network whose layers may be called otherwise; it tells which weights there are.

    Raises:
        KerasFileError: the file's layers are not the network's.
    """
    found: dict[str, Tensor] = {}
    for kind in WEIGHTS:
        known = network is not None or like is not None or kind == "Dense"
        own = [group for group in groups if group[0] == kind and (known or group[2])]
        if network is None:
            stem = snake_case(kind)
            told = () if like is None else [la for la in like.layers if la.kind == kind]
            defaults = [layer.name for layer in told]
            defaults += [f"{stem}_{i}" if i else stem for i in range(len(told), len(own))]
            weights = [tuple(layer.weight_shapes(1)) for layer in told]
            weights += [WEIGHTS[kind]] * (len(own) - len(weights))
        else:
            layers = [layer for layer in network.layers if layer.kind == kind]
            defaults = [layer.name for layer in layers]
            weights = [tuple(layer.weight_shapes(1)) for layer in layers]
        names = [said or name for (_, said, _), name in zip(own, defaults, strict=False)]
        if network is not None and (names != defaults or len(names) != len(own)):
            raise KerasFileError(
                f"{where}: weights of {len(own)} {kind} layers {', '.join(names)[:200]}; "
                f"the config has {', '.join(defaults)[:200]}"
            )
        for name, kinds, (_, _, tensors) in zip(names, weights, own, strict=False):
            least = 1 if kind == "Dense" else len(kinds)  # a bias may be left out
            twice = any(f"{name}/{weight}" in found for weight in kinds)
            if not least <= len(tensors) <= len(kinds) or twice or "/" in name:
                raise KerasFileError(
                    f"{where}: the {kind} layer {name[:80]!r} has {len(tensors)} weights, or its "
                    f"name stands twice; expected {', '.join(kinds)}{_HINT if not known else ''}"
                )
            found |= {f"{name}/{w}": t for w, t in zip(kinds, tensors, strict=False)}
    if like is not None and network is None:
        return _in_order_of(like, found)
    if network is None:
        return found
    return {name: found[name] for name in network.weight_shapes() if name in found}


def _in_order_of(like: Network, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The layers' weights as a network has its layers, of whatever names: by place in each kind."""
    layers = by_layer(found)
    waiting = {kind: [n for n, own in layers.items() if kind_of(own) == kind] for kind in WEIGHTS}
    order = [
        waiting[layer.kind].pop(0)
        for layer in like.layers
        if waiting.get(layer.kind) and layer.weight_shapes(1)
    ]
    order += [name for names in waiting.values() for name in names]
    return {f"{name}/{weight}": t for name in order for weight, t in layers[name].items()}


_HINT = " (where some are left out, the architecture tells: config=, which model.to_json() wrote)"


def optimizer_tensors(root: Group, where: str) -> list[Tensor]:
    """`optimizer/vars/0`, `1`, …; empty where there is none."""
    group = root.group("optimizer")
    return [] if group is None else _numbered(group, f"{where}: optimizer")


def is_adam(name: str) -> bool:
    """Whether an optimizer's name is one that Keras gives an Adam (adam, adam_1, Adam).

    AdamW's (`adam_w`) and Adamax's variables have Adam's shapes and another meaning.
    """
    return re.fullmatch(r"adam(_\d+)?", name, re.IGNORECASE) is not None


def adam_from(
    tensors: Sequence[Tensor], weights: Mapping[str, Tensor], numbers: Mapping[str, float]
) -> tuple[AdamState | None, tuple[str, ...]]:
    """Adam's state from its variables in Keras's order, or None and why.

    Keras 3: iterations, learning rate, then momentum and velocity of each weight in turn.
    Keras 2 has no learning rate there.

    Args:
        tensors: the variables.
        weights: the model's, in order.
        numbers: what the config says of Adam.
    """
    if not tensors:
        return None, ()
    rate = [t for t in tensors[1:2] if t.shape == () and t.is_floating_point()]
    slots = tensors[1 + len(rate) :]
    names = trained(weights)
    shapes = [weights[name].shape for name in names for _ in range(2)]
    if (
        tensors[0].shape != ()
        or tensors[0].is_floating_point()
        or [s.shape for s in slots] != shapes
    ):
        return None, ("its optimizer's variables are not Adam's: not read",)
    learning_rate = float(rate[0]) if rate else numbers.get("learning_rate")
    notes = () if learning_rate is not None else ("it has no learning rate: 0.001 was assumed",)
    options = {name: numbers[name] for name in ("beta_1", "beta_2", "epsilon") if name in numbers}
    return AdamState(
        iterations=int(tensors[0]),
        learning_rate=0.001 if learning_rate is None else learning_rate,
        momentum=dict(zip(names, slots[0::2], strict=True)),
        velocity=dict(zip(names, slots[1::2], strict=True)),
        **options,
    ), notes


def _numbered(group: Group, where: str) -> list[Tensor]:
    values = group.members.get("vars")
    if values is None:
        return []
    members = values.members if isinstance(values, Group) else {}
    count = len(members)
    found = [members.get(str(i)) for i in range(count)]
    tensors = [value.tensor() for value in found if isinstance(value, Dataset)]
    if len(tensors) != count or not isinstance(values, Group):
        raise KerasFileError(f"{where}/vars holds {sorted(members)[:5]}; expected datasets 0, 1, …")
    return tensors
