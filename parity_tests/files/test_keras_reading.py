"""What kind of file it is, and whether what it holds fits together: word for word."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from parity_tests.files.committed import FOLDER, KERAS_2, KERAS_3, bits
from parity_tests.files.test_keras_files_hostile import archive, hdf5
from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.config import compile_config, model_config
from torch_impl.keras_files.contents import AdamState, KerasFileError
from torch_impl.keras_files.reading import read_keras

NETWORK = Network(2, (Layer("Dense", "a", 3), Layer("Dense", "b", 1, use_bias=False)))
WEIGHTS = {
    "b/kernel": torch.full((3, 1), 0.5), "a/kernel": torch.ones(2, 3), "a/bias": torch.zeros(3),
}  # fmt: skip
ORDER = ["a/kernel", "a/bias", "b/kernel"]


def written(
    folder: Path, tensors: dict[str, Tensor] | None = None, steps: Any = None, **facts: Any
) -> Path:
    """A safetensors file of a network; with steps of an Adam, its moments too."""
    tensors = WEIGHTS | (tensors or {})
    told = {"weights": ORDER, "model": model_config(NETWORK, "float32")}
    if steps is not None:
        for number, kind in enumerate(("momentum", "velocity"), 2):
            slots = {f"{kind}/{name}": number * t for name, t in WEIGHTS.items()}
            tensors = slots | tensors
        adam = AdamState(3, 0.125, {}, {}, 0.75, 0.875, 1e-5)
        told |= {"optimizer": compile_config(adam), "iterations": steps}
    path = folder / "x.safetensors"
    save_file(tensors, path, {"keras": json.dumps(told | facts)})
    return path


def test_a_file_of_ours_is_read_in_the_order_it_says(tmp_path: Path) -> None:
    """The twin of what follows: weights, network, Adam."""
    came = read_keras(written(tmp_path, steps=3))
    assert list(came.weights) == ORDER
    assert came.network == NETWORK
    assert came.format == "safetensors"
    assert (came.keras_version, came.notes) == (None, ())
    adam = came.optimizer
    assert adam is not None
    assert (adam.iterations, adam.learning_rate) == (3, 0.125)
    assert (adam.beta_1, adam.beta_2, adam.epsilon) == (0.75, 0.875, 1e-5)
    for number, held in enumerate((adam.momentum, adam.velocity), 2):
        assert {name: bits(t) for name, t in held.items()} == {
            name: bits(number * t) for name, t in WEIGHTS.items()
        }


@pytest.mark.parametrize("steps", [0, 1, 1000, 2**53 - 1])
def test_any_count_of_steps_that_float64_holds_is_read(steps: int, tmp_path: Path) -> None:
    """None and the largest too."""
    came = read_keras(written(tmp_path, steps=steps)).optimizer
    assert came is not None
    assert came.iterations == steps


def test_a_pickle_beside_the_weights_is_left_alone(tmp_path: Path) -> None:
    """It is not read, and so it is no danger."""
    path = tmp_path / "x.keras"
    path.write_bytes(archive(more={"model.weights.npz": b"pickle"}))
    assert len(read_keras(path).weights) == 4


def test_a_file_of_another_hand_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    """Safetensors without facts, or with an order that is none, or names others too."""
    path = tmp_path / "x.safetensors"
    save_file(WEIGHTS, path)
    assert list(read_keras(path).weights) == sorted(ORDER)
    frozen = model_config(NETWORK, "float32")
    frozen["config"]["layers"][1]["config"]["trainable"] = False
    assert read_keras(written(tmp_path, model=frozen)).notes == ("'a' is not trainable there",)
    for order in (7, ["b/kernel", 7, "none", "a/kernel"]):
        came = read_keras(written(tmp_path, weights=order, model=None))
        first = ["b/kernel", "a/kernel"] if isinstance(order, list) else []
        assert list(came.weights) == first + [n for n in sorted(ORDER) if n not in first]
        assert came.network is None


def test_a_rate_that_the_facts_leave_out_is_kerass_default(tmp_path: Path) -> None:
    """As of a `.weights.h5`."""
    adam = {"optimizer": {"class_name": "Adam", "config": {"beta_1": 0.5}}}
    came = read_keras(written(tmp_path, steps=3, optimizer=adam)).optimizer
    assert came is not None
    assert (came.learning_rate, came.beta_1, came.beta_2) == (0.001, 0.5, 0.999)


NAN = torch.tensor([[1.0, 2.0, float("nan")], [float("inf"), 5.0, 6.0]])
WHOLE = {name: tensor.long() for name, tensor in WEIGHTS.items()}
FAULTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "two-dtypes": (
        lambda f: written(f, {"a/bias": torch.zeros(3, dtype=torch.float64)}),
        "weights are float32, float64; expected one float type",
    ),
    "whole-numbers": (
        lambda f: written(f, WHOLE), "weights are int64; expected one float type",
    ),
    "another-layer": (
        lambda f: written(f, {"c/kernel": torch.ones(1, 1)}),
        "weights are a/kernel, a/bias, b/kernel, c/kernel; expected a/kernel, a/bias, b/kernel",
    ),
    "another-shape": (
        lambda f: written(f, {"a/kernel": torch.ones(3, 3)}),
        "a/kernel has shape (3, 3); expected (2, 3)",
    ),
    "not-finite": (
        lambda f: written(f, {"a/kernel": NAN}),
        "a/kernel is not finite in 2 places, first at (0, 2)",
    ),
    "momentum-of-another-shape": (
        lambda f: written(f, {"momentum/a/kernel": torch.ones(1, 3)}, steps=3),
        "momentum of a/kernel has shape (1, 3); expected (2, 3)",
    ),
    "velocity-not-finite": (
        lambda f: written(f, {"velocity/a/kernel": NAN}, steps=3),
        "velocity of a/kernel is not finite in 2 places, first at (0, 2)",
    ),
    "steps-below-0": (
        lambda f: written(f, steps=-1), "the optimizer made -1 steps",
    ),
    "steps-beyond-float64": (
        lambda f: written(f, steps=2**53), f"the optimizer made {2**53} steps",
    ),
    "two-faults": (
        lambda f: written(f, {"a/kernel": torch.ones(3, 3), "a/bias": torch.zeros(4)}),
        "a/bias has shape (4,); expected (3,); a/kernel has shape (3, 3); expected (2, 3)",
    ),
    "velocity-of-no-weight": (
        lambda f: written(f, {"velocity/c/kernel": torch.ones(1)}, steps=3),
        "the optimizer's state is not whole",
    ),
    "steps-missing": (
        lambda f: written(f, steps=3, iterations=None), "the optimizer's state is not whole",
    ),
    "steps-of-text": (lambda f: written(f, steps="3"), "the optimizer's state is not whole"),
    "momentum-without-adam": (
        lambda f: written(f, optimizer={"optimizer": None}, iterations=3),
        "the optimizer's state is not whole",
    ),
    "optimizer-a-number": (
        lambda f: written(f, optimizer=7), "keras holds int; expected an object",
    ),
    "adam-of-text": (
        lambda f: written(f, steps=3, optimizer={
            "optimizer": {"class_name": "Adam", "config": {"beta_1": "x"}}}),
        "Adam has beta_1=x",
    ),
    "model-a-list": (lambda f: written(f, model=[]), "keras holds list; expected an object"),
    "a-state-dict": (
        lambda f: written(f, {"hidden.weight": torch.ones(1)}),
        "holds 'hidden.weight'; expected names like dense/kernel (a PyTorch state_dict is loaded "
        "by PyTorch itself)",
    ),
    "a-path": (
        lambda f: written(f, {"x/y/kernel": torch.ones(1)}),
        "holds 'x/y/kernel'; expected names like dense/kernel (a PyTorch state_dict is loaded by "
        "PyTorch itself)",
    ),
    "another-moment": (
        lambda f: written(f, {"momentum/a/delta": torch.ones(1)}, steps=3),
        "holds 'momentum/a/delta'; expected names like dense/kernel (a PyTorch state_dict is "
        "loaded by PyTorch itself)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_contents_that_do_not_fit_together_are_refused(case: str, tmp_path: Path) -> None:
    """Every fault at once, with what came and what was expected."""
    make, message = FAULTS[case]
    path = make(tmp_path)
    with pytest.raises(KerasFileError) as caught:
        read_keras(path)
    order = caught.value.args[0].removeprefix(f"{path}: ")
    assert str(caught.value).startswith(f"{path}: ")
    assert sorted(order.split("; ")) == sorted(message.split("; "))


def test_no_weights_at_all_are_refused(tmp_path: Path) -> None:
    """An empty file of a good form."""
    path = tmp_path / "x.safetensors"
    save_file({}, path, {"keras": "{}"})
    with pytest.raises(KerasFileError) as caught:
        read_keras(path)
    assert str(caught.value) == f"{path}: holds no weights"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (FOLDER / "keras_3.15.1" / "classic.keras", ".keras"),
        (FOLDER / "keras_3.15.1" / "classic.weights.h5", ".weights.h5"),
        (FOLDER / "keras_3.15.1" / "classic.h5", "legacy .h5 model"),
        (FOLDER / "keras_2.15.0" / "classic_weights.h5", "legacy .h5 weights"),
        (KERAS_2 / "trained", "TensorFlow checkpoint"),
        (KERAS_2 / "trained.index", "TensorFlow checkpoint"),
        (KERAS_3 / "checkpoint", "TensorFlow checkpoint"),
        (KERAS_3 / "sequential", "SavedModel (TensorFlow 2.21.0)"),
    ],
    ids=lambda part: getattr(part, "name", part),
)
def test_each_kind_of_file_is_told_for_what_it_is(path: Path, kind: str) -> None:
    """By its content, a folder's files, or an index beside the name that was given."""
    assert read_keras(path).format == kind


