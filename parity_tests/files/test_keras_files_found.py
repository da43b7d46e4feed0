"""Files as people have them: read for what they are, or told what they are."""

from __future__ import annotations

import io
import json
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from parity_tests.files.committed import FOLDER, same_bits
from parity_tests.files.test_keras_files_hostile import LEGACY, archive, hdf5, layer
from torch_impl import KerasFileError, KerasNetwork, load_keras, load_keras_optimizer
from torch_impl.__main__ import main
from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.config import model_config
from torch_impl.keras_files.reading import read_keras

NEWEST = FOLDER / "keras_3.15.1"


def test_an_archive_of_windows_is_read(tmp_path: Path) -> None:
    r"""Keras 2.12 to 2.15 joined the names of HDF5 groups by the system's separator."""
    good = FOLDER / "keras_2.15.0" / "functional.keras"
    with zipfile.ZipFile(good) as archived:
        source = h5py.File(io.BytesIO(archived.read("model.weights.h5")))
    changed = io.BytesIO()
    with h5py.File(changed, "w") as target:
        for top in source:
            for name in source[top] if top in ("layers", "metrics") else ():
                source.copy(source[top][name], target, name=f"{top}\\{name}")
            if top not in ("layers", "metrics"):
                source.copy(source[top], target, name=top)
    assert any(name.startswith("layers\\") for name in h5py.File(changed))
    path = tmp_path / "x.keras"
    path.write_bytes(archive(weights=changed.getvalue(), good=good))
    same_bits(read_keras(path), read_keras(good))


def legacy(change: Callable[[dict[str, Any]], object], folder: Path) -> Path:
    """The committed legacy model with its config changed."""
    path = folder / "x.h5"
    shutil.copy(LEGACY, path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return path


def test_a_model_of_keras_up_to_2_2_2_is_read(tmp_path: Path) -> None:
    """The config of its Sequential is the list of its layers, without one for the input."""

    def old(config: dict[str, Any]) -> None:
        first, *rows = config["config"]["layers"]
        rows[0]["config"]["batch_input_shape"] = first["config"]["batch_shape"]
        config.update(class_name="Sequential", config=rows)

    came, told = read_keras(legacy(old, tmp_path)), read_keras(LEGACY)
    assert told.network is not None
    assert came.network == Network(told.network.in_features, told.network.layers)
    assert all(torch.equal(came.weights[name], told.weights[name]) for name in told.weights)


ACTIVATIONS = {
    "layer": {"module": "keras.layers", "class_name": "ReLU", "config": {"name": "re_lu"}},
    "layer-with-defaults": {
        "class_name": "ReLU", "config": {"max_value": None, "negative_slope": 0.0, "threshold": 0},
    },
    "activation-layer": {"class_name": "Activation", "config": {"activation": "relu"}},
    "function": {"module": "builtins", "class_name": "function", "config": "relu"},
}  # fmt: skip


@pytest.mark.parametrize("form", ACTIVATIONS)
def test_an_activation_may_be_an_object(form: str, tmp_path: Path) -> None:
    """As `Dense(activation=keras.layers.ReLU())` and others are written."""
    path = tmp_path / "x.keras"
    path.write_bytes(archive(lambda c: layer(c)["config"].update(activation=ACTIVATIONS[form])))
    network = read_keras(path).network
    assert network is not None
    assert network.layers[0].activation == "relu"


def weights_alone(folder: Path, *, classic: bool) -> Path:
    """Three Dense layers, the last ten wide, with a Dropout before it, as weights alone."""
    path = folder / ("x.h5" if classic else "x.weights.h5")
    draw = np.random.default_rng(5)
    shapes = {"a": (5, 4), "b": (4, 3), "c": (3, 10)}
    with h5py.File(path, "w") as file:
        names = ["input_1", "a", "dropout_7", "b", "c"]
        if classic:
            file.attrs["layer_names"] = [name.encode() for name in names]
        for i, name in enumerate(names if classic else shapes):
            kinds = ("kernel", "bias") if name in shapes else ()
            held = {
                kind: draw.normal(size=shapes[name] if kind == "kernel" else shapes[name][1:])
                for kind in kinds
            }
            if classic:
                group = file.create_group(name)
                group.attrs["weight_names"] = [f"{name}/{kind}:0".encode() for kind in kinds]
                for kind in kinds:
                    group[f"{name}/{kind}:0"] = held[kind].astype(np.float32)
            else:
                group = file.create_group(f"layers/dense{f'_{i}' if i else ''}/vars")
                for place, kind in enumerate(kinds):
                    group[str(place)] = held[kind].astype(np.float32)
    return path


def to_json(*activations: Any, names: str = "abc") -> str:
    """What `model.to_json()` says of such a model."""
    layers = [
        Layer("Dense", name, units, activation)
        for name, units, activation in zip(names, (4, 3, 10), activations, strict=True)
    ]
    return json.dumps(model_config(Network(5, (*layers,)), "float32"))


@pytest.mark.parametrize("classic", [True, False], ids=["classic", "keras-3"])
def test_weights_alone_are_taken_for_what_a_warning_says(classic: bool, tmp_path: Path) -> None:
    """No sigmoid at an end of ten units, and the Dropout that a classic file names."""
    path = weights_alone(tmp_path, classic=classic)
    with pytest.warns(
        UserWarning, match="alone: taken for hidden layers with ReLU and no act"
    ) as w:
        model = load_keras(path, dropout=0.25)
    assert isinstance(model, KerasNetwork)
    assert [layer.activation for layer in model.keras_network.layers if layer.units] == [
        "relu", "relu", "linear",
    ]  # fmt: skip
    drops = [(layer.name, layer.rate) for layer in model.keras_network.layers if not layer.units]
    assert drops == ([("dropout_7", 0.25)] if classic else [])
    assert ("Dropout(0.25) for dropout_7" in str(w[0].message)) == classic
    assert str(path) in str(w[0].message)


@pytest.mark.parametrize("classic", [True, False], ids=["classic", "keras-3"])
@pytest.mark.parametrize("form", ["file", "file-of-windows", "text", "indented-text", "parsed"])
def test_weights_alone_take_the_architecture_beside_them(
    form: str, classic: bool, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """With nothing guessed, under the config's names, from a file, a text or parsed.

    PowerShell writes a file in UTF-16.
    """
    path = weights_alone(tmp_path, classic=classic)
    text = to_json("sigmoid", "linear", "relu", names="xyz")
    file = tmp_path / "model.json"
    file.write_text(text, encoding="utf-16" if form == "file-of-windows" else "utf-8")
    texts = {"text": text, "indented-text": f"\n  {text}", "parsed": json.loads(text)}
    model = load_keras(path, config=texts.get(form, file))
    assert isinstance(model, KerasNetwork)
    layers = model.keras_network.layers
    assert [(layer.name, layer.activation) for layer in layers] == [
        ("x", "sigmoid"), ("y", "linear"), ("z", "relu"),
    ]  # fmt: skip
    for (_, ours), tensor in zip(
        model.named_parameters(), read_keras(path).weights.values(), strict=True
    ):
        assert torch.equal(ours.T if ours.ndim == 2 else ours, tensor)
    assert not [warning for warning in recwarn if warning.category is UserWarning]


def test_an_architecture_of_the_same_names_takes_weights_by_them(tmp_path: Path) -> None:
    """Also where the file has its layers in another order, which their shapes do not tell."""
    path = tmp_path / "x.h5"
    kernels = {name: np.full((4, 4), number, np.float32) for number, name in enumerate("abc")}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"c", b"a", b"b"]
        for name, kernel in kernels.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode()]
            group[f"{name}/kernel:0"] = kernel
    network = Network(4, tuple(Layer("Dense", name, 4, use_bias=False) for name in "abc"))
    model = load_keras(path, config=model_config(network, "float32"))
    for parameter, kernel in zip(model.parameters(), kernels.values(), strict=True):
        assert torch.equal(parameter, torch.from_numpy(kernel.T))


