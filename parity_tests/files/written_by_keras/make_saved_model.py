"""Makes the SavedModel and checkpoints of Keras 2 that the tests read.

Run it where TensorFlow 2.15 is installed (its Keras is 2.15; Python 3.9 to 3.11):

    python make_saved_model.py saved_model_keras_2_15

It imports nothing of this project. The weights that it wrote stand beside the files in
`expected.json`, as hexadecimal bytes: `CASE/WEIGHT`, and for Adam `CASE/m/WEIGHT`,
`CASE/v/WEIGHT`, `CASE/iterations` and `CASE/learning_rate`. With `--traces` it also writes
what is too large to commit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def main(folder: Path, traces: bool) -> None:
    """Writes all cases; `traces` adds the functions that make a SavedModel three times larger."""
    tf.keras.utils.set_random_seed(215)
    expected: dict[str, np.ndarray] = {}
    model = functional()
    train(model, tf.keras.optimizers.Adam(3e-3, beta_1=0.8))
    model.save(folder / "functional", save_format="tf", save_traces=traces)
    note(expected, "functional", model)
    model = sequential()
    if traces:
        model.export(folder / "exported")
        note(expected, "exported", model)
    train(model, tf.keras.optimizers.Adam(1e-2))
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(folder / "trained")
    note(expected, "trained", model)
    train(model, tf.keras.optimizers.legacy.Adam(5e-3, beta_2=0.99))
    model.save_weights(folder / "weights_legacy_adam")
    note(expected, "weights_legacy_adam", model)
    if traces:
        model.save(folder / "sequential_legacy", save_format="tf")
        note(expected, "sequential_legacy", model)
    rows = {
        name: {"dtype": value.dtype.name, "shape": value.shape, "bits": value.tobytes().hex()}
        for name, value in expected.items()
    }
    (folder / "expected.json").write_text(json.dumps(rows, indent=0) + "\n")


def functional() -> tf.keras.Model:
    """5 → Dense 3, ReLU → Dropout 0.25 → Activation → Dense 1 without bias, sigmoid."""
    layers = tf.keras.layers
    inputs = tf.keras.Input((5,), name="features")
    x = layers.Dense(3, "relu", name="hidden")(inputs)
    x = layers.Dropout(0.25, seed=7, name="drop")(x)
    x = layers.Activation("relu", name="again")(x)
    outputs = layers.Dense(1, "sigmoid", use_bias=False, name="score")(x)
    return tf.keras.Model(inputs, outputs, name="fraud")


def sequential() -> tf.keras.Model:
    """5 → Dense 3, ReLU → Dropout 0.5 → Dense 1, sigmoid."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Dense(3, "relu", input_shape=(5,), name="first"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(1, "sigmoid", bias_initializer=tf.keras.initializers.Constant(-2.5)),
        ]
    )


def train(model: tf.keras.Model, optimizer: Any) -> None:
    """Three steps."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(24, 5)).astype(np.float32)
    model.compile(optimizer, "binary_crossentropy", metrics=[tf.keras.metrics.AUC(name="auc")])
    model.fit(features, rng.integers(0, 2, (24, 1)), batch_size=8, verbose=0)


def note(expected: dict[str, np.ndarray], case: str, model: tf.keras.Model) -> None:
    """Takes down what was written."""
    for weight in model.weights:
        name = weight.name.removesuffix(":0")
        expected[f"{case}/{name}"] = weight.numpy()
        optimizer = model.optimizer
        if optimizer is None or case == "exported":
            continue
        if isinstance(optimizer, tf.keras.optimizers.legacy.Optimizer):
            pair = (optimizer.get_slot(weight, "m"), optimizer.get_slot(weight, "v"))
        else:
            index = optimizer._index_dict[optimizer._var_key(weight)]
            pair = (optimizer._momentums[index], optimizer._velocities[index])
        expected[f"{case}/m/{name}"], expected[f"{case}/v/{name}"] = (v.numpy() for v in pair)
        expected[f"{case}/iterations"] = optimizer.iterations.numpy()
        expected[f"{case}/learning_rate"] = optimizer.learning_rate.numpy()


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--traces" in sys.argv[2:])
