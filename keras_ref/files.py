"""The files that Keras and TensorFlow themselves write, and what they wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np

from keras_ref import compat
from keras_ref.model import DropoutOfFloat32

__all__ = [
    "export_saved_model",
    "export_unsupported",
    "open_model",
    "open_weights",
    "save_model",
    "write_checkpoint",
    "write_tensors",
]

Kind = Literal["sequential", "functional"]


def export_saved_model(
    folder: str, kind: Kind = "sequential", dtype: str = "float32", api: str = "export"
) -> dict[str, Any]:
    """Writes a small trained network as a SavedModel.

    Args:
        folder: to write.
        kind: of model.
        dtype: Keras's dtype policy for all layers.
        api: `export` for `model.export`, `saved_model` for `tf.saved_model.save`, which keeps
            the optimizer.

    Returns:
        As `write_checkpoint`.
    """
    model = _trained(kind, dtype, graph=api == "saved_model")  # which writes the graph too
    if api == "export":
        compat.export(model, folder)
    else:
        import tensorflow as tf

        tf.saved_model.save(model, folder)
    return _told(model)


def write_checkpoint(
    prefix: str,
    kind: Kind = "sequential",
    dtype: str = "float32",
    api: Literal["write", "save"] = "write",
    optimizer: str = "adam",
    steps: int = 3,
) -> dict[str, Any]:
    """Writes a small network and its optimizer with `tf.train.Checkpoint`.

    Args:
        prefix: to write to.
        kind: of model.
        dtype: Keras's dtype policy for all layers.
        api: the method of `tf.train.Checkpoint`; `save` numbers its checkpoints.
        optimizer: Keras's name of it.
        steps: of training.

    Returns:
        `weights`, `momentum` and `velocity` by name as pairs of dtype and bytes, with their
        `shapes`; `iterations` and `learning_rate`.
    """
    import tensorflow as tf

    model = _trained(kind, dtype, optimizer, steps)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    getattr(checkpoint, api)(prefix)
    return _told(model)


def save_model(*paths: str, kind: Kind = "sequential", dtype: str = "float32") -> dict[str, Any]:
    """Writes one small trained network to `.keras`, `.weights.h5`, legacy `.h5`, by the ending.

    Returns:
        As `write_checkpoint`.
    """
    model = _trained(kind, dtype)
    for path in paths:
        if path.endswith(".weights.h5"):
            model.save_weights(path)
        else:
            model.save(path)
    return _told(model)


def open_model(
    path: str,
    features: np.ndarray,
    labels: np.ndarray,
    batch_size: int = 1,
    epochs: int = 0,
) -> dict[str, Any]:
    """Opens a whole-model file as any Keras user would, predicts, and trains on.

    Returns:
        As `write_checkpoint` of the opened model; `layers`, class and name of each;
        `predictions` (N, units); and after `fit` (without shuffling) `final` and
        `final_momentum`, weights and momenta by name.
    """
    compat.clear_session()
    model = keras.models.load_model(path)
    answer = {
        "layers": [(type(layer).__name__, layer.name) for layer in model.layers],
        "predictions": model.predict(features, verbose=0),
    }
    if getattr(model, "optimizer", None) is not None:
        answer |= _told(model)
    else:
        answer |= {"weights": {n: _bits(w) for n, w in _variables(model).items()}}
    if epochs:
        model.fit(features, labels, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0)
        told = _told(model)
        shapes = told["shapes"]
        for name, group in (("final", "weights"), ("final_momentum", "momentum")):
            answer[name] = {
                n: np.frombuffer(raw, dtype).reshape(shapes[n])
                for n, (dtype, raw) in told[group].items()
            }
    return answer


def train_on_in_float64(
    path: str, features: np.ndarray, labels: np.ndarray, batch_size: int, epochs: int
) -> dict[str, np.ndarray]:
    """Where `open_model` ends if it goes on in float64, with the dropout masks of float32.

    Returns:
        The weights by name.
    """
    model = keras.models.load_model(path)
    kinds = {keras.layers.Dropout: DropoutOfFloat32}
    with compat.computing_in("float64"):
        layers = [
            kinds.get(type(layer), type(layer)).from_config(
                {**layer.get_config(), "dtype": "float64"}
            )
            for layer in model.layers
        ]
        wide = keras.Sequential([keras.layers.Input(model.input_shape[1:]), *layers])
        optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
        wide.compile(optimizer=optimizer, loss=keras.losses.BinaryCrossentropy())
        optimizer.build(wide.trainable_variables)
        for one, other in ((wide, model), (optimizer, model.optimizer)):
            for target, variable in zip(one.variables, other.variables, strict=True):
                target.assign(compat.to_numpy(variable))
        x, y = features.astype("float64"), labels.astype("float64")
        wide.fit(x, y, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0)
    return {name: compat.to_numpy(weight) for name, weight in _variables(wide).items()}


def open_weights(path: str, in_features: int, hidden_units: int, dtype: str) -> dict[str, Any]:
    """Opens a weights file into the tutorial's network, made anew and not compiled.

    Returns:
        `weights` as `write_checkpoint`.
    """
    compat.clear_session()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((in_features,)),
            layers.Dense(hidden_units, "relu", dtype=dtype),
            layers.Dropout(0.5, dtype=dtype),
            layers.Dense(1, "sigmoid", dtype=dtype),
        ]
    )
    model.load_weights(path)
    return {"weights": {name: _bits(w) for name, w in _variables(model).items()}}


def write_tensors(prefix: str, tensors: dict[str, np.ndarray], shards: int = 1) -> None:
    """Writes tensors by name with TensorFlow's own writer, one data file or more."""
    import tensorflow as tf

    names, values = list(tensors), list(tensors.values())
    parts = []
    for shard in range(shards):
        part = prefix if shards == 1 else f"{prefix}_part{shard}"
        parts.append(part)
        tf.raw_ops.SaveV2(
            prefix=part,
            tensor_names=names[shard::shards],
            shape_and_slices=[""] * len(names[shard::shards]),
            tensors=[tf.constant(value) for value in values[shard::shards]],
        )
    if shards > 1:
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=prefix)