def test_an_architecture_of_other_weights_is_refused(tmp_path: Path) -> None:
    """With both shapes; and what is no architecture, by what it is."""
    path = weights_alone(tmp_path, classic=True)
    other = json.dumps(
        model_config(Network(5, (Layer("Dense", "a", 4), Layer("Dense", "b", 9))), "")
    )
    for config, message in (
        (other, r"config: its layers have weights .*\(4, 9\).*; the file has .*\(4, 3\)"),
        ("{}", "^config: the model is a 'None'"),
        ({}, "^config: the model is a 'None'"),
        ('{"a": ', "^config: is no JSON"),
    ):
        with pytest.raises(KerasFileError, match=message):
            load_keras(path, config=config)
    file = tmp_path / "model.json"
    for content, message in (
        ("[]", "is list; expected an object"),
        (other, "its layers have weights"),
        (" " * (1 << 20) + "{}" * 9, r"is no JSON \(1048577 characters\)"),  # and reads no further
    ):
        file.write_text(content)
        with pytest.raises(KerasFileError, match=f"^{re.escape(str(file))}: {message}"):
            load_keras(path, config=file)
    with pytest.raises(FileNotFoundError):
        load_keras(path, config=tmp_path / "absent.json")


def test_convert_takes_the_architecture_too(tmp_path: Path, capsys: Any) -> None:
    """And says nothing of a guess."""
    path = weights_alone(tmp_path, classic=True)
    (tmp_path / "model.json").write_text(to_json("relu", "sigmoid", "sigmoid"))
    out = tmp_path / "out.keras"
    assert main(["convert", str(path), str(out), "--config", str(tmp_path / "model.json")]) == 0
    assert "Note" not in capsys.readouterr().out
    network = read_keras(out).network
    assert network is not None
    assert [layer.activation for layer in network.layers] == ["relu", "sigmoid", "sigmoid"]
    assert main(["convert", str(path), str(out), "--config", str(tmp_path / "no.json")]) == 2
    assert "no.json: No such file" in capsys.readouterr().err


