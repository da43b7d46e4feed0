"""Contestants do the same work, each as its own users have it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parity_tests.bench import epochs
from parity_tests.bench.contestants import ours, plain_network, pytorch_loop, scikit_learn
from parity_tests.bench.material import BATCH_SIZE, Material
from parity_tests.bench.processes import Processes
from parity_tests.bench.race import MissingError
from parity_tests.bench.scripts import run_script
from parity_tests.reference import keras_process
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import KERAS_3_FILES, reference
from torch_impl import FeatureTransform, FraudClassifier, load_keras, load_pipeline


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Of few rows."""
    return Material(tmp_path_factory.mktemp("bench"), 600)


def test_both_transforms_give_the_same_features(material: Material) -> None:
    """Bit for bit, but for the logarithm, which NumPy and torch round each in their own way."""
    rows, fitted = scikit_learn._ready(material.raw, material.scaler)
    numbers = np.load(material.scaler)
    features = FeatureTransform(numbers["mean"], numbers["scale"])(torch.from_numpy(rows)).numpy()
    theirs = scikit_learn._transformed(rows, fitted)
    assert (theirs.shape, theirs.dtype) == (features.shape, features.dtype) == ((600, 29), "f4")
    np.testing.assert_array_equal(theirs[:, :-1], features[:, :-1])


def test_the_rows_are_the_tables_own(material: Material) -> None:
    """Raw rows and those of the CSV, in one order."""
    table = np.genfromtxt(material.csv, delimiter=",", skip_header=1)
    np.testing.assert_array_equal(np.load(material.raw), table[:, 1:30])


def test_keras_gets_the_pipelines_own_network(material: Material) -> None:
    """All its weights."""
    network = load_keras(material.keras_model)
    pipeline = load_pipeline(material.pipeline)
    for theirs, own in zip(network.parameters(), pipeline.classifier.parameters(), strict=True):
        assert torch.equal(theirs, own)


@pytest.mark.parametrize("full", [False, True], ids=["bare", "tutorial's"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_each_epoch_of_ours_is_timed(full: bool, compiled: bool, material: Material) -> None:
    """Start-up is not among them."""
    seconds = ours.epoch_seconds(material.features, BATCH_SIZE, 3, full, compiled)
    assert len(seconds) == 3
    assert min(seconds) > 0


def test_each_epoch_of_a_plain_loop_is_timed(material: Material) -> None:
    """On a network that starts from the same bias."""
    assert len(pytorch_loop.epoch_seconds(material.features, BATCH_SIZE, 3, False)) == 3
    bias = float(np.load(material.features)["output_bias"])
    own = load_pipeline(material.pipeline).classifier
    assert plain_network.network(bias)[-1].bias.item() == own.output.bias.item()


def test_an_epoch_of_keras_is_timed(
    material: Material, lent: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own process, with the tutorial's metrics and validation."""
    monkeypatch.setattr(keras_process, "KerasProcess", lent)
    with Processes({}) as processes:
        assert epochs._keras("keras-tensorflow", material, processes, 2, True)()() > 0


@KERAS_3_FILES
def test_the_process_of_keras_never_holds_torch(
    material: Material, lent: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is asked."""
    monkeypatch.setattr(keras_process, "KerasProcess", lent)
    files = (material.raw, material.scaler, material.keras_model)
    with Processes({}) as processes:
        given = processes.call_in_keras("tensorflow", "scikit_learn", "predict_seconds", *files, 64)
        held = processes.keras("tensorflow").call("versions.loaded_modules")
    assert given > 0
    assert {"keras", "sklearn"} <= set(held)
    assert "torch" not in held or reference().backend == "torch"


@pytest.mark.slow
def test_a_process_of_torchs_cannot_import_tensorflow() -> None:
    """Which would abort it; Lightning tries to."""
    with Processes({}) as processes:
        held = processes.call("ours", "loaded")
        with pytest.raises(ModuleNotFoundError, match="tensorflow"):
            processes.call("ours", "imported", "tensorflow")
    assert "torch" in held
    assert not {"keras", "tensorflow"} & set(held)


@KERAS_3_FILES
def test_the_scripts_of_keras_do_the_tutorials_work(
    material: Material, keras: KerasProcess, tmp_path: Path
) -> None:
    """A probability for each row, the largest and the smallest of the same; a trained model."""
    out, model = tmp_path / "out.csv", tmp_path / "trained.keras"
    files = [material.csv, material.pickled_scaler, material.keras_model, out]
    keras.submit(run_script, "score_csv.py", [*map(str, files)]).result()
    theirs = np.genfromtxt(out, delimiter=",", skip_header=1)
    own = load_pipeline(material.pipeline).predict_proba(np.load(material.raw)).numpy().ravel()
    assert theirs.shape == own.shape
    np.testing.assert_array_equal(theirs.argsort()[[0, -1]], own.argsort()[[0, -1]])
    keras.submit(run_script, "train_keras.py", [str(material.features), "1", str(model)]).result()
    assert isinstance(load_keras(model), FraudClassifier)


def test_the_script_of_ours_does_the_tutorials_work(material: Material, tmp_path: Path) -> None:
    """A model that has trained."""
    out = tmp_path / "trained.keras"
    run_script("train_torch.py", [str(material.features), "1", str(out)])
    start = load_pipeline(material.pipeline).classifier
    trained = load_keras(out)
    assert isinstance(trained, FraudClassifier)
    assert not torch.equal(trained.hidden.weight, start.hidden.weight)


def test_a_package_that_is_not_there_is_named() -> None:
    """Before a process is started."""
    with pytest.raises(MissingError, match=r"^no_such_package not installed$"):
        Processes({}).require(["json", "no_such_package"])
