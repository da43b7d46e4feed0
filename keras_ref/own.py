"""A model of somebody's own, from its file: what it is, what its layers give, how it learns on."""

from __future__ import annotations

import json
import warnings
from functools import cache
from typing import Any

import keras
import numpy as np

from keras_ref import compat
from keras_ref.compat import KERAS_2
from keras_ref.model import OF_FLOAT32

__all__ = ["outputs", "told", "trained"]

NORMAL_NOISE = ("GaussianNoise", "GaussianDropout")
"""Layers whose draws no two libraries share to the last bit: they are left out of training."""


@cache
def _opened(path: str) -> keras.Model:
    """As any Keras user opens it, in safe mode; without its optimizer where that fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what of the file is left out is told by `told`
        try:
            return keras.models.load_model(path)
        except Exception:  # a metric or loss of one's own, which only its code could make
            return keras.models.load_model(path, compile=False)


def told(path: str) -> dict[str, Any]:
    """What Keras reads in a file.

    Returns:
        `rows`, each layer's `class_name` and `config` in the order of the chain; `weights`,
        `layer/weight` to array, and `dtypes` of the layers; `loss` and `optimizer`, each
        `class_name` and `config`, None where the model is not compiled; `iterations` of the
        optimizer, None where its state was not read; whether it `trains` in double; `features`,
        the width of a row; `seeds` of the layers that draw.
    """
    model = _opened(path)
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    compiled = getattr(model, "optimizer", None) is not None and model.loss is not None
    optimizer = model.optimizer if compiled else None
    return {
        "rows": [
            {"class_name": type(layer).__name__, "config": _plain(layer.get_config())}
            for layer in layers
        ],
        "weights": {
            f"{layer.name}/{compat.weight_name(weight)}": compat.to_numpy(weight)
            for layer in layers
            for weight in layer.weights
            if "seed_generator" not in getattr(weight, "path", "")
        },
        "dtypes": sorted({str(layer.compute_dtype) for layer in layers}),
        "loss": _loss(model.loss) if compiled else None,
        "optimizer": None if optimizer is None else {
            "class_name": type(optimizer).__name__, "config": _plain(optimizer.get_config()),
        },
        "iterations": _iterations(optimizer),
        "trains": not KERAS_2,
        "features": int(model.input_shape[-1]),
        "seeds": {
            layer.name: _seed(layer)
            for layer in layers
            if hasattr(layer, "seed_generator") and not KERAS_2
        },
    }  # fmt: skip


def _iterations(optimizer: Any) -> int | None:
    """Steps that an optimizer made whose state was read: its variables are there."""
    there = optimizer is not None and (KERAS_2 or len(optimizer.variables) > 2)
    return compat.iterations(optimizer) if there else None


def _seed(layer: keras.layers.Layer) -> int:
    return int(compat.to_numpy(layer.seed_generator.state)[0])


def _plain(config: Any) -> Any:
    """A config without objects that only Keras knows."""
    serialized = keras.saving.serialize_keras_object(config) if not KERAS_2 else config
    return json.loads(json.dumps(serialized, default=_number))


def _number(value: Any) -> Any:
    return float(value) if hasattr(value, "__float__") else str(value)


def _loss(loss: Any) -> dict[str, Any]:
    if isinstance(loss, str):
        return {"class_name": loss, "config": {}}
    if hasattr(loss, "get_config"):
        return {"class_name": type(loss).__name__, "config": _plain(loss.get_config())}
    return {"class_name": getattr(loss, "__name__", str(loss)), "config": {}}


def outputs(path: str, features: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """What every layer of a model gives of rows, in inference.

    Args:
        path: of the file.
        features: (N, F), float32.

    Returns:
        `float32`, each layer's outputs by its name, and `predictions`; `float64`, the
        predictions of the same weights in double, where Keras can compute so.
    """
    model = _opened(path)
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    whole = keras.Model(model.inputs, {layer.name: layer.output for layer in layers})
    try:
        found = {"float32": dict(whole.predict(features, batch_size=8192, verbose=0))}
    except Exception as error:  # TensorFlow's own, which may not cross the process border
        raise ValueError(" ".join(str(error).split())[:300]) from None
    # Not the model's own `predict`, which options of its compiling may break.
    plain = keras.Model(model.inputs, model.outputs)
    found["float32"]["predictions"] = plain.predict(features, batch_size=8192, verbose=0)
    if not KERAS_2:
        with compat.computing_in("float64"):
            wide = _chain(model, "float64", frozenset())
            predictions = wide.predict(features.astype("float64"), batch_size=8192, verbose=0)
        found["float64"] = {"predictions": predictions}
    return found


def _chain(model: keras.Model, dtype: str, without: frozenset[str]) -> keras.Model:
    """The same layers and weights in another dtype, without some kinds of layers."""
    layers = []
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "InputLayer" or kind in without:
            continue
        config = {**layer.get_config(), "dtype": dtype}
        inner = config.get("activation")
        if isinstance(inner, dict) and isinstance(inner.get("config"), dict):
            # A layer in an activation's place has a policy of its own.
            config["activation"] = {**inner, "config": {**inner["config"], "dtype": dtype}}
        if hasattr(layer, "seed_generator"):  # one that was drawn is drawn anew otherwise
            config["seed"] = _seed(layer)
        layers.append((layer, OF_FLOAT32.get(kind, type(layer)).from_config(config)))
    chain = keras.Sequential([keras.Input(model.input_shape[1:]), *(made for _, made in layers)])
    for layer, made in layers:
        weights = layer.get_weights()
        made.set_weights([w.astype(dtype) if w.dtype.kind == "f" else w for w in weights])
        if isinstance(made, keras.layers.Normalization):
            made.finalize_state()  # without which it goes on with its old numbers
    return chain


def trained(
    path: str,
    features: np.ndarray,
    labels: np.ndarray,
    loss: tuple[str, dict[str, Any]],
    optimizer: tuple[str, dict[str, Any]] | None,
    epochs: int,
    batch_size: int,
) -> dict[str, dict[str, np.ndarray]]:
    """Trains a model on from where its file stands, in float32 and in float64, unshuffled.

    Args:
        path: of the file.
        features: (N, F), float32.
        labels: as the loss takes them.
        loss: Keras's class and its options.
        optimizer: likewise, started anew; the file's own, with its state, if None.
        epochs: passes over the rows.
        batch_size: rows per step.

    Returns:
        `float32` and `float64`, each `layer/weight` to array, and `history/loss`; `float32, 1`
        and `float32, 2`, the same of weights whose last bits are others: how far rounding may
        take a run.
    """
    model = _opened(path)
    found = {}
    for run in ("float32", "float64", "float32, 1", "float32, 2"):
        dtype, _, nudged = run.partition(", ")
        with compat.computing_in(dtype):
            chain = _chain(model, dtype, frozenset(NORMAL_NOISE))
            if nudged:
                rng = np.random.default_rng(int(nudged))
                chain.set_weights([_nudged(w, rng) for w in chain.get_weights()])
            if optimizer is None:
                made = type(model.optimizer).from_config(model.optimizer.get_config())
            else:
                made = getattr(keras.optimizers, optimizer[0])(**optimizer[1])
            made.build(chain.trainable_variables)
            if optimizer is None:
                for target, variable in zip(made.variables, model.optimizer.variables, strict=True):
                    target.assign(compat.to_numpy(variable))
            chain.compile(made, getattr(keras.losses, loss[0])(**loss[1]))
            x, y = features.astype(dtype), labels.astype(dtype)
            history = chain.fit(
                x, y, epochs=epochs, batch_size=batch_size, shuffle=False, verbose=0
            ).history
        found[run] = {
            f"{layer.name}/{compat.weight_name(weight)}": compat.to_numpy(weight)
            for layer in chain.layers
            for weight in layer.weights
        } | {"history/loss": np.array(history["loss"], dtype)}
    return found


def _nudged(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each number one float up or down; what is zero stays."""
    if weight.dtype.kind != "f":
        return weight
    towards = rng.choice(np.array([-np.inf, np.inf], weight.dtype), weight.shape)
    return np.where(weight == 0, weight, np.nextafter(weight, towards))
