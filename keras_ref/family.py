"""Chains of layers around the tutorial's network: files of them, and what Keras computes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_ref import compat

__all__ = ["activations", "train", "write"]

RATE = 2**-7  # exact in both precisions

Chain = list[tuple[str, list[Any], dict[str, Any]]]
"""Class, arguments and options of each layer."""


def write(
    stem: str,
    chain: Chain,
    features: np.ndarray,
    endings: tuple[str, ...],
    functional: bool = False,
) -> dict[str, Any]:
    """Saves a chain with random weights, and what it predicts.

    Args:
        stem: of the files' paths.
        chain: its layers.
        features: (N, F), float32.
        endings: of the files; `.json` is the architecture, "" a SavedModel of `export`.
        functional: whether the model is, and its layers are made from the last to the first.

    Returns:
        `float32` and `float64`, predictions of the same weights in both; `weights`, as
        `layer/weight` to array.
    """
    model, wide = (
        _made(chain, features.shape[1], "float32", functional),
        _made(chain, features.shape[1], "float64", functional),
    )
    wide.set_weights([value.astype("float64") for value in model.get_weights()])
    for ending in endings:
        if ending == ".json":
            with open(f"{stem}.json", "w", encoding="utf-8") as file:
                file.write(model.to_json())
        elif ending == ".weights.h5":
            model.save_weights(stem + ending)
        elif ending == "":
            compat.export(model, stem)
        else:
            model.save(stem + ending)
    return {
        "float32": compat.to_numpy(model(features)),
        "float64": compat.to_numpy(wide(features.astype("float64"))),
        "weights": _weights(model),
    }


def activations(names: list[str], x: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Each activation of x (N, units), by its name, then in float32 and in float64."""
    found = {}
    for name in names:
        layers = {d: keras.layers.Activation(name, dtype=d) for d in ("float32", "float64")}
        found[name] = {d: compat.to_numpy(layer(x.astype(d))) for d, layer in layers.items()}
    return found


def train(
    path: str, features: np.ndarray, labels: np.ndarray, epochs: int, batch_size: int
) -> dict[str, dict[str, np.ndarray]]:
    """Trains the model of a file by plain SGD, in float32 and in float64, without shuffling.

    Adam would divide what is nearly zero by itself, rounding errors too: a shift before a
    normalization has no gradient.

    Returns:
        By dtype, the weights as `write` gives them.
    """
    found = {}
    for dtype in ("float32", "float64"):
        read = keras.models.load_model(path)
        with compat.computing_in(dtype):
            layers = [
                type(layer).from_config({**layer.get_config(), "dtype": dtype})
                for layer in read.layers
            ]
            model = keras.Sequential([keras.Input(read.input_shape[1:]), *layers])
            model.set_weights([value.astype(dtype) for value in read.get_weights()])
            model.compile(keras.optimizers.SGD(RATE), keras.losses.BinaryCrossentropy())
            x, y = features.astype(dtype), labels.astype(dtype)
            model.fit(x, y, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0)
            found[dtype] = _weights(model)
    return found


def _made(chain: Chain, width: int, dtype: str, functional: bool) -> keras.Model:
    keras.backend.clear_session()
    step = -1 if functional else 1
    layers = [
        getattr(keras.layers, kind)(*args, **_objects({**more, "dtype": dtype}))
        for kind, args, more in chain[::step]
    ][::step]
    inputs = keras.Input((width,))
    if functional:
        outputs = inputs
        for layer in layers:
            outputs = layer(outputs)
        model = keras.Model(inputs, outputs)
    else:
        model = keras.Sequential([inputs, *layers])
    rng = np.random.default_rng(3)
    model.set_weights([
        rng.uniform(0.5, 2.0, value.shape) if "variance" in name else rng.normal(size=value.shape)
        for name, value in zip(_weights(model), model.get_weights(), strict=True)
    ])  # fmt: skip
    return model


def _objects(options: dict[str, Any]) -> dict[str, Any]:
    """Options, with a layer object where an activation is called by a layer's class."""
    name = options.get("activation")
    made = (
        getattr(keras.layers, name)(dtype=options["dtype"])
        if name and hasattr(keras.layers, name)
        else name
    )
    return {**options, "activation": made} if name else options


def _weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {
        f"{layer.name}/{compat.weight_name(weight)}": compat.to_numpy(weight)
        for layer in model.layers
        for weight in layer.weights
    }
