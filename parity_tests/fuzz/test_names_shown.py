"""What a file says reaches a terminal as text."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from parity_tests.fuzz.hostile_file import DENSE, keras
from torch_impl.__main__ import main
from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.api import read_keras
from torch_impl.keras_files.contents import Contents, KerasFileError
from torch_impl.keras_files.writing import write_keras

# What a file says reaches a terminal as text.
STEERING = "d\x1b]0;title\x07\x1b[2J\x9b31m\u202e"


@pytest.fixture
def said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs `convert`: its status and all that it printed."""
    monkeypatch.chdir(tmp_path)

    def run(contents: Contents, source: str, target: str) -> tuple[int, str]:
        write_keras(contents, source)
        status = main(["convert", source, target])
        return status, "".join(capsys.readouterr())

    return run


def named(name: str, notes: tuple[str, ...] = ()) -> Contents:
    network = Network(2, (Layer("Dense", name, 1, use_bias=False),))
    return Contents({f"{name}/kernel": torch.ones(2, 1)}, network, notes=notes)


@pytest.mark.parametrize("ending", [".safetensors", ".keras", ".h5", ".weights.h5"])
def test_a_name_that_would_steer_a_terminal_is_shown_and_kept(
    ending: str, said: Callable[..., tuple[int, str]]
) -> None:
    """Every character that is none stands as one of replacement; the file has it as it was."""
    status, shown = said(named(STEERING), "in.safetensors", f"out{ending}")
    assert status == 0
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "d\N{REPLACEMENT CHARACTER}]0;title" in shown
    assert list(read_keras(f"out{ending}").weights) == [f"{STEERING}/kernel"]


def test_whatever_convert_tells_of_a_file_is_printable(tmp_path: Path) -> None:
    """Version, optimizer, policy, names: from a `.keras` as others may write it."""
    row = {**DENSE, "name": STEERING, "dtype": {"config": {"name": STEERING}}}
    path = tmp_path / "in.keras"
    path.write_bytes(keras(
        {"class_name": "Dense", "config": row},
        metadata=json.dumps({"keras_version": STEERING + "\ud800"}).encode(),
        compiled={"optimizer": {"class_name": STEERING, "config": {}}},
    ))  # fmt: skip
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        assert main(["convert", str(path), str(tmp_path / "out.safetensors")]) == 0
    for told in ("written by Keras d", "its optimizer is d", "with the policy d"):
        assert told in " ".join(shown.getvalue().split())
    assert all(c.isprintable() or c == "\n" for c in shown.getvalue())


@pytest.mark.parametrize(
    ("name", "ending", "why"),
    [
        ("a\0b", ".keras", "the layer 'a\\x00b' cannot be written: HDF5's texts end at a NUL"),
        ("a\0b", ".h5", "the layer 'a\\x00b' cannot be written: HDF5's texts end at a NUL"),
        ("a\0b", ".weights.h5", "the layer 'a\\x00b' cannot be written: HDF5's texts end at a NUL"),
        (".", ".h5", "the layer '.' cannot be written: an HDF5 group has another member of that"),
        ("top_level_model_weights", ".h5", "cannot be written: an HDF5 group has another member"),
        ("\ud800", ".safetensors", "the layer '\\ud800' cannot be written: it is no text in UTF-8"),
    ],
    ids=["nul-keras", "nul-h5", "nul-weights", "dot", "top-level", "surrogate"],
)
def test_a_name_that_a_format_cannot_hold_is_told(
    name: str, ending: str, why: str, tmp_path: Path
) -> None:
    """By the layer's name, with the path, and no file is left."""
    path = tmp_path / f"out{ending}"
    with pytest.raises(KerasFileError) as caught:
        write_keras(named(name), path)
    assert str(caught.value).startswith(f"{path}: ")
    assert why in str(caught.value)
    assert not path.exists()


def test_what_h5py_refuses_is_told_with_the_path(tmp_path: Path) -> None:
    """Two layers of one name, which no file has."""
    network = Network(2, (Layer("Dropout", "d"), Layer("Dense", "d", 1, use_bias=False)))
    contents = Contents({"d/kernel": torch.ones(2, 1)}, network)
    with pytest.raises(KerasFileError, match=rf"{tmp_path}/out.h5: cannot be written \(.*exists"):
        write_keras(contents, tmp_path / "out.h5")
