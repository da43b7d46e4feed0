"""SavedModels and TensorFlow checkpoints are read without TensorFlow, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity_tests.files.committed import KERAS_2, KERAS_3, bits, check_bits
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import (
    ADAM_IN_CHECKPOINTS,
    EXPORT_DTYPE,
    OPTIMIZER_IN_CHECKPOINTS,
    TENSORFLOW_FILES,
    since,
)
from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.tensorflow.crc32c import crc32c
from torch_impl.keras_files.tensorflow.saved_model import read_checkpoint, read_saved_model
from torch_impl.keras_files.tensorflow.tensor_bundle import TensorBundle

CHAIN = (
    Layer("Dense", "hidden", 3, "relu"),
    Layer("Dense", "dense", 2),
    Layer("Activation", "again_1", activation="sigmoid"),
    Layer("Dense", "dense_1", 1, "sigmoid"),
)
"""What `keras_ref.files` trains, as its serving function tells it."""


def check_export(folder: Path, told: dict[str, Any], dtype: str) -> None:
    """Weights bit for bit, the chain of layers, and a note on each thing that is not there."""
    came = read_saved_model(folder)
    check_bits(came, told, optimizer=False)
    assert came.network is not None
    assert (came.network.in_features, came.network.layers) == (5, CHAIN)
    assert came.optimizer is None
    assert came.format.startswith("SavedModel (TensorFlow 2.")
    assert "no Dropout" in came.notes[0]
    assert any("another dtype" in note for note in came.notes) == (dtype != "float32")


def check_checkpoint(folder: Path, told: dict[str, Any], api: str) -> None:
    """By prefix, by the index's name and, the only or latest, by folder."""
    prefix = folder / ("x" if api == "write" else "x-1")
    for path in (prefix, prefix.with_name(prefix.name + ".index"), folder):
        came = read_checkpoint(path)
        check_bits(came, told, optimizer=True)
        assert came.network is None
        assert came.notes == ("a checkpoint does not say which network its weights are of",)
        assert came.optimizer_notes == (
            "it does not say Adam's beta_1, beta_2, epsilon: Keras's default was assumed",
        )


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("sequential", "float32"),
        pytest.param("functional", "bfloat16", marks=EXPORT_DTYPE),
    ],
)
@TENSORFLOW_FILES
def test_an_export_of_todays_keras_is_read(
    kind: str, dtype: str, keras: KerasProcess, tmp_path: Path
) -> None:
    """`model.export`: weights bit for bit, the chain of layers, and a note on Dropout."""
    told = keras.call("files.export_saved_model", str(tmp_path / "x"), kind, dtype)
    check_export(tmp_path / "x", told, dtype)


@TENSORFLOW_FILES
@ADAM_IN_CHECKPOINTS
def test_a_saved_model_with_its_optimizer_is_read(keras: KerasProcess, tmp_path: Path) -> None:
    """`tf.saved_model.save` of a compiled model: Adam's state too."""
    told = keras.call("files.export_saved_model", str(tmp_path), api="saved_model")
    came = read_saved_model(tmp_path)
    check_bits(came, told, optimizer=True)
    assert came.network is not None
    assert came.network.layers == CHAIN


@pytest.mark.parametrize(
    ("kind", "dtype", "api"),
    [
        ("sequential", "float32", "write"),
        ("functional", "bfloat16", "save"),
    ],
)
@TENSORFLOW_FILES
@ADAM_IN_CHECKPOINTS
def test_a_checkpoint_of_todays_keras_is_read(
    kind: str, dtype: str, api: str, keras: KerasProcess, tmp_path: Path
) -> None:
    """Weights and Adam's state bit for bit; by prefix and, the only or latest, by folder."""
    told = keras.call("files.write_checkpoint", str(tmp_path / "x"), kind, dtype, api)
    check_checkpoint(tmp_path, told, api)


@pytest.mark.parametrize(("optimizer", "name"), [("sgd", "sgd"), ("adamw", "adam_w")])
@TENSORFLOW_FILES
@OPTIMIZER_IN_CHECKPOINTS
def test_what_is_no_adam_state_is_named_in_a_note(
    optimizer: str, name: str, keras: KerasProcess, tmp_path: Path
) -> None:
    """Weights are read, the optimizer is not, and the note says which it was.

    Keras before 3.15 calls them otherwise.
    """
    if not since("3.15"):
        name = {"sgd": "SGD", "adam_w": "adamw"}.get(name, name)
    told = keras.call("files.write_checkpoint", str(tmp_path / "x"), optimizer=optimizer)
    came = read_checkpoint(tmp_path)
    check_bits(came, told, optimizer=False)
    assert came.optimizer is None
    assert f"'{name}'" in came.optimizer_notes[-1]


