"""Writes small models in every file format that the Keras at hand can write, with what is true.

Needs Keras (2.10 or later) with TensorFlow, and NumPy; imports nothing of this repository:

    python parity_tests/files/written_by_keras/make.py parity_tests/files/written_by_keras

The files go to `keras_<version>/`, beside them `expected.safetensors` (weights, Adam's moments
and predictions, read from the living model) and `manifest.json` (what each file holds).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf

VERSION = keras.__version__
KERAS_2 = VERSION.startswith("2.")
if KERAS_2:  # where the bare package's Adam is not the one that users had
    keras = tf.keras
SEED = 20_240_501
FEATURES = 5
FORMATS = ("keras-zip", "weights-h5", "legacy-h5", "legacy-weights-h5")
SAFETENSORS_NAMES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64"}


def classic(dtype: str = "float32") -> keras.Model:
    """The fraud network in small, layers named by Keras."""
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(3, activation="relu", dtype=dtype),
            keras.layers.Dropout(0.4, seed=11, dtype=dtype),
            keras.layers.Dense(1, activation="sigmoid", dtype=dtype),
        ]
    )


def functional(dtype: str = "float32") -> keras.Model:
    """The same kind as a graph, layers named by hand, activations as layers of their own."""
    x = inputs = keras.Input((FEATURES,), name="rows")
    x = keras.layers.Dense(4, name="first", dtype=dtype)(x)
    x = keras.layers.Dropout(0.4, seed=11, name="drop", dtype=dtype)(x)
    x = keras.layers.Activation("relu", name="relu_act", dtype=dtype)(x)
    x = keras.layers.Dense(1, name="second", dtype=dtype)(x)
    outputs = keras.layers.Activation("sigmoid", name="sigmoid_act", dtype=dtype)(x)
    return keras.Model(inputs, outputs, name="fraud")


def deep() -> keras.Model:
    """Three dense layers, one without bias, two outputs."""
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(4, activation="relu"),
            keras.layers.Dense(3, use_bias=False),
            keras.layers.Activation("relu"),
            keras.layers.Dropout(0.25),
            keras.layers.Dense(2, activation="sigmoid"),
        ]
    )


# name: (builder, its dtype, metrics of compile or None for a model that is not compiled)
MODELS: dict[str, tuple[Any, str, list[str] | None]] = {
    "classic": (classic, "float32", ["accuracy"]),
    "functional": (functional, "float32", []),
    # Rows of float32 into layers of float64: Keras 3.5 to 3.9 write a Cast between them.
    "functional_float64": (lambda: functional("float64"), "float64", []),
    "deep": (deep, "float32", None),
    "classic_float64": (lambda: classic("float64"), "float64", []),
    # Three steps of a half-precision Adam say little; its weights' storage is what matters.
    "classic_float16": (lambda: classic("float16"), "float16", None),
    "classic_bfloat16": (lambda: classic("bfloat16"), "bfloat16", None),
}


def build(name: str) -> keras.Model:
    """Builds a model, gives it weights that are the same in every Keras, and trains it 3 steps."""
    builder, dtype, metrics = MODELS[name]
    keras.backend.clear_session()
    keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    model = builder()
    for layer in model.layers:
        # In the variable's own type: NumPy has no bfloat16, TensorFlow rounds to nearest even.
        layer.set_weights(
            [
                tf.cast(rng.normal(scale=0.5, size=w.shape), dtype).numpy()
                for w in layer.get_weights()
            ]
        )
    if metrics is not None:
        model.compile(
            optimizer=keras.optimizers.Adam(learning_rate=0.003),
            loss=keras.losses.BinaryCrossentropy(),
            metrics=metrics,
        )
        rows = rng.normal(size=(24, FEATURES)).astype("float32")
        labels = (rng.random((24, 1)) < 0.5).astype("float32")
        for start in range(0, 24, 8):
            model.train_on_batch(rows[start : start + 8], labels[start : start + 8])
    return model


def fixed_rows() -> np.ndarray:
    """Four rows of multiples of 1/8, exact in every dtype here."""
    rng = np.random.default_rng(SEED + 1)
    return (rng.integers(-16, 17, size=(4, FEATURES)) / 8).astype("float32")


def plain(value: Any) -> np.ndarray:
    """A variable as an array; bfloat16 widened to float32, which is exact."""
    value = tf.convert_to_tensor(value)
    return (tf.cast(value, tf.float32) if value.dtype == tf.bfloat16 else value).numpy()


def weights(model: keras.Model) -> dict[str, Any]:
    """The model's variables under `layer/kernel` and `layer/bias`."""
    return {
        f"{layer.name}/{part}": getattr(layer, part)
        for layer in model.layers
        if isinstance(layer, keras.layers.Dense)
        for part in ("kernel", "bias")
        if getattr(layer, part) is not None
    }


