"""A model's layers, as Keras writes them in JSON: into `.keras` and `.h5` files and SavedModels.

Which layers there are is said in `torch_impl.keras.layers.kinds`.
"""

from __future__ import annotations

import json
from typing import Any

from torch_impl.keras.layers.kinds import KINDS, SUPPORTED, layer_config, layer_of
from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.contents import MOST_LAYERS, AdamState, KerasFileError

__all__ = [
    "LONGEST_JSON",
    "SUPPORTED",
    "adam_fault",
    "adam_of",
    "compile_config",
    "model_config",
    "network_of",
    "parsed_json",
]

LONGEST_JSON = 1 << 20
_FLOATS = ("float16", "bfloat16", "float32", "float64")


def parsed_json(text: str | bytes, where: str) -> dict[str, Any]:
    """The object in a JSON text.

    Raises:
        KerasFileError: it is too long or nested too deeply, is no JSON, or no object.
    """
    try:
        if len(text) > LONGEST_JSON:
            raise ValueError(f"{len(text)} characters")
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KerasFileError(f"{where}: is no JSON ({str(error)[:200]})") from None
    if not isinstance(value, dict):
        raise KerasFileError(f"{where}: is {type(value).__name__}; expected an object")
    return value


def adam_of(row: Any, where: str) -> tuple[dict[str, float] | None, tuple[str, ...]]:
    """Learning rate, decays and epsilon of a serialized `keras.optimizers.Adam`.

    Returns:
        The numbers that it says, and notes; None for no optimizer or one that is not Adam.

    Raises:
        KerasFileError: a number in it is none.
    """
    if isinstance(row, str):  # compiled by name: Keras's defaults
        row = {"class_name": row, "config": {}}
    config = row.get("config") if isinstance(row, dict) else None
    if not isinstance(config, dict):
        return None, ()
    kind = str(row.get("class_name")).removeprefix("Custom>")
    if kind.lower() != "adam":
        return None, (f"its optimizer is {kind[:80]}; only Adam's state is read",)
    notes = tuple(
        f"its Adam has {option}={str(config[option])[:40]}, which is not carried over"
        for option in ("clipnorm", "clipvalue", "global_clipnorm")
        if config.get(option) is not None
    )
    for option in ("amsgrad", "weight_decay", "use_ema", "decay"):
        if config.get(option):
            return None, (f"its Adam has {option}, which is not supported: its state is not read",)
    numbers: dict[str, float] = {}
    for name in ("learning_rate", "beta_1", "beta_2", "epsilon"):
        value = config.get(name)
        if name == "learning_rate" and isinstance(value, dict):
            return None, ("its Adam has a learning-rate schedule: its state is not read",)
        if value is not None:
            if fault := adam_fault(name, value):
                raise KerasFileError(f"{where}: {fault}")
            numbers[name] = float(value)
    return numbers, notes


def adam_fault(name: str, value: Any) -> str | None:
    """What is wrong with one of Adam's numbers, if anything."""
    below = 1.0 if name in ("beta_1", "beta_2") else 1e9
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < below:
        return None
    return f"Adam has {name}={str(value)[:80]}"