@pytest.mark.parametrize("shards", [1, 3])
@TENSORFLOW_FILES
def test_every_dtype_and_shape_of_tensorflows_writer_is_read(
    shards: int, keras: KerasProcess, tmp_path: Path
) -> None:
    """Scalars, empty and large tensors, special numbers, one data file or several."""
    rng = np.random.default_rng(3)
    codes = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
    shapes = [(), (1,), (0, 4), (7, 3), (2, 1, 3, 2)]
    tensors = {
        f"{code}/{shape}": np.frombuffer(rng.bytes(int(np.prod(shape) * int(code[1]))), code)
        .reshape(shape)
        .copy()
        for code in codes
        for shape in shapes
    }
    tensors["large"] = rng.normal(size=(1234, 1033)).astype(np.float32)
    keras.call("files.write_tensors", str(tmp_path / "x"), tensors, shards)
    bundle = TensorBundle(tmp_path / "x")
    assert set(bundle.entries) == set(tensors)
    for name, value in tensors.items():
        assert bits(bundle.tensor(name)) == (value.dtype.name, value.shape, value.tobytes()), name


@pytest.mark.parametrize(
    ("network", "exported", "saved"),
    [
        ("batch_normalization", "batch_normalization_1/", None),
        ("conv1d", "conv1d_1/", r"conv1d/kernel has shape \(2, 1, 2\)"),
        ("branching", "functional_1.*/add_1/Add'", None),
        ("exponential", "is a Exp", None),
        ("shared", "uses dense/kernel", None),
        ("two_outputs", "has 2 outputs", "dense_1/kernel has shape"),
        ("no_weights", "no weights", "no weights"),
    ],
)
@TENSORFLOW_FILES
def test_another_network_is_refused_by_name(
    network: str, exported: str, saved: str | None, keras: KerasProcess, tmp_path: Path
) -> None:
    """The error names the layer or node; a checkpoint cannot know what has no weights."""
    keras.call("files.export_unsupported", str(tmp_path), network)
    with pytest.raises(KerasFileError, match=exported):
        read_saved_model(tmp_path / "exported")
    if saved is None:
        assert read_checkpoint(tmp_path / "checkpoint").network is None
    else:
        with pytest.raises(KerasFileError, match=saved):
            read_checkpoint(tmp_path / "checkpoint")


def told_of(folder: Path, case: str) -> dict[str, Any]:
    """What a committed file holds, as `keras_ref.files` tells it."""
    rows = json.loads((folder / "expected.json").read_text())
    told: dict[str, Any] = {"weights": {}, "momentum": {}, "velocity": {}, "shapes": {}}
    for key, row in rows.items():
        if key.startswith(f"{case}/"):
            name, raw = key.removeprefix(f"{case}/"), bytes.fromhex(row["bits"])
            if name in ("iterations", "learning_rate"):
                told[name] = np.frombuffer(raw, row["dtype"])[0].item()
                continue
            kind = {"m/": "momentum", "v/": "velocity"}.get(name[:2], "weights")
            name = name if kind == "weights" else name[2:]
            told[kind][name] = row["dtype"], raw
            told["shapes"][name] = tuple(row["shape"])
    return told


@pytest.mark.parametrize("case", ["sequential", "functional", "functional_bfloat16"])
def test_a_committed_export_of_keras_3_is_read(case: str) -> None:
    """As one of today's Keras, where there is no Keras."""
    dtype = json.loads((KERAS_3 / "manifest.json").read_text())["cases"][case]["dtype"]
    check_export(KERAS_3 / case, told_of(KERAS_3, case), dtype)


def test_a_committed_saved_model_of_keras_3_is_read_with_its_optimizer() -> None:
    """`tf.saved_model.save`: Adam's state bit for bit, and the assumption that a note names."""
    came = read_saved_model(KERAS_3 / "trained")
    check_bits(came, told_of(KERAS_3, "trained"), optimizer=True)
    assert came.network == Network(5, CHAIN, "sequential")
    assert came.optimizer_notes == (
        "it does not say Adam's beta_1, beta_2, epsilon: Keras's default was assumed",
    )


