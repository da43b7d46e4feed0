"""Keras's files are read without TensorFlow: committed ones of every version, and live ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from parity_tests.files.committed import COMMITTED, FOLDER, MANIFESTS, bits, check_bits
from parity_tests.judge.agreement import within
from parity_tests.judge.bounds import U32, U64, affine, exactly, relu, sigmoid
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import OWN_NAMES
from torch_impl import (
    FraudClassifier,
    KerasDropout,
    KerasFileError,
    KerasNetwork,
    load_keras,
    load_keras_optimizer,
)
from torch_impl.keras_files.contents import Contents
from torch_impl.keras_files.reading import read_keras

NAMELESS = {"2.12.0", "2.13.1", "2.14.0", "2.15.0", "3.0.5"}  # before Keras 3.6


def expected_of(version: str, file: str) -> dict[str, Tensor]:
    tensors = load_file(FOLDER / f"keras_{version}" / "expected.safetensors")
    own = {n.removeprefix(f"{file}/"): t for n, t in tensors.items() if n.startswith(f"{file}/")}
    return own | {"rows": tensors["rows"]}


@pytest.mark.parametrize(("version", "file"), COMMITTED, ids=lambda part: part)
def test_a_file_of_another_keras_is_read_bit_for_bit(version: str, file: str) -> None:
    """Weights, layers, Adam's state and, where float32 or float64, predictions by the bound."""
    told = MANIFESTS[version]
    facts, expected = told["files"][file], expected_of(version, file)
    model_facts = told["models"][facts["model"]]
    path = FOLDER / f"keras_{version}" / file
    came = read_keras(path)
    nameless = facts["format"] == "weights-h5" and version in NAMELESS
    names = list(came.weights)
    if nameless:  # the file has the order alone
        names = [
            f"{layer['name']}/{kind}"
            for layer in model_facts["layers"]
            if layer["class"] == "Dense"
            for kind in ("kernel", "bias")
            if kind == "kernel" or layer["use_bias"]
        ]
    in_file = [n for n in expected if n.endswith(("/kernel", "/bias")) and n.count("/") == 1]
    assert set(names) == set(in_file)
    for name, tensor in zip(names, came.weights.values(), strict=True):
        assert str(tensor.dtype) == f"torch.{model_facts['dtype']}"
        assert bits(tensor.to(expected[name].dtype)) == bits(expected[name]), name
    check_layers(came, model_facts)
    assert (came.optimizer is not None) == facts["holds_optimizer"]
    if came.optimizer is not None:
        assert came.optimizer.iterations == model_facts["iterations"]
        if came.network is not None:
            assert came.optimizer.learning_rate == model_facts["learning_rate"]
        for kind in ("momentum", "velocity"):
            for name, tensor in zip(names, getattr(came.optimizer, kind).values(), strict=True):
                assert bits(tensor) == bits(expected[f"{kind}/{name}"]), (kind, name)
    # In float64 the bound is as much smaller, but that it was computed in float64 itself.
    ratio = {"float32": 1, "float64": 2 * U64 / U32}.get(model_facts["dtype"])
    if ratio:
        if came.network is None and facts["model"] != "classic":
            return  # its activations are not in the file
        with nullcontext() if came.network else pytest.warns(UserWarning, match="weights alone"):
            model = load_keras(path)
        p = model.predict_proba(expected["rows"].to(getattr(torch, model_facts["dtype"]))).numpy()
        wide = sigmoid_chain(came, model, expected["rows"].numpy())
        theirs = expected["predictions"].numpy()
        assert (np.abs(p - wide.value) <= wide.allowance * ratio).all()
        narrow = p.astype(np.float32)  # as Keras's were recorded
        result = within("predictions", "proven", narrow, theirs, wide.value, wide.allowance)
        assert result.agree, result.detail


def sigmoid_chain(came: Contents, model: Any, rows: np.ndarray) -> Any:
    """The proven bound, carried through the chain's layers."""
    contents_network = model.keras_network
    x = exactly(rows)
    for layer in contents_network.layers:
        if layer.kind == "Dense":
            kernel = came.weights[f"{layer.name}/kernel"].numpy()
            bias = came.weights.get(f"{layer.name}/bias", torch.zeros(layer.units)).numpy()
            x = affine(x, kernel, bias)
        x = {"relu": relu, "sigmoid": sigmoid, "linear": lambda y: y}[layer.activation](x)
    return x