def export_unsupported(folder: str, name: str) -> None:
    """Writes a SavedModel, and a checkpoint at `folder/checkpoint/x`, of another network."""
    import tensorflow as tf

    compat.clear_session()
    layers = keras.layers
    inputs = keras.Input((5,))
    networks: dict[str, Callable[[Any], Any]] = {
        "batch_normalization": lambda x: layers.BatchNormalization()(layers.Dense(3)(x)),
        "conv1d": lambda x: layers.Conv1D(2, 2)(layers.Reshape((5, 1))(x)),
        "branching": lambda x: layers.Add()([layers.Dense(5)(x), x]),
        "exponential": lambda x: layers.Dense(3, "exponential")(x),
        "shared": lambda x: (dense := layers.Dense(5))(dense(x)),
        "two_outputs": lambda x: [layers.Dense(1)(x), layers.Dense(1)(x)],
        "no_weights": lambda x: layers.Activation("relu")(x),
    }
    model = keras.Model(inputs, networks[name](inputs))
    compat.export(model, f"{folder}/exported")
    tf.train.Checkpoint(model=model).write(f"{folder}/checkpoint/x")


def _trained(
    kind: Kind, dtype: str, optimizer: str = "adam", steps: int = 3, graph: bool = False
) -> keras.Sequential | keras.Model:
    compat.clear_session()
    keras.utils.set_random_seed(5)
    hidden = keras.layers.Dense(3, "relu", dtype=dtype, name="hidden")
    drop = keras.layers.Dropout(0.5, dtype=dtype)
    again = keras.layers.Activation("sigmoid", dtype=dtype, name="again")
    middle = keras.layers.Dense(2, dtype=dtype)
    bias = keras.initializers.Constant(-2.5)
    output = keras.layers.Dense(1, "sigmoid", bias_initializer=bias, dtype=dtype)
    chain = [hidden, drop, middle, again, output]
    inputs = keras.Input((5,), dtype="float32")
    if kind == "sequential":
        model = keras.Sequential([inputs, *chain])
    else:
        x = inputs
        for layer in chain:
            x = layer(x)
        model = keras.Model(inputs, x)
    rng = np.random.default_rng(1)
    features = rng.normal(size=(8 * steps, 5)).astype(np.float32)
    model.compile(keras.optimizers.get(optimizer), "binary_crossentropy", metrics=["AUC"])
    if steps:
        model.run_eagerly = not graph  # three steps are done before a graph is traced
        model.fit(features, rng.integers(0, 2, (8 * steps, 1)), batch_size=8, verbose=0)
        model.run_eagerly = False
    return model


def _variables(model: keras.Model) -> dict[str, Any]:
    variables = {
        f"{layer.name}/{compat.weight_name(w)}": w for layer in model.layers for w in layer.weights
    }
    return {name: w for name, w in variables.items() if w.trainable}


def _told(model: keras.Model) -> dict[str, Any]:
    variables = _variables(model)
    told: dict[str, Any] = {
        "weights": {name: _bits(w) for name, w in variables.items()},
        "shapes": {name: tuple(w.shape) for name, w in variables.items()},
        "iterations": compat.iterations(model.optimizer),
        "learning_rate": compat.learning_rate(model.optimizer),
    }
    names = {id(w): name for name, w in variables.items()}
    order = [names[id(w)] for w in compat.built_for(model.optimizer, list(variables.values()))]
    for kind, slots in compat.adam_moments(model.optimizer).items():
        told[kind] = {name: _bits(w) for name, w in zip(order, slots, strict=bool(slots))}
    return told


def _bits(variable: Any) -> tuple[str, bytes]:
    # bfloat16 is no dtype of NumPy's own, so the bytes cross the process border.
    value = compat.to_numpy(variable)
    return value.dtype.name, value.tobytes()