def test_the_variables_of_a_saved_model_are_a_checkpoint() -> None:
    """Its root is the model itself, and its optimizer is inside."""
    came = read_checkpoint(KERAS_3 / "trained" / "variables" / "variables")
    check_bits(came, told_of(KERAS_3, "trained"), optimizer=True)


@pytest.mark.parametrize("case", ["checkpoint", "checkpoint_bfloat16"])
def test_a_committed_checkpoint_of_keras_3_is_read(case: str) -> None:
    """As one of today's Keras, where there is no Keras."""
    api = json.loads((KERAS_3 / "manifest.json").read_text())["cases"][case]["api"]
    check_checkpoint(KERAS_3 / case, told_of(KERAS_3, case), api)


@pytest.mark.parametrize(
    ("case", "optimizer"), [("checkpoint_sgd", "sgd"), ("checkpoint_of_no_step", "adam")]
)
def test_a_committed_checkpoint_without_adams_state_says_why(case: str, optimizer: str) -> None:
    """Of another optimizer, or before the first step."""
    came = read_checkpoint(KERAS_3 / case)
    check_bits(came, told_of(KERAS_3, case), optimizer=False)
    assert came.optimizer is None
    assert came.optimizer_notes[-1] == (
        f"its optimizer '{optimizer}' has made no step or is not Adam: not read"
    )


def test_a_saved_model_of_keras_2_is_read() -> None:
    """`keras_metadata.pb` tells all: Dropout's rate and seed, Adam's betas, the version."""
    came = read_saved_model(KERAS_2 / "functional")
    check_bits(came, told_of(KERAS_2, "functional"), optimizer=True)
    layers = (
        Layer("Dense", "hidden", 3, "relu"),
        Layer("Dropout", "drop", rate=0.25, seed=7),
        Layer("Activation", "again", activation="relu"),
        Layer("Dense", "score", 1, "sigmoid", use_bias=False),
    )
    assert came.network == Network(5, layers, "fraud")
    assert came.optimizer is not None
    assert (came.optimizer.beta_1, came.optimizer.beta_2, came.optimizer.epsilon) == (
        0.8, 0.999, 1e-7,
    )  # fmt: skip
    assert (came.keras_version, came.notes) == ("2.15.0", ())


def test_checkpoints_of_keras_2_are_read() -> None:
    """Of its Adam and of its legacy Adam, whose betas are variables."""
    check_bits(read_checkpoint(KERAS_2 / "trained"), told_of(KERAS_2, "trained"), optimizer=True)
    for path in (KERAS_2 / "weights_legacy_adam", KERAS_2):  # the latest, says `checkpoint`
        came = read_checkpoint(path)
        check_bits(came, told_of(KERAS_2, "weights_legacy_adam"), optimizer=True)
        assert came.optimizer is not None
        assert came.optimizer.beta_2 == float(np.float32(0.99))


def test_a_bundle_reads_only_what_is_asked_for(tmp_path: Path) -> None:
    """A damaged tensor is no hindrance to the others, and is refused when it is asked for."""
    for path in KERAS_2.glob("trained.*"):
        shutil.copy(path, tmp_path)
    bundle = TensorBundle(tmp_path / "trained")
    keys = [key for key, entry in bundle.entries.items() if entry.dtype]
    data = tmp_path / "trained.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[bundle.entries[keys[1]].offset] ^= 1
    data.write_bytes(content)
    bundle.tensor(keys[0])
    with pytest.raises(KerasFileError, match=f"the checksum of {keys[1]} is"):
        bundle.tensor(keys[1])


@pytest.mark.parametrize("length", [*range(10), 127, 128, 129, 255, 256, 4095, 4097, 70_001])
def test_the_checksum_is_that_of_its_definition(length: int) -> None:
    """Against one bit after the other, whichever way it is computed."""
    data = np.random.default_rng(length).bytes(length)
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    assert crc32c(data) == register ^ 0xFFFFFFFF


def test_the_checksum_of_the_standards_examples() -> None:
    """RFC 3720, B.4; and zeros past the length that is computed at a time."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E
    long = np.random.default_rng(0).bytes((1 << 24) + 12_345)
    assert crc32c(memoryview(long)) == 0x536D1DD2
