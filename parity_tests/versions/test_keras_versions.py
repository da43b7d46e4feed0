"""What differs between versions of Keras: the old where the reference is old, or the new.

Each test asserts what its own reference does; `nox` asks all of them. The rows are in
`parity_tests/versions/README.md`.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from parity_tests.files.committed import FOLDER
from parity_tests.judge.bounds import U32, U64, gamma
from parity_tests.record.recorded_case import rows_and_labels
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import (
    ON_TENSORFLOW,
    RANDOM_STREAM,
    TENSORFLOW_FILES,
    reference,
    since,
)
from torch_impl import FraudClassifier, save_keras, to_keras_weights
from torch_impl.keras.random import dropout_mask, glorot_uniform, layer_seeds, uniform
from torch_impl.keras_files.reading import read_keras
from torch_impl.keras_files.tensorflow.saved_model import read_saved_model

ON_TENSORFLOW_BACKEND = reference().backend == "tensorflow"


def test_the_reference_is_what_was_read_off_its_environment(keras: KerasProcess) -> None:
    """What decides which tests run is what the live Keras says of itself."""
    said = keras.call("versions.versions")
    asked = reference()
    assert (said["keras"], said["keras backend"]) == (asked.keras, asked.backend)
    assert said[asked.backend] == asked.backend_version


def test_initial_weights_of_a_seed_are_keras_3s_on_tensorflow_alone(keras: KerasProcess) -> None:
    """JAX and torch draw others; in Keras 2 Dropout takes no draw of the layers' seeds."""
    theirs = keras.call("model.initial_weights", seed=42)
    first, second, third = layer_seeds(42, 3)
    last = third if since("3.0") else second
    for seed, shape, name in ((first, (29, 16), "dense"), (last, (16, 1), "dense_1")):
        ours = glorot_uniform(seed, shape).numpy()
        assert np.array_equal(ours, theirs[f"{name}/kernel"]) == ON_TENSORFLOW_BACKEND


@ON_TENSORFLOW
def test_dropout_masks_of_a_seed_are_others_in_keras_2(keras: KerasProcess) -> None:
    """Which draws them with TensorFlow's stateful operation."""
    (output,), _ = keras.call("random.dropout", 42, 0.5, (50, 3))
    ours = dropout_mask(42, 0, 0.5, range(50), 3).numpy()
    assert np.array_equal(ours, output != 0) == since("3.0")


@RANDOM_STREAM
def test_an_initializers_seed_0_is_no_seed_before_3_2(keras: KerasProcess) -> None:
    """Two initializers of seed 0 then draw differently."""
    drawn = [keras.call("random.glorot_uniform", 0, (16, 1)) for _ in range(2)]
    assert np.array_equal(*drawn) == since("3.2")
    assert np.array_equal(drawn[0], glorot_uniform(0, (16, 1)).numpy()) == since("3.2")


@RANDOM_STREAM
@pytest.mark.parametrize(
    ("seed", "calls"),
    [(2**31 - 2, 0), (2**31, 0), (2**32, 0), (0x0123456789ABCDEF, 0), (-1, 0), (42, 2**32 + 5)],
)
def test_seeds_and_counts_are_of_32_bits_before_3_5(
    seed: int, calls: int, keras: KerasProcess
) -> None:
    """The low 32 bits as a signed number then, the whole number modulo 2**31 - 2 since."""

    def meant(number: int) -> int:
        return number % (2**31 - 2) if since("3.5") else (number + 2**31) % 2**32 - 2**31

    (output,), counted = keras.call("random.dropout", seed, 0.5, (50, 3), calls)
    np.testing.assert_array_equal(
        output != 0, (uniform((meant(seed), meant(calls)), (50, 3)) >= 0.5).numpy()
    )
    assert counted == (calls + 1 if since("3.5") else (calls + 1) % 2**32)


@RANDOM_STREAM
def test_training_with_dropout_1_raises_before_3_14(keras: KerasProcess) -> None:
    """It drops all since."""
    if since("3.14"):
        (output,), _ = keras.call("random.dropout", 3, 1.0, (5, 2))
        assert not output.any()
    else:
        with pytest.raises(ValueError, match="`rate`"):
            keras.call("random.dropout", 3, 1.0, (5, 2))