LEFT_OUT: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "regularizer": (
        lambda c: layer(c)["config"].update(kernel_regularizer={"class_name": "L2"}),
        "the kernel_regularizer of 'first' is left out",
    ),
    "constraint": (
        lambda c: layer(c)["config"].update(bias_constraint={"class_name": "NonNeg"}),
        "the bias_constraint of 'first' is left out",
    ),
    "policy": (
        lambda c: layer(c)["config"].update(dtype="mixed_float16"),
        "its layers compute with the policy mixed_float16",
    ),
    "dtype-of-one-layer": (
        lambda c: layer(c, 2)["config"].update(dtype="float16"),
        "'drop' in float16",
    ),
    "frozen": (lambda c: layer(c)["config"].update(trainable=False), "'first' is not trainable"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_a_file_says_and_the_module_does_not_do_is_a_warning(
    case: str, tmp_path: Path
) -> None:
    """Which names the file."""
    change, message = LEFT_OUT[case]
    path = tmp_path / "x.keras"
    path.write_bytes(archive(change))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        load_keras(path)
    told = [str(warning.message) for warning in warned if warning.category is UserWarning]
    assert any(message in line for line in told)
    assert all(line.startswith(f"{path}: ") for line in told)


def test_another_optimizer_is_no_warning_until_it_is_asked_for(tmp_path: Path) -> None:
    """The model is whole without it."""
    path = tmp_path / "x.keras"
    path.write_bytes(archive(lambda c: c.update(compile_config={"optimizer": "rmsprop"})))
    model = load_keras(path)
    with pytest.raises(KerasFileError, match=r"holds no Adam \(its optimizer is rmsprop"):
        load_keras_optimizer(path, model)


def test_why_a_file_holds_no_adam_is_told_in_full(tmp_path: Path) -> None:
    """What was assumed, and what was found then."""

    def change(root: Any) -> None:
        root["optimizer/vars"].attrs.pop("name", None)
        root["optimizer/vars"].pop("9")

    path = tmp_path / "x.weights.h5"
    path.write_bytes(hdf5(change))
    with pytest.raises(KerasFileError) as error:
        load_keras_optimizer(path, load_keras(NEWEST / "classic.keras"))
    assert str(error.value) == (
        f"{path}: holds no Adam (it does not say which optimizer it is: taken for Adam; "
        "its optimizer's variables are not Adam's: not read)"
    )


def test_a_loaded_model_is_ready_to_predict() -> None:
    """As `keras.models.load_model` gives it: nothing is dropped until somebody trains it."""
    model = load_keras(NEWEST / "classic.keras")
    assert not any(module.training for module in model.modules())
    rows = torch.ones(64, 5)
    assert torch.equal(model(rows), model(rows))


def unzipped(folder: Path) -> Path:
    with zipfile.ZipFile(NEWEST / "classic.keras") as archived:
        archived.extractall(folder / "x")
    return folder / "x"


def flat(folder: Path) -> Path:
    """A SavedModel as browsers download its files: all into one folder."""
    (folder / "x").mkdir()
    for path in (FOLDER / "saved_model_keras_3_15" / "trained").rglob("*"):
        if path.is_file():
            shutil.copy(path, folder / "x" / path.name)
    return folder / "x"


def above(folder: Path) -> Path:
    """As TensorFlow Serving has a model, by its version."""
    shutil.copytree(FOLDER / "saved_model_keras_3_15" / "trained", folder / "x" / "1")
    return folder / "x"


def text(content: bytes, name: str = "x.h5") -> Callable[[Path], Path]:
    def written(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return written


NEARLY: dict[str, tuple[Callable[[Path], Path], str]] = {
    "unzipped": (unzipped, "is an unzipped .keras; give its model.weights.h5 with its config.json"),
    "flat": (flat, "is a SavedModel without its folder 'variables'"),
    "above": (above, "is a folder above SavedModels; give one of 1"),
    "pointer": (
        text(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "is a Git LFS pointer",
    ),
    "graph": (text(b"\x08\x01\x12\x93" * 9, "saved_model.pb"), "is part of a SavedModel; give the"),
    "metadata": (
        text(b"\x0a\x22\x08\x00" * 9, "keras_metadata.pb"), "is part of a SavedModel; give the",
    ),
    "architecture": (text(to_json("relu", "relu", "relu").encode()), "is JSON, which holds no"),
    "pickle": (text(b"\x80\x04\x95" + bytes(20), "x.pkl"), "is a pickle, which is not read"),
}  # fmt: skip


@pytest.mark.parametrize("case", NEARLY)
def test_what_is_nearly_a_keras_file_is_told_by_what_it_is(case: str, tmp_path: Path) -> None:
    """And what to do about it."""
    make, message = NEARLY[case]
    path = make(tmp_path)
    with pytest.raises(KerasFileError) as caught:
        read_keras(path)
    assert str(caught.value).startswith(f"{path}: {message}")