def check_layers(came: Contents, model_facts: dict[str, Any]) -> None:
    if came.network is None:
        return
    told = [layer for layer in model_facts["layers"] if layer["class"] != "InputLayer"]
    assert [(la.kind, la.name) for la in came.network.layers] == [
        (la["class"], la["name"]) for la in told
    ]
    for layer, facts in zip(came.network.layers, told, strict=True):
        if layer.kind == "Dense":
            assert (layer.units, layer.use_bias) == (facts["units"], facts["use_bias"])
        if layer.kind == "Dropout":
            assert (layer.rate, layer.seed) == (facts["rate"], facts["seed"])
        else:
            assert layer.activation == facts["activation"]


ENDINGS = (".keras", ".weights.h5", ".h5")


@pytest.fixture(scope="module")
def saved(
    keras: KerasProcess, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], tuple[Path, dict[str, Any]]]:
    """Files of every ending of one trained model, and what Keras tells of it."""

    @cache
    def made(kind: str, dtype: str) -> tuple[Path, dict[str, Any]]:
        folder = tmp_path_factory.mktemp("saved")
        paths = [str(folder / f"model{ending}") for ending in ENDINGS]
        return folder, keras.call("files.save_model", *paths, kind=kind, dtype=dtype)

    return made


@pytest.mark.parametrize(
    "ending", [pytest.param(e, marks=OWN_NAMES if e == ".weights.h5" else ()) for e in ENDINGS]
)
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("sequential", "float32"), ("functional", "bfloat16")],
)
def test_a_file_of_todays_keras_is_read_bit_for_bit(
    kind: str, dtype: str, ending: str, saved: Callable[[str, str], tuple[Path, dict[str, Any]]]
) -> None:
    """Weights by their layers' own names, and Adam's state."""
    folder, told = saved(kind, dtype)
    check_bits(read_keras(folder / f"model{ending}"), told, optimizer=True)


def test_the_tutorials_network_becomes_a_fraud_classifier() -> None:
    """Of its own sizes, names, dropout rate and seed; other chains become a KerasNetwork."""
    model = load_keras(FOLDER / "keras_3.15.1" / "functional.keras")
    assert isinstance(model, FraudClassifier)
    assert (model.in_features, model.hidden_units) == (5, 4)
    assert isinstance(model.dropout, KerasDropout)
    assert (model.dropout.rate, model.dropout.seed) == (0.4, 11)
    deep = load_keras(FOLDER / "keras_3.15.1" / "deep.keras")
    assert isinstance(deep, KerasNetwork)
    assert deep(torch.zeros(3, 5)).shape == (3, 2)


def test_loading_draws_from_no_ones_generator() -> None:
    """What comes after it stays the same."""
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    load_keras(FOLDER / "keras_3.15.1" / "classic.keras")
    assert torch.rand(1) == expected


def test_weights_alone_say_what_was_assumed() -> None:
    """The dropout rate is the caller's; the note says so."""
    path = FOLDER / "keras_3.15.1" / "classic.weights.h5"
    with pytest.warns(UserWarning, match=r"classic\.weights\.h5: .*alone.*, and Dropout\(0\.25\)"):
        model = load_keras(path, dropout=0.25)
    assert isinstance(model, FraudClassifier)
    assert model.dropout.p == 0.25
    assert read_keras(path).network is None


def test_the_optimizer_of_a_file_belongs_to_its_model() -> None:
    """Another model, or a file without one, is refused by name."""
    folder = FOLDER / "keras_3.15.1"
    model = load_keras(folder / "classic.keras")
    optimizer = load_keras_optimizer(folder / "classic.keras", model)
    assert optimizer.param_groups[0]["lr"] == 0.003000000026077032
    held, expected = optimizer.state_of(model.hidden.weight), expected_of("3.15.1", "classic.keras")
    assert int(held["step"]) == 3
    for kind in ("momentum", "velocity"):
        assert torch.equal(held[kind], expected[f"{kind}/dense/kernel"].T)
    with pytest.raises(KerasFileError, match="its Adam is of weights"):
        load_keras_optimizer(folder / "functional.keras", model)
    with pytest.raises(KerasFileError, match="holds no Adam"):
        load_keras_optimizer(folder / "classic_float16.keras", model)


def test_a_file_is_told_by_what_is_in_it_and_not_by_its_name(tmp_path: Path) -> None:
    """Keras 2.12 writes HDF5 into `x.keras`."""
    for version, file in (("2.12.0", "classic.keras"), ("3.15.1", "classic.keras")):
        path = tmp_path / "any.bin"
        path.write_bytes((FOLDER / f"keras_{version}" / file).read_bytes())
        assert isinstance(load_keras(path), FraudClassifier)
    with pytest.raises(FileNotFoundError):
        load_keras(tmp_path / "nothing.keras")
