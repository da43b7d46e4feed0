"""Chains of layers around the tutorial's network: files of them, and what Keras computes."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import keras
import numpy as np

from keras_ref import compat

__all__ = ["activated", "activations", "fit_from_seed", "layer_outputs", "slopes", "train", "write"]

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
    _set(wide, [value.astype("float64") for value in model.get_weights()])
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


def fit_from_seed(
    chain: Chain, features: np.ndarray, labels: np.ndarray, seed: int, **options: Any
) -> dict[str, dict[str, np.ndarray]]:
    """A chain from `set_random_seed` on: as it starts, and after `fit` with Adam, shuffled.

    Args:
        chain: its layers.
        features: (N, F), float32.
        labels: (N, 1).
        seed: of everything.
        options: of `fit`.

    Returns:
        `start`, float32; then by dtype the weights after `fit`, of the same start.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for dtype in ("float32", "float64"):
        compat.clear_session()
        keras.utils.set_random_seed(seed)
        with compat.computing_in(dtype):
            layers = [getattr(keras.layers, kind)(*args, **more) for kind, args, more in chain]
            model = keras.Sequential([keras.Input(features.shape[1:]), *layers])
            if dtype == "float32":
                found["start"] = _weights(model)
            # Float64 draws others; as the runs are compared, they start from the same.
            _set(model, [value.astype(dtype) for value in found["start"].values()])
            model.compile("adam", "binary_crossentropy")
            model.optimizer.build(model.trainable_variables)  # or the first step is traced twice
            model.fit(features.astype(dtype), labels.astype(dtype), verbose=0, **options)
            found[dtype] = _weights(model)
    return found


def activations(names: list[str], x: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Each activation of x (N, units), by its name, then in float32 and in float64."""
    found = {}
    for name in names:
        layers = {d: keras.layers.Activation(name, dtype=d) for d in ("float32", "float64")}
        found[name] = {d: compat.to_numpy(layer(x.astype(d))) for d, layer in layers.items()}
    return found


def slopes(names: list[str], x: np.ndarray, above: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """The gradient of each activation of x, by its name, in float32 and in float64.

    Args:
        names: of the activations.
        x: (N, units), float32.
        above: the gradient that comes from above, likewise.
    """
    import tensorflow as tf

    found: dict[str, dict[str, np.ndarray]] = {}
    for name in names:
        found[name] = {}
        for dtype in ("float32", "float64"):
            layer = keras.layers.Activation(name, dtype=dtype)
            given, weights = tf.constant(x, dtype), tf.constant(above, dtype)
            with tf.GradientTape() as tape:
                tape.watch(given)
                outputs = layer(given)
            found[name][dtype] = tape.gradient(outputs, given, weights).numpy()
    return found


def train(
    path: str,
    features: np.ndarray,
    labels: np.ndarray,
    loss: tuple[str, dict[str, Any]] = ("BinaryCrossentropy", {}),
    metrics: tuple[str, ...] = (),
    **options: Any,
) -> dict[str, dict[str, np.ndarray]]:
    """Trains the model of a file by plain SGD, in float32 and in float64, without shuffling.

    Adam would divide what is nearly zero by itself, rounding errors too: a shift before a
    normalization has no gradient.

    Args:
        path: of the file.
        features: (N, F), float32.
        labels: as the loss takes them.
        loss: Keras's class, and its options.
        metrics: by Keras's names.
        options: of `fit`.

    Returns:
        By dtype, the weights as `write` gives them, and under `history/…` each of its series.
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
            _set(model, [value.astype(dtype) for value in read.get_weights()])
            kind, more = loss
            compiled = getattr(keras.losses, kind)(**more)
            model.compile(keras.optimizers.SGD(RATE), compiled, metrics=list(metrics))
            x, y = features.astype(dtype), labels.astype(dtype)
            told = model.fit(x, y, shuffle=False, verbose=0, **options).history
            series = {f"history/{name}": np.array(told[name], dtype) for name in told}
            found[dtype] = _weights(model) | series
    return found


def _made(chain: Chain, width: int, dtype: str, functional: bool) -> keras.Model:
    compat.clear_session()
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
    _set(model, [
        value if name.endswith("/count")
        else rng.uniform(0.5, 2.0, value.shape) if "variance" in name
        else rng.normal(size=value.shape)
        for name, value in zip(_weights(model), model.get_weights(), strict=True)
    ])  # fmt: skip
    return model


def _set(model: keras.Model, values: list[np.ndarray]) -> None:
    """`set_weights`; a Normalization goes on with its old ones until it is told."""
    model.set_weights(values)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _objects(options: dict[str, Any]) -> dict[str, Any]:
    """Options, with a layer object where an activation is called by a layer's class."""
    for option, value in options.items():
        if isinstance(value, tuple):
            kind, own = value
            home = keras.layers if option == "activation" else keras.regularizers
            own = {**own, "dtype": options["dtype"]} if home is keras.layers else own
            options = {**options, option: getattr(home, kind)(**own)}
    name = options.get("activation")
    if not isinstance(name, str):
        return options
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


def layer_outputs(model: str | Chain, features: np.ndarray) -> dict[str, Any]:
    """What each layer of a model of one path gives, in float32.

    Args:
        model: path of a saved model, or a chain, whose weights are then random.
        features: (N, …), float32.

    Returns:
        `rows`, each layer's `class_name` and `config`; `weights`, as `layer/weight` to array;
        `op by op` and `predict`, each the outputs by the layers' names. They may differ in their
        last digits: TensorFlow makes one kernel of a Dense layer and its activation where it
        sees the whole graph, which is another than that of the activation alone.
    """
    if isinstance(model, str):
        made = keras.models.load_model(model)
    else:
        made = _made(model, features.shape[1], "float32", functional=False)
    found, plain = features, {}
    for layer in made.layers:
        found = layer(found)
        plain[layer.name] = compat.to_numpy(found)
    whole = keras.Model(made.inputs, {layer.name: layer.output for layer in made.layers})
    return {
        "rows": json.loads(made.to_json())["config"]["layers"],
        "weights": _weights(made),
        "op by op": plain,
        "predict": whole.predict_on_batch(features),
    }


def activated(name: str, x: np.ndarray, units: int = 0) -> np.ndarray:
    """An activation of float32 x (N,): by itself, or after a Dense layer that changes nothing.

    Args:
        name: Keras's, as of `keras.activations`.
        x: finite if there are units; their multiple.
        units: of the Dense layer, with which TensorFlow may make one kernel of both.
    """
    if not units:
        return compat.to_numpy(keras.activations.get(name)(keras.ops.convert_to_tensor(x)))
    return _identity(name, units).predict_on_batch(x.reshape(-1, units)).reshape(-1)


@cache
def _identity(name: str, units: int) -> keras.Model:
    dense = keras.layers.Dense(units, name, kernel_initializer="identity")
    return keras.Sequential([keras.Input((units,)), dense])