def network_of(root: dict[str, Any], where: str) -> tuple[Network, tuple[str, ...]]:
    """The network of a model's config, and notes on what of it is not taken over.

    Raises:
        KerasFileError: it is no chain of supported layers, or a size in it is none.
    """
    kind, config = root.get("class_name"), root.get("config")
    if kind == "Sequential" and isinstance(config, list):  # up to Keras 2.2.2
        config = {"layers": config}
    rows = config.get("layers") if isinstance(config, dict) else None
    if kind not in ("Sequential", "Functional", "Model") or not isinstance(rows, list):
        raise KerasFileError(
            f"{where}: the model is a {str(kind)[:80]!r}; expected Sequential or Functional, "
            "with its layers in its config"
        )
    assert isinstance(config, dict)
    if len(rows) > MOST_LAYERS:
        raise KerasFileError(f"{where}: {len(rows)} layers; at most {MOST_LAYERS} are read")
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("config"), dict):
            raise KerasFileError(f"{where}: a layer is {str(row)[:80]}; expected an object")
        if not isinstance(_name(row), str | None):
            raise KerasFileError(f"{where}: a layer is called {str(_name(row))[:80]}")
    if kind != "Sequential":
        rows = _in_order(rows, config, where)
    width: int | None = None
    layers: list[Layer] = []
    notes: dict[str, None] = {}
    faults: list[str] = []
    policies: dict[str, str] = {}
    for row in rows:
        layer = row["config"]
        shape = layer.get("batch_shape", layer.get("batch_input_shape"))
        if width is None and not layers and not faults and shape is not None:
            width = _width(shape, where)
        if row.get("class_name") != "InputLayer":
            try:
                layers.append(_layer(row, layer))
            except ValueError as error:
                faults.append(str(error))
            else:
                name, policy = layers[-1].name, _policy(layer)
                notes |= dict.fromkeys(_notes(layer, layers[-1]))
                policies |= {} if policy is None else {name: str(policy)}
    if len({*policies.values()}) > 1:
        told = ", ".join(f"{name!r} in {policy}" for name, policy in policies.items())
        notes[f"its layers compute in unlike dtypes: {told[:300]}"] = None
    if faults:
        shown = "; ".join(dict.fromkeys(faults[:_MOST_FAULTS]))
        more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise KerasFileError(f"{where}: {shown}{more}; {SUPPORTED}")
    if width is None:
        built = root.get("build_config")
        shape = built.get("input_shape") if isinstance(built, dict) else None
        width = _width(
            shape or root.get("build_input_shape") or config.get("build_input_shape"), where
        )
    network = Network(width, tuple(layers), str(config.get("name") or "sequential"))
    for inner, width in zip(layers, network.widths(), strict=True):
        if not KINDS[inner.kind].fits(inner, width):
            options = str(dict(inner.options))[:80]
            faults.append(f"{inner.name!r} has {options}; {width} features come in")
    if faults:
        raise KerasFileError(f"{where}: {'; '.join(faults[:_MOST_FAULTS])}"[:1000])
    names = [layer.name for layer in layers]
    if len(set(names)) != len(names):
        raise KerasFileError(f"{where}: two layers have one name; they are {', '.join(names)}")
    told_notes = list(notes)
    if (more_notes := len(told_notes) - _MOST_NOTES) > 0:
        told_notes[_MOST_NOTES:] = [f"and {more_notes} more of the kind"]
    return network, tuple(told_notes)


_MOST_FAULTS, _MOST_NOTES = 12, 100  # are told one by one


def _notes(config: dict[str, Any], layer: Layer) -> list[str]:
    """What of a layer is not taken over."""
    name, notes = layer.name, []
    policy = _policy(config)
    if policy not in (None, *_FLOATS):
        notes.append(f"its layers compute with the policy {str(policy)[:80]}")
    for option in config:
        left = option.endswith(("_regularizer", "_constraint")) and config[option] is not None
        if left and option.removesuffix("_regularizer") not in layer.regularizers:
            notes.append(f"the {option[:80]} of {name!r} is left out")
    if config.get("activation") == "hard_sigmoid":
        notes.append(f"hard_sigmoid of {name!r} is Keras 3's; in Keras 2 it had another slope")
    if layer.kind == "ActivityRegularization" and any(layer.options.values()):
        notes.append(f"the penalty of {name!r} is left out")
    if config.get("trainable") is False:
        notes.append(f"{name!r} is not trainable there")
    return notes


def _policy(config: dict[str, Any]) -> Any:
    """The name of a layer's dtype policy; None if it says none."""
    policy = config.get("dtype")
    if isinstance(policy, dict):
        inner = policy.get("config")
        policy = inner.get("name") if isinstance(inner, dict) else None
    return policy


def _name(row: dict[str, Any]) -> Any:
    """A layer's in its config; that of an operation, which is no layer, stands beside it."""
    return row["config"].get("name", row.get("name"))


def _is_foreign(row: dict[str, Any]) -> bool:
    """Whether a class is not Keras's own."""
    registered, module = row.get("registered_name"), str(row.get("module") or "keras")
    own = module == "keras" or module.startswith("keras.")
    return registered not in (None, row.get("class_name")) or not own


def _layer(row: dict[str, Any], config: dict[str, Any]) -> Layer:
    name, kind = _name(row), row.get("class_name")
    registered, foreign = row.get("registered_name"), _is_foreign(row)
    if not isinstance(kind, str) or kind not in KINDS or not isinstance(name, str) or foreign:
        kind = registered if foreign and registered else kind
        raise ValueError(f"the layer {str(name)[:80]!r} is a {str(kind)[:80]}")
    if not name or "/" in name:
        raise ValueError(f"a layer is called {name[:80]!r}")
    return layer_of(kind, name, config)


