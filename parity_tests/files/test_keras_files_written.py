"""What we write Keras opens, predicts with and trains on; round trips keep every bit."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from parity_tests.files.committed import COMMITTED, FOLDER, MANIFESTS, bits, same_bits
from parity_tests.judge.agreement import no_farther, ulp_off, within
from parity_tests.judge.bounds import exactly, forward
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import FLOAT64, KERAS_3_FILES, OF_TODAY, RANDOM_STREAM
from torch_impl import (
    FraudClassifier,
    KerasAdam,
    fit,
    load_keras,
    load_keras_optimizer,
    save_keras,
    to_keras_weights,
)
from torch_impl.keras_files.reading import read_keras
from torch_impl.keras_files.writing import write_keras

rng = np.random.default_rng(2)
X = rng.normal(size=(256, 7)).astype(np.float32)
Y = (X[:, :1] > 0.8).astype(np.float32)


def trained(dtype: torch.dtype = torch.float32) -> tuple[FraudClassifier, KerasAdam]:
    model = FraudClassifier(7, 12, 0.3, output_bias=-1.5, seed=4, dtype=dtype)
    optimizer = KerasAdam(model.parameters(), lr=3e-3)
    fit(model, X, Y, batch_size=32, epochs=2, seed=4, optimizer=optimizer, progress=False)
    return model, optimizer


@pytest.mark.parametrize(
    ("version", "file"),
    [(version, file) for version, file in COMMITTED if version in ("2.15.0", "3.15.1")],
    ids=lambda part: part,
)
def test_a_round_trip_keeps_every_bit(version: str, file: str, tmp_path: Path) -> None:
    """From the files of the last Keras 2 and of a Keras 3 through every format that is written."""
    came = read_keras(FOLDER / f"keras_{version}" / file)
    written = set()
    for ending in (".keras", ".weights.h5", ".h5", ".safetensors"):
        path = tmp_path / f"again{ending}"
        if came.network is None and ending in (".keras", ".h5"):
            with pytest.raises(ValueError, match="holds the network"):
                write_keras(came, path)
            continue
        write_keras(came, path)
        written.add(path)
        again = read_keras(path)
        if ending == ".weights.h5":  # which holds no network, no decays and no epsilon
            again = replace(again, network=came.network)
            if again.optimizer is not None and came.optimizer is not None:
                kept = {n: getattr(came.optimizer, n) for n in ("beta_1", "beta_2", "epsilon")}
                again = replace(again, optimizer=replace(again.optimizer, **kept))
        same_bits(came, again)
    assert {*tmp_path.iterdir()} == written


def tree(path: Path) -> dict[str, Any]:
    """Every group and dataset of the HDF5 in a file: attributes, shape, dtype and bytes."""
    content = path.read_bytes()
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            content = archive.read("model.weights.h5")
    held: dict[str, Any] = {}

    def see(name: str, found: Any) -> None:
        attrs = {key: np.asarray(value).tolist() for key, value in found.attrs.items()}
        numbers = isinstance(found, h5py.Dataset)
        held[name] = attrs, (found.shape, found.dtype, found[()].tobytes()) if numbers else None

    with h5py.File(io.BytesIO(content)) as root:
        see("", root)
        root.visititems(see)
    return held


@pytest.mark.parametrize(
    "file", ["classic.keras", "deep.keras", "classic_bfloat16.keras", "classic.h5", "deep.h5"]
)
def test_what_is_written_has_the_very_tree_that_keras_wrote(file: str, tmp_path: Path) -> None:
    """Groups, datasets, attributes and their order; the JSON of an `.h5` says less."""
    theirs = FOLDER / "keras_3.15.1" / file
    write_keras(read_keras(theirs), tmp_path / file)
    expected, came = tree(theirs), tree(tmp_path / file)
    configs = [
        {key: json.loads(held[""][0].pop(key)) for key in list(held[""][0]) if "config" in key}
        for held in (expected, came)
    ]
    assert came == expected
    assert list(configs[1]) == list(configs[0])
    if "model_config" in configs[1]:
        assert configs[1]["model_config"]["config"]["dtype"] == "float32"
    if "training_config" in configs[0]:
        adams = [config["training_config"]["optimizer_config"] for config in configs]
        assert adams[1]["class_name"] == adams[0]["class_name"]
        assert adams[1]["config"].items() <= adams[0]["config"].items()
        assert "optimizer" not in configs[1]["training_config"]


@pytest.mark.parametrize("file", ["functional.keras", "classic.weights.h5"])
def test_what_is_left_out_of_the_tree_has_no_weights(file: str, tmp_path: Path) -> None:
    """The input of a functional model; of weights alone, the layers that are not known."""
    theirs = FOLDER / "keras_3.15.1" / file
    write_keras(read_keras(theirs), tmp_path / file)
    expected, came = tree(theirs), tree(tmp_path / file)
    left_out = set(expected) - set(came)
    assert {name.split("/")[1] for name in left_out} <= {"input_layer", "dropout"}
    assert came == {name: held for name, held in expected.items() if name not in left_out}


def test_an_archive_says_who_wrote_it_and_when_as_keras_does(tmp_path: Path) -> None:
    """The same members in the same order, and a date in the same form."""
    theirs, ours = FOLDER / "keras_3.15.1" / "classic.keras", tmp_path / "x.keras"
    write_keras(read_keras(theirs), ours)
    told = []
    for path in (theirs, ours):
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read("metadata.json"))
            date = datetime.strptime(metadata.pop("date_saved"), "%Y-%m-%d@%H:%M:%S")
            told.append((archive.namelist(), metadata))
            config = json.loads(archive.read("config.json"))
    assert config["config"]["dtype"] == "float32"
    assert told[1] == told[0]
    assert abs((datetime.now() - date).total_seconds()) < 3600


@KERAS_3_FILES
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_keras_opens_and_predicts(ending: str, keras: KerasProcess, tmp_path: Path) -> None:
    """Compiled, with Adam where it stood; see test_keras_cannot_use_some_of_its_own_files."""
    model, optimizer = trained()
    path = tmp_path / f"ours{ending}"
    save_keras(model, path, optimizer)
    theirs = keras.call("files.open_model", str(path), X, Y, batch_size=32, epochs=0)
    weights = to_keras_weights(model)
    assert theirs["layers"] == [("Dense", "dense"), ("Dropout", "dropout"), ("Dense", "dense_1")]
    assert theirs["iterations"] == 16
    assert theirs["learning_rate"] == np.float32(3e-3)
    for name, array in weights.items():
        assert theirs["weights"][name] == ("float32", array.tobytes())
    for kind in ("momentum", "velocity") if ending == ".keras" else ():
        parameters = dict(model.named_parameters())
        kernel = optimizer.state_of(parameters["hidden.weight"])[kind].T.contiguous().numpy()
        assert theirs[kind]["dense/kernel"] == ("float32", kernel.tobytes())
    p = model.predict_proba(torch.from_numpy(X)).numpy()
    bound = forward(exactly(X), weights)["probabilities"]
    result = within("predictions", "proven", p, theirs["predictions"], bound.value, bound.allowance)
    assert result.agree, result.detail


@RANDOM_STREAM
def test_keras_trains_on(keras: KerasProcess, tmp_path: Path) -> None:
    """24 more steps agree, in float64 too."""
    model, optimizer = trained()
    path, epochs = tmp_path / "ours.keras", 3
    save_keras(model, path, optimizer)

    def went_on(dtype: torch.dtype) -> dict[str, np.ndarray]:
        again = load_keras(path)
        resumed = load_keras_optimizer(path, again)
        again.to(dtype)
        for state in resumed.state.values():
            for name in ("momentum", "velocity"):
                state[name] = state[name].to(dtype)
        fit(
            again, X, Y, batch_size=32, epochs=epochs, shuffle=False, optimizer=resumed,
            progress=False,
        )  # fmt: skip
        return to_keras_weights(again)

    ours, wide = went_on(torch.float32), went_on(torch.float64)
    theirs = keras.call("files.open_model", str(path), X, Y, batch_size=32, epochs=epochs)["final"]
    their_wide = keras.call("files.train_on_in_float64", str(path), X, Y, 32, epochs)
    for name, keras_wide in their_wide.items():
        off = ulp_off(theirs[name], keras_wide)
        for result in (
            no_farther(name, "rounding", ours[name], theirs[name], off, 32),
            no_farther(name, "double", wide[name], keras_wide, off, 32),
        ):
            assert result.agree, (result.kind, result.stage, result.detail)


@KERAS_3_FILES
@pytest.mark.parametrize(
    "dtype",
    [pytest.param(torch.float64, marks=FLOAT64), torch.bfloat16],
    ids=str,
)
def test_keras_loads_our_weights(dtype: torch.dtype, keras: KerasProcess, tmp_path: Path) -> None:
    """`load_weights` into a network made anew, bit for bit, and `load_model` too."""
    model = FraudClassifier(7, 12, 0.5, seed=4, dtype=dtype)
    name = str(dtype).removeprefix("torch.")
    for ending in (".weights.h5", ".keras", ".h5"):
        path = tmp_path / f"ours{ending}"
        save_keras(model, path)
        if ending == ".weights.h5":
            theirs = keras.call("files.open_weights", str(path), 7, 12, name)
        elif (dtype, ending) == (torch.bfloat16, ".h5"):
            continue  # see test_keras_cannot_use_some_of_its_own_files
        else:
            theirs = keras.call("files.open_model", str(path), X, Y)
        for weight, tensor in read_keras(path).weights.items():
            assert theirs["weights"][weight] == (bits(tensor)[0], bits(tensor)[2]), weight


@KERAS_3_FILES
@pytest.mark.parametrize("file", ["deep.keras", "classic.h5"])
def test_keras_opens_what_came_from_keras_under_its_own_names(
    file: str, keras: KerasProcess, tmp_path: Path
) -> None:
    """Read, written as `.keras`, opened: layers keep their names and predictions their bound."""
    version = "2.15.0"
    model = load_keras(FOLDER / f"keras_{version}" / file)
    path = tmp_path / "again.keras"
    save_keras(model, path)
    theirs = keras.call("files.open_model", str(path), X[:, :5], Y)
    told = MANIFESTS[version]["models"][MANIFESTS[version]["files"][file]["model"]]["layers"]
    assert theirs["layers"] == [
        (layer["class"], layer["name"]) for layer in told if layer["class"] != "InputLayer"
    ]


def test_saving_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    """Other modules, endings and optimizers; a file that was there stays."""
    model, optimizer = trained()
    path = tmp_path / "kept.keras"
    path.write_bytes(b"kept")
    with pytest.raises(ValueError, match="the model is a Linear"):
        save_keras(torch.nn.Linear(3, 1), path)
    with pytest.raises(ValueError, match="unknown ending"):
        save_keras(model, tmp_path / "model.pt")
    other, _ = trained()
    with pytest.raises(ValueError, match="not of this model's parameters"):
        save_keras(other, path, optimizer)
    assert path.read_bytes() == b"kept"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.keras"]


@OF_TODAY
def test_keras_cannot_use_some_of_its_own_files(keras: KerasProcess) -> None:
    """Keras 3.15 opens no bfloat16 `.h5`, and of any `.h5` it loses Adam's moments.

    It builds the loaded optimizer for no variables, and cannot train then. Ours reads both.
    """
    folder = FOLDER / "keras_3.15.1"
    with pytest.raises(ValueError, match="No cast function available"):
        keras.call("files.open_model", str(folder / "classic_bfloat16.h5"), X[:, :5], Y)
    with pytest.raises(ValueError, match="Unknown variable"):
        keras.call("files.open_model", str(folder / "classic.h5"), X[:, :5], Y, 32, 1)