def test_an_epochs_loss_is_the_mean_over_batches_from_3_0_to_3_1(keras: KerasProcess) -> None:
    """A last batch of one row counts as much as one of 64 there; elsewhere rows count alike."""
    x, y = rows_and_labels(3, 65)

    def loss(x: np.ndarray, y: np.ndarray) -> float:
        told = keras.call(
            "training.fit", x, y, seed=1, batch_size=64, learning_rate=0.0, shuffle=False,
            dropout=0.0, metrics=False,
        )  # fmt: skip
        return told["history"]["loss"][0]

    first, last = loss(x[:64], y[:64]), loss(x[64:], y[64:])
    means = {"rows": (64 * first + last) / 65, "batches": (first + last) / 2}
    weighs = "batches" if since("3.0") and not since("3.2") else "rows"
    # Products, their sum and the quotient are rounded to float32 once each.
    allowed = {name: 4 * 2.0**-24 / (1 - 4 * 2.0**-24) * mean for name, mean in means.items()}
    found = loss(x, y)
    close = [name for name, mean in means.items() if abs(found - mean) <= allowed[name]]
    assert close == [weighs], (found, means)


def test_steps_per_epoch_loses_an_epoch_where_rows_run_out_from_3_0_to_3_6(
    keras: KerasProcess,
) -> None:
    """Of two epochs of two steps over four batches the rows are used up, and a third is empty.

    Yet it counts one step, which no gradient took, and Adam's correction of bias goes on by it.
    """
    x, y = rows_and_labels(3, 64)
    told = keras.call(
        "training.fit", x, y, seed=1, batch_size=16, epochs=4, steps_per_epoch=2, shuffle=False,
        metrics=False,
    )  # fmt: skip
    loses = since("3.0") and not since("3.7")
    assert told["iterations"] == (7 if loses else 8)
    stood = all(
        np.array_equal(told["weights"][1][name], told["weights"][2][name]) for name in told["final"]
    )
    assert stood == loses


def test_early_stopping_restores_the_best_weights_without_a_stop_since_3(
    keras: KerasProcess,
) -> None:
    """Keras 2 keeps the last weights of a run that patience did not end."""
    told = keras.call(
        "training.early_stopping", [3.0, 1.0, 2.0], monitor="val_loss", patience=9,
        restore_best_weights=True,
    )  # fmt: skip
    assert told["epochs"] == 3
    assert told["weights_of"] == (1 if since("3.0") else 2)


def test_early_stopping_compares_as_float32_does_since_3(keras: KerasProcess) -> None:
    """A loss that falls by less than float32 tells apart is no improvement; in Keras 2 it is."""
    values = [0.5 - 2.0**-35 * epoch for epoch in range(5)]
    told = keras.call("training.early_stopping", values, monitor="val_loss", patience=2)
    assert told["epochs"] == (3 if since("3.0") else 5)


def test_keras_2_adds_an_epsilon_to_the_probability_it_clipped(keras: KerasProcess) -> None:
    """Label 1 at probability 0 costs log 1e7 in Keras 3 and log 5e6 in Keras 2."""
    zero, one = np.zeros((1, 1), "f4"), np.ones((1, 1), "f4")
    loss = keras.call("losses.binary_crossentropy", zero, one).item()
    least = {name: -np.log(np.float64(n * 1e-7)) for name, n in (("3", 1), ("2", 2))}
    # The float32 nearest 1e-7, its sum with itself, and the logarithm are rounded.
    close = [name for name, true in least.items() if abs(loss - true) <= 4 * 2.0**-24 * true]
    assert close == (["3"] if since("3.0") else ["2"])


def test_loss_after_a_sigmoid_layer_is_clipped_on_jax_and_torch(keras: KerasProcess) -> None:
    """Label 0 at a logit of 30: the logit on TensorFlow, about -log 1e-7 on the others."""
    weights = {name: 0 * array for name, array in to_keras_weights(FraudClassifier()).items()}
    weights["dense_1/bias"] += np.float32(30)
    features, labels = np.zeros((4, 29), "f4"), np.zeros((4, 1), "f4")
    loss = keras.call("forward.initial_loss", weights, features, labels)
    metrics = keras.call("losses.metrics_of_logits", np.full((4, 1), 30, "f4"), labels)
    for found in (loss, metrics["cross entropy"]):
        assert (found == 30) == ON_TENSORFLOW_BACKEND
        assert (15 < found < 17) != ON_TENSORFLOW_BACKEND


@pytest.mark.reference("Keras 2 has no `keras.ops`", keras=">=3")
def test_a_mean_of_float64_is_taken_in_float32_on_torch(keras: KerasProcess) -> None:
    """And JAX, which holds none: three numbers, two sums and a quotient are rounded."""
    mean = 0.7 / 3
    off = abs(keras.call("versions.mean_of_float64", [0.1, 0.2, 0.4]) - mean)
    assert (off <= gamma(4, U64) * mean) == ON_TENSORFLOW_BACKEND
    assert off <= gamma(4, U32) * mean