def _width(shape: Any, where: str) -> int:
    items = shape.get("items") if isinstance(shape, dict) else shape
    if not isinstance(items, list) or len(items) != 2 or type(items[1]) is not int or items[1] < 1:
        raise KerasFileError(
            f"{where}: the input has shape {str(items)[:80]}; expected [null, features]"
        )
    return items[1]


def _in_order(rows: list[dict[str, Any]], config: dict[str, Any], where: str) -> list[Any]:
    """A functional model's layers from input to output, if each feeds the next and no other."""
    after: dict[str, dict[str, Any]] = {}
    start: list[dict[str, Any]] = []
    for row in rows:
        name = _name(row)
        if row.get("class_name") == "InputLayer":
            start.append(row)
            continue
        source = _source(row.get("inbound_nodes"))
        if source is None or source in after:
            raise KerasFileError(
                f"{where}: the layer {str(name)[:80]!r} has not one input of its own; {SUPPORTED}"
            )
        after[source] = row
    if len(start) != 1:
        raise KerasFileError(f"{where}: the model has {len(start)} inputs; expected 1")
    order = start
    while (name := _name(order[-1])) in after:
        order.append(after.pop(name))
    outputs = config.get("output_layers")
    if after or _source([outputs]) != name:
        raise KerasFileError(
            f"{where}: the layers do not run from the input to one output {name!r}; {SUPPORTED}"
        )
    followers = [*order[1:], None]
    return [row for row, then in zip(order, followers, strict=True) if not _casts_for(row, then)]


def _casts_for(row: dict[str, Any], following: dict[str, Any] | None) -> bool:
    """Whether a row is what Keras 3.5 to 3.9 wrote before a layer of another dtype.

    Such a Cast to the dtype in which the next layer computes is what that layer does anyway.
    Any other changes the numbers, and is left in for `_layer` to refuse.
    """
    if row.get("class_name") != "Cast" or _is_foreign(row) or following is None:
        return False
    to = row["config"].get("dtype")
    return to in _FLOATS and to == str(_policy(following["config"])).removeprefix("mixed_")


def _source(inbound: Any) -> str | None:
    """The one layer in `[[["name", 0, 0, {}]]]`, or in what Keras 3 writes instead."""
    match inbound:
        case [[str(name), 0, 0]] | [[[str(name), 0, 0]]]:
            return name
        case [[[str(name), 0, 0, dict(kwargs)]]]:  # Keras 2, where a mode that is given stays
            return name if all(value is None for value in kwargs.values()) else None
        case [{"args": [{"class_name": "__keras_tensor__", "config": dict(tensor)}], **more}]:
            # The mode of the model as it was built, which `fit` overrides.
            options = more.get("kwargs")
            if isinstance(options, dict) and all(
                value is None or (option, value) == ("training", False)
                for option, value in options.items()
            ):
                match tensor.get("keras_history"):
                    case [str(name), 0, 0]:
                        return name
    return None


def model_config(network: Network, dtype: str) -> dict[str, Any]:
    """The network as Keras 3 writes it, a Sequential; `network_of` reads it back.

    Args:
        network: to be described.
        dtype: of the weights, which Keras takes for the layers' policy.
    """
    rows: list[dict[str, Any]] = [
        _row("InputLayer", {"batch_shape": [None, network.in_features], "dtype": dtype})
    ]
    for layer in network.layers:
        config: dict[str, Any] = {"name": layer.name, "trainable": True, "dtype": dtype}
        config |= layer_config(layer)
        rows.append(_row(layer.kind, config))
    built = [None, network.in_features]
    config = {
        "name": network.name, "trainable": True, "dtype": dtype, "layers": rows,
        "build_input_shape": built,
    }  # fmt: skip
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": config,
        "registered_name": None,
        "build_config": {"input_shape": built},
    }


def compile_config(optimizer: AdamState) -> dict[str, Any]:
    """What makes Keras compile the model with its Adam and the tutorial's loss."""
    adam = {
        "name": "adam",
        "learning_rate": optimizer.learning_rate,
        "beta_1": optimizer.beta_1,
        "beta_2": optimizer.beta_2,
        "epsilon": optimizer.epsilon,
        "amsgrad": False,
    }
    loss = {"name": "binary_crossentropy", "from_logits": False}
    return {
        "optimizer": _row("Adam", adam, "keras.optimizers"),
        "loss": _row("BinaryCrossentropy", loss, "keras.losses"),
        "loss_weights": None,
        "metrics": [],
        "weighted_metrics": None,
        "run_eagerly": False,
        "steps_per_execution": 1,
        "jit_compile": False,
    }


def _row(kind: str, config: dict[str, Any], module: str = "keras.layers") -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}