def test_a_file_beside_an_index_of_its_name_is_read_itself(tmp_path: Path) -> None:
    """A prefix is one only where no such file is."""
    for path in KERAS_2.glob("trained.*"):
        shutil.copy(path, tmp_path)
    shutil.copy(FOLDER / "keras_3.15.1" / "classic.keras", tmp_path / "trained")
    assert read_keras(tmp_path / "trained").format == ".keras"


NO_KERAS_FILE = "no Keras file; expected .keras, .h5, a SavedModel, a checkpoint or safetensors"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes; too short for a Keras file"),
        (b"x" * 15, "15 bytes; too short for a Keras file"),
        (b"x" * 16, NO_KERAS_FILE),
        ((8).to_bytes(8, "little") + b"[" + bytes(16), NO_KERAS_FILE),
        ((99).to_bytes(8, "little") + b"{" + bytes(16), NO_KERAS_FILE),
    ],
    ids=["empty", "short", "text", "list", "header-beyond-the-end"],
)
def test_what_is_no_keras_file_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    """With what would be one."""
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(KerasFileError) as caught:
        read_keras(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """It would block for ever."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(KerasFileError) as caught:
        read_keras(path)
    assert str(caught.value) == f"{path}: is no plain file"


def without_version(text: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "x.keras"
        path.write_bytes(archive(metadata=text))
        return path

    return make


@pytest.mark.parametrize("text", [b"{}", b'{"keras_version": 3}'])
def test_an_archive_of_no_version_is_read(text: bytes, tmp_path: Path) -> None:
    """Who wrote it is not known then."""
    came = read_keras(without_version(text)(tmp_path))
    assert came.keras_version is None
    assert came.optimizer is not None


@pytest.mark.parametrize("name", ["sgd", "adam_w", "adamw", "adamax", "nadam"])
def test_weights_beside_another_optimizer_are_read_without_it(name: str, tmp_path: Path) -> None:
    """AdamW's and Adamax's variables look like Adam's; the name tells them apart."""
    path = tmp_path / "x.weights.h5"
    path.write_bytes(hdf5(lambda root: root["optimizer/vars"].attrs.modify("name", name)))
    came = read_keras(path)
    assert list(came.weights) == ["first/kernel", "first/bias", "second/kernel", "second/bias"]
    assert (came.network, came.optimizer, came.format) == (None, None, ".weights.h5")
    assert came.optimizer_notes == (f"its optimizer is {name}; only Adam's state is read",)


@pytest.mark.parametrize("name", ["adam", "Adam", "adam_12", None])
def test_weights_beside_an_adam_are_read_with_it(name: str | None, tmp_path: Path) -> None:
    """Keras counts its optimizers, and before 3.6 did not say their names."""
    path = tmp_path / "x.weights.h5"

    def change(root: Any) -> None:
        attrs = root["optimizer/vars"].attrs
        attrs.modify("name", name) if name is not None else attrs.pop("name", None)

    path.write_bytes(hdf5(change))
    came = read_keras(path)
    assert came.optimizer is not None
    assumed = "it does not say which optimizer it is: taken for Adam"
    assert came.optimizer_notes == (() if name else (assumed,))


def test_weights_alone_have_no_optimizer_and_no_note(tmp_path: Path) -> None:
    """The model was not compiled."""
    path = tmp_path / "x.weights.h5"
    path.write_bytes(hdf5(lambda root: root.pop("optimizer")))
    came = read_keras(path)
    assert (came.optimizer, came.optimizer_notes, came.format) == (None, (), ".weights.h5")


def test_variables_that_are_not_adams_are_noted(tmp_path: Path) -> None:
    """Whatever the optimizer is called."""
    path = tmp_path / "x.weights.h5"
    path.write_bytes(hdf5(lambda root: root["optimizer/vars"].pop("9")))
    came = read_keras(path)
    assert came.optimizer is None
    assert came.optimizer_notes == ("its optimizer's variables are not Adam's: not read",)


def compiled_with(optimizer: Any) -> bytes:
    return archive(lambda config: config.update(compile_config=optimizer))


@pytest.mark.parametrize(
    "optimizer",
    [{"class_name": "SGD", "config": {}}, "sgd"],
    ids=["sgd", "sgd-by-name"],
)
def test_an_archive_of_another_optimizer_is_read_without_it(optimizer: Any, tmp_path: Path) -> None:
    """And says which optimizer it has."""
    path = tmp_path / "x.keras"
    path.write_bytes(compiled_with({"optimizer": optimizer}))
    came = read_keras(path)
    name = "sgd" if optimizer == "sgd" else "SGD"
    assert came.optimizer is None
    assert came.optimizer_notes == (f"its optimizer is {name}; only Adam's state is read",)


@pytest.mark.parametrize(
    "compiled", [7, {"optimizer": None}, {"optimizer": "adam"}], ids=["no-object", "none", "name"]
)
def test_an_archive_says_adam_by_its_name_alone_or_by_its_variables(
    compiled: Any, tmp_path: Path
) -> None:
    """As `compile("adam")` leaves it, or a model whose compilation was not stored."""
    path = tmp_path / "x.keras"
    path.write_bytes(archive(lambda _: None))
    whole = read_keras(path).optimizer
    path.write_bytes(compiled_with(compiled))
    came = read_keras(path).optimizer
    assert (whole is None, came is None) == (False, False)
    assert came.iterations == whole.iterations
    assert came.learning_rate == whole.learning_rate
    for kind in ("momentum", "velocity"):
        ours, theirs = getattr(came, kind), getattr(whole, kind)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs), kind