def test_float64_is_float32_on_jax(keras: KerasProcess, tmp_path: Path) -> None:
    """A float64 layer takes float32 there, unless JAX is told `JAX_ENABLE_X64`."""
    path = tmp_path / "x.weights.h5"
    save_keras(FraudClassifier(3, 2, dtype=torch.float64), path)
    told = keras.call("files.open_weights", str(path), 3, 2, "float64")["weights"]
    assert {dtype for dtype, _ in told.values()} == {
        "float32" if reference().backend == "jax" else "float64"
    }


@pytest.mark.parametrize("ending", [".weights.h5", ".keras", ".h5"])
def test_keras_2_takes_our_weights_and_no_model(
    ending: str, keras: KerasProcess, tmp_path: Path
) -> None:
    """A whole model is written in Keras 3's words: Keras 2 knows no `batch_shape`."""
    model = FraudClassifier(5, 4, seed=1)
    path = tmp_path / f"x{ending}"
    save_keras(model, path)
    if ending == ".weights.h5":
        told = keras.call("files.open_weights", str(path), 5, 4, "float32")
    elif not since("3.0"):
        with pytest.raises(TypeError, match="batch_shape"):
            keras.call("files.open_model", str(path), *rows_and_labels(3, 4))
        return
    else:
        x, y = rows_and_labels(3, 4)
        told = keras.call("files.open_model", str(path), x[:, :5], y)
    for name, array in to_keras_weights(model).items():
        assert told["weights"][name] == ("float32", array.tobytes())


def test_a_weights_file_tells_the_layers_own_names_since_3_6(
    keras: KerasProcess, tmp_path: Path
) -> None:
    """Before, it told the classes, counted; the weights are the same bits."""
    path = tmp_path / "x.weights.h5"
    told = keras.call("files.save_model", str(path))["weights"]
    came = read_keras(path).weights
    assert (list(came) == list(told)) == since("3.6")
    for tensor, (dtype, raw) in zip(came.values(), told.values(), strict=True):
        assert (str(tensor.dtype), tensor.numpy().tobytes()) == (f"torch.{dtype}", raw)


@TENSORFLOW_FILES
def test_a_checkpoint_takes_an_optimizer_since_3_1_and_tells_its_moments_since_3_10(
    keras: KerasProcess, tmp_path: Path
) -> None:
    """`tf.train.Checkpoint(optimizer=)` refuses Keras 3.0's as not trackable.

    From 3.1 to 3.9 it holds the moments as variables among others, which we do not read.
    """
    if since("3.1"):
        keras.call("files.write_checkpoint", str(tmp_path / "x"))
        came = read_keras(tmp_path)
        assert came.weights
        assert (came.optimizer is not None) == since("3.10")
    else:
        with pytest.raises(ValueError, match="trackable"):
            keras.call("files.write_checkpoint", str(tmp_path / "x"))


def test_a_functional_model_of_another_dtype_holds_a_cast_from_3_5_to_3_9(
    keras: KerasProcess, tmp_path: Path
) -> None:
    """It is an operation beside the layers, and `load_keras` takes it for what the layer does."""
    path = tmp_path / "x.keras"
    keras.call("files.save_model", str(path), kind="functional", dtype="float16")
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    holds = "Cast" in [row["class_name"] for row in config["config"]["layers"]]
    assert holds == (since("3.5") and not since("3.10"))
    network = read_keras(path).network
    assert network is not None
    assert "Cast" not in [layer.kind for layer in network.layers]


@TENSORFLOW_FILES
def test_an_exported_functional_model_takes_float32_since_3_5(
    keras: KerasProcess, tmp_path: Path
) -> None:
    """Before, it took the dtype of its layers, and nothing was left to convert."""
    keras.call("files.export_saved_model", str(tmp_path / "x"), "functional", "float64")
    notes = read_saved_model(tmp_path / "x").notes
    assert any("another dtype" in note for note in notes) == since("3.5")


def test_a_file_of_keras_3_15_opens_in_no_older(keras: KerasProcess) -> None:
    """They refuse `quantization_config` or `input_axes`; what we write has neither."""
    x, y = rows_and_labels(3, 4)
    path = str(FOLDER / "keras_3.15.1" / "functional.keras")
    if since("3.15"):
        assert keras.call("files.open_model", path, x[:, :5], y)["predictions"].shape == (4, 1)
    else:
        with pytest.raises((TypeError, ValueError), match=r"quantization_config|input_axes"):
            keras.call("files.open_model", path, x[:, :5], y)


@ON_TENSORFLOW
def test_tensorflow_draws_one_stream_whatever_keras(keras: KerasProcess) -> None:
    """TensorFlow 2.15 to 2.21 give the same bits; what Keras makes of them differs."""
    theirs = keras.call("random.uniform", (42, 7), (5, 3))
    np.testing.assert_array_equal(uniform((42, 7), (5, 3)).numpy(), theirs)