def moments(model: keras.Model) -> Iterator[tuple[str, np.ndarray]]:
    """Adam's moments under `momentum/layer/kernel`, `velocity/layer/kernel`, ...

    The optimizer holds one list each, in the order of the trainable variables.
    """
    named = weights(model)
    by_identity = {id(variable): name for name, variable in named.items()}
    names = [by_identity[id(variable)] for variable in model.trainable_variables]
    optimizer = model.optimizer
    if hasattr(optimizer, "get_slot"):  # Keras 2.10 and older
        lists = [[optimizer.get_slot(v, s) for v in model.trainable_variables] for s in ("m", "v")]
    else:
        lists = [optimizer._momentums, optimizer._velocities]
    for kind, values in zip(("momentum", "velocity"), lists):  # noqa: B905 (two and two)
        if len(values) != len(names):
            raise ValueError(f"{len(values)} of {kind} for {len(names)} variables")
        for name, value in zip(names, values):  # noqa: B905 (lengths are checked)
            yield f"{kind}/{name}", plain(value)


def describe(layer: Any) -> dict[str, Any]:
    """What a reader of the file should find out about one layer."""
    config = layer.get_config()
    kept = {
        key: config[key]
        for key in ("units", "activation", "use_bias", "rate", "seed")
        if key in config
    }
    dtype = getattr(layer, "dtype_policy", None)
    return {
        "class": type(layer).__name__,
        "name": layer.name,
        **kept,
        "dtype": layer.dtype if dtype is None else dtype.name,
    }


def formats(model: keras.Model, folder: Path, name: str) -> Iterator[tuple[str, Path, Any]]:
    """The formats this Keras knows: (format, path, function that writes it)."""
    path = folder / f"{name}.keras"
    yield "keras-zip", path, lambda path=path: model.save(path)
    if VERSION.startswith("2.12."):  # where .keras alone means HDF5
        path = folder / f"{name}_zip.keras"
        yield "keras-zip", path, lambda path=path: model.save(path, save_format="keras_v3")
    path = folder / f"{name}.weights.h5"
    yield "weights-h5", path, lambda path=path: model.save_weights(path)
    path = folder / f"{name}.h5"
    yield "legacy-h5", path, lambda path=path: model.save(path)
    if KERAS_2:  # Keras 3 demands the suffix .weights.h5
        path = folder / f"{name}_weights.h5"
        yield "legacy-weights-h5", path, lambda path=path: model.save_weights(path)


def true_format(path: Path) -> str:
    """What was written, whatever the suffix says."""
    if zipfile.is_zipfile(path):
        return "keras-zip"
    import h5py  # comes with every Keras

    with h5py.File(path) as file:
        if "model_weights" in file:
            return "legacy-h5"
        return "legacy-weights-h5" if "layer_names" in file.attrs else "weights-h5"


def holds_optimizer(path: Path) -> bool:
    """Whether the optimizer's state went into the file."""
    import io

    import h5py

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            source: Any = io.BytesIO(archive.read("model.weights.h5"))
    else:
        source = path
    with h5py.File(source) as file:
        return "optimizer" in file or "optimizer_weights" in file


def write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes the format as its specification says: header length, JSON header, bytes."""
    header: dict[str, Any] = {}
    blobs: list[bytes] = []
    offset = 0
    # Larger elements first keeps every tensor aligned.
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])):
        blob = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": SAFETENSORS_NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def main() -> None:
    """Writes one folder for the Keras that runs this."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_folder", type=Path, help="keras_<version>/ is made in here")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS, metavar="FORMAT")
    arguments = parser.parse_args()
    folder = arguments.out_folder / f"keras_{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()

    expected = {"rows": fixed_rows()}
    models: dict[str, Any] = {}
    files: dict[str, Any] = {}
    not_written: dict[str, str] = {}
    for name in arguments.only:
        model = build(name)
        _, dtype, metrics = MODELS[name]
        compiled = metrics is not None
        models[name] = {
            "class": type(model).__name__,
            "dtype": dtype,
            "compiled": compiled,
            "iterations": int(plain(model.optimizer.iterations)) if compiled else None,
            "learning_rate": float(plain(model.optimizer.learning_rate)) if compiled else None,
            "layers": [describe(layer) for layer in model.layers],
        }
        for wanted, path, write in formats(model, folder, name):
            if wanted not in arguments.formats or (dtype != "float32" and "weights" in wanted):
                continue  # a weights-only file holds the same tree as the whole model's
            try:
                write()
            except Exception as error:  # the manifest says what this Keras cannot write
                path.unlink(missing_ok=True)
                not_written[path.name] = f"{type(error).__name__}: {error}".splitlines()[0]
                continue
            with_optimizer = holds_optimizer(path)
            files[path.name] = {
                "model": name,
                "asked_for": wanted,
                "format": true_format(path),
                "holds_optimizer": with_optimizer,
            }
            arrays = {key: plain(value) for key, value in weights(model).items()}
            arrays["predictions"] = plain(model(fixed_rows(), training=False)).astype("float32")
            if with_optimizer:
                arrays.update(moments(model))
            for key, array in arrays.items():
                if not np.isfinite(array).all():
                    raise ValueError(f"{path.name}: {key} is not finite")
                expected[f"{path.name}/{key}"] = array
    write_safetensors(folder / "expected.safetensors", expected)
    manifest = {
        "versions": {
            "keras": VERSION,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "command": " ".join(["python", *sys.argv]),
        "seed": SEED,
        "expected": "FILE/LAYER/kernel and /bias in Keras layout, FILE/momentum/LAYER/kernel and "
        "FILE/velocity/LAYER/kernel where the file holds the optimizer, FILE/predictions "
        "(float32) for rows; bfloat16 stands as float32, which is exact",
        "models": models,
        "files": files,
        "not_written": not_written,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
