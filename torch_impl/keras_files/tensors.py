"""The same contents as safetensors: Keras's names and layout, everything else as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch_impl.keras.layers.network import WEIGHT_NAMES, Network, trained
from torch_impl.keras_files.config import (
    adam_of,
    compile_config,
    model_config,
    network_of,
    parsed_json,
)
from torch_impl.keras_files.contents import AdamState, Contents, KerasFileError

__all__ = ["read_tensors", "tensors_bytes"]

_KEY = "keras"
_LARGEST_HEADER = 1 << 20  # 100 bytes for each of the tensors of 1,600 layers with Adam's state


def read_tensors(path: Path) -> Contents:
    """Reads what `tensors_bytes` made, or weights alone by any other hand.

    Raises:
        KerasFileError: the file is damaged, or a name in it is no weight's.
    """
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _LARGEST_HEADER:
        raise KerasFileError(
            f"{path}: a header of {size} bytes; at most {_LARGEST_HEADER} are read"
        )
    try:
        with safe_open(path, framework="pt") as opened:
            facts_text = (opened.metadata() or {}).get(_KEY, "{}")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        raise KerasFileError(f"{path}: damaged safetensors ({str(error)[:200]})") from None
    facts = parsed_json(facts_text, f"{path}: {_KEY}")
    network: Network | None = None
    notes: tuple[str, ...] = ()
    if facts.get("model") is not None:
        network, notes = network_of(_object(facts["model"], path), f"{path}: model")
    slots: dict[str, dict[str, Any]] = {"": {}, "momentum/": {}, "velocity/": {}}
    for name, tensor in tensors.items():
        prefix = next((p for p in slots if p and name.startswith(p)), "")
        rest = name.removeprefix(prefix)
        if rest.count("/") != 1 or rest.rpartition("/")[2] not in WEIGHT_NAMES:
            raise KerasFileError(
                f"{path}: holds {name[:80]!r}; expected names like dense/kernel (a PyTorch "
                "state_dict is loaded by PyTorch itself)"
            )
        slots[prefix][rest] = tensor
    weights = slots[""]
    order = facts.get("weights")  # safetensors sorts by dtype and name
    if isinstance(order, list):
        weights = {n: weights[n] for n in order if isinstance(n, str) and n in weights} | weights
    optimizer = None
    if facts.get("optimizer") is not None:
        numbers, _ = adam_of(_object(facts["optimizer"], path).get("optimizer"), str(path))
        steps = facts.get("iterations")
        if (
            numbers is None
            or type(steps) is not int
            or any(slots[kind].keys() != {*trained(weights)} for kind in ("momentum/", "velocity/"))
        ):
            raise KerasFileError(f"{path}: the optimizer's state is not whole")
        learning_rate = numbers.pop("learning_rate", 0.001)
        momentum, velocity = (
            {name: slots[kind][name] for name in trained(weights)}
            for kind in ("momentum/", "velocity/")
        )
        optimizer = AdamState(steps, learning_rate, momentum, velocity, **numbers)
    return Contents(weights, network, optimizer, "safetensors", None, notes)


def tensors_bytes(contents: Contents) -> bytes:
    """The file's content."""
    from safetensors.torch import save

    tensors = dict(contents.weights)
    facts: dict[str, Any] = {"weights": list(tensors)}
    if contents.network is not None:
        dtype = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
        facts["model"] = model_config(contents.network, dtype)
    if contents.optimizer is not None:
        facts |= {
            "optimizer": compile_config(contents.optimizer),
            "iterations": contents.optimizer.iterations,
        }
        for kind in ("momentum", "velocity"):
            slots = getattr(contents.optimizer, kind)
            tensors |= {f"{kind}/{name}": slots[name] for name in trained(contents.weights)}
    return save({name: t.contiguous() for name, t in tensors.items()}, {_KEY: json.dumps(facts)})


def _object(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise KerasFileError(f"{path}: {_KEY} holds {type(value).__name__}; expected an object")
    return value
