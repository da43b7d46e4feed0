"""A model of one's own, recorded: a port by hand is proven against it, or told what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from torch import Tensor, nn

from parity_tests.record.own import record
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import KERAS_3_FILES
from torch_impl import load_keras
from torch_impl.keras.layers.normalization import KerasBatchNormalization
from torch_impl.proof import (
    DisagreementError,
    Recording,
    RecordingError,
    assert_agrees,
    compare,
    read_recording,
)

F = 6
CHAIN = [
    ("Dense", [F], {}), ("BatchNormalization", [], {}), ("LeakyReLU", [], {"negative_slope": 0.3}),
    ("Dropout", [0.5], {}), ("Dense", [F], {"activation": "gelu"}),
    ("LayerNormalization", [], {}), ("Dense", [3, "tanh"], {}), ("Dense", [1, "sigmoid"], {}),
]  # fmt: skip
NAMES = {
    "dense": "one", "batch_normalization": "norm", "leaky_re_lu": "leaky", "dropout": "drop",
    "dense_1": "two", "layer_normalization": "layer_norm", "dense_2": "three", "dense_3": "four",
}  # fmt: skip


class Port(nn.Module):
    """As somebody writes it who ports a network by hand, rightly."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(F, F), nn.Linear(F, F)
        self.norm: nn.Module = KerasBatchNormalization(F)
        self.leaky: nn.Module = nn.LeakyReLU(0.3)
        self.drop, self.gelu = nn.Dropout(0.5), nn.GELU()
        self.layer_norm = nn.LayerNorm(F, eps=1e-3)
        self.three, self.four = nn.Linear(F, 3), nn.Linear(3, 1)
        self.end: Callable[[Tensor], Tensor] = torch.sigmoid
        with torch.no_grad():
            for name, place in NAMES.items():
                part, weights = self.get_submodule(place), recording.layers[name].weights
                for theirs, ours in (
                    ("kernel", "weight"), ("bias", "bias"), ("gamma", "weight"), ("beta", "bias"),
                    ("moving_mean", "running_mean"), ("moving_variance", "running_var"),
                ):  # fmt: skip
                    if theirs in weights:
                        array = torch.from_numpy(weights[theirs])
                        getattr(part, ours).copy_(array.T if theirs == "kernel" else array)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.drop(self.leaky(self.norm(self.one(x)))))
        return self.end(self.four(torch.tanh(self.three(self.layer_norm(self.gelu(x))))))


@pytest.fixture(scope="module")
def path(keras: KerasProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording, and beside it the model's file."""
    folder = tmp_path_factory.mktemp("own")
    rows = np.random.default_rng(2).normal(size=(90, F)).astype("f4")
    keras.call("family.write", str(folder / "x"), CHAIN, rows, (".keras",))
    size, count = record(keras, str(folder / "x.keras"), rows, folder / "x.safetensors")
    assert (folder / "x.safetensors").stat().st_size == size
    assert count == 90
    return folder / "x.safetensors"


def batch_norm(like: nn.Module, **options: Any) -> nn.Module:
    """torch's own, with the numbers of Keras's."""
    norm = nn.BatchNorm1d(F, **{"eps": 1e-3, "momentum": 0.01} | options)
    norm.load_state_dict(like.state_dict(), strict=False)
    return norm


def change(port: Port, **parts: Any) -> None:
    for name, part in parts.items():
        setattr(port, name, part)


def weight(part: nn.Linear, array: Tensor) -> None:
    with torch.no_grad():
        part.weight.copy_(array)


MISTAKES: dict[str, tuple[Callable[[Port], object], str, str]] = {
    "kernel-not-transposed": (
        lambda p: weight(p.one, p.one.weight.T.clone()), "layer 'dense' (Dense) as 'one'",
        "the kernel is not transposed",
    ),
    "kernel-reshaped": (
        lambda p: weight(p.three, p.three.weight.T.reshape(3, F).clone()),
        "layer 'dense_2' (Dense) as 'three'",
        "the kernel is reshaped where it has to be transposed",
    ),
    "no-bias": (
        lambda p: nn.init.zeros_(p.two.bias), "layer 'dense_1' (Dense) as 'two'",
        "the bias is missing",
    ),
    "torchs-epsilon": (
        lambda p: change(p, norm=batch_norm(p.norm, eps=1e-5)), "layer 'batch_normalization'",
        "ε is 1e-05 in the place of 0.001",
    ),
    "epsilon-of-a-layer-norm": (
        lambda p: setattr(p.layer_norm, "eps", 1e-5), "layer 'layer_normalization'",
        "ε is 1e-05 in the place of 0.001",
    ),
    "slope": (
        lambda p: change(p, leaky=nn.LeakyReLU()), "layer 'leaky_re_lu' (LeakyReLU) as 'leaky'",
        "the slope is 0.01 in the place of 0.3",
    ),
    "gamma-not-loaded": (
        lambda p: nn.init.ones_(p.norm.weight), "layer 'batch_normalization'",  # type: ignore[arg-type]
        "γ (weight) is missing",
    ),
    "in-training": (
        lambda p: change(p, drop=AlwaysOn(0.5)), "layer 'dropout' (Dropout) as 'drop'",
        "it drops units in inference: the module is in training",
    ),
    "statistics-of-the-batch": (
        lambda p: change(p, norm=batch_norm(p.norm, track_running_stats=False)),
        "layer 'batch_normalization'", "it normalises by the batch's statistics",
    ),
    "variance-of-a-sample": (
        lambda p: change(p, norm=batch_norm(p.norm)),
        "layer 'batch_normalization' (BatchNormalization) as 'norm': after a batch in training, "
        "running_var",
        "it takes n / (n - 1) times the batch's variance, as nn.BatchNorm1d does",
    ),
    "momentum": (
        lambda p: setattr(p.norm, "keras_momentum", 0.01),
        "layer 'batch_normalization' (BatchNormalization) as 'norm': after a batch in training, "
        "running_mean",
        "momentum is the share kept in Keras, the share taken in PyTorch: 0.01 is wanted, 0.99",
    ),
    "torchs-momentum": (
        lambda p: setattr(p.norm, "keras_momentum", 0.9),
        "layer 'batch_normalization' (BatchNormalization) as 'norm': after a batch in training, "
        "running_mean",
        "momentum is the share kept in Keras, the share taken in PyTorch: 0.01 is wanted, PyTorc",
    ),
    "logits": (
        lambda p: change(p, end=lambda z: z), "predictions",
        "the module gives logits: compare it with from_logits=True",
    ),
    "gelu-of-tanh": (lambda p: change(p, gelu=nn.GELU("tanh")), "layer 'layer_normalization'", ""),
}  # fmt: skip
"""What is done, the first stage that breaks, and what it looks like."""


class AlwaysOn(nn.Dropout):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.p, training=True)


@KERAS_3_FILES
def test_a_port_by_hand_and_the_loaded_file_agree(path: Path) -> None:
    """Layer by layer, in training too; in the caller's mode and weights nothing changes."""
    recording = read_recording(path)
    port = Port(recording).train()
    before = {name: tensor.clone() for name, tensor in port.state_dict().items()}
    assert_agrees(port, path, NAMES)
    assert port.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in port.state_dict().items())
    stages = [verdict.stage for verdict in compare(port, recording, NAMES)]
    assert len(stages) == len(NAMES) + 3
    assert_agrees(load_keras(path.with_suffix(".keras")), recording)
    assert_agrees(port, recording)  # by its predictions alone


@KERAS_3_FILES
def test_a_module_may_write_over_what_it_gave(path: Path) -> None:
    """In place, in float64, where the numbers seen are the very memory."""
    port = Port(read_recording(path))
    port.leaky = nn.LeakyReLU(0.3, inplace=True)
    assert_agrees(port.double(), path, NAMES)


@KERAS_3_FILES
@pytest.mark.parametrize("case", MISTAKES)
def test_a_planted_mistake_is_found_where_it_is_and_named(case: str, path: Path) -> None:
    """The first stage that breaks is the layer's own."""
    plant, stage, looks_like = MISTAKES[case]
    port = Port(read_recording(path))
    plant(port)
    with pytest.raises(DisagreementError) as caught:
        assert_agrees(port, path, NAMES)
    first, *rest = str(caught.value).splitlines()
    assert first.startswith(stage)
    assert all(told in rest[0] for told in ("worst at [", "module ", "expected ", "± "))
    if looks_like:
        assert f"looks like: {looks_like}" in rest[1]
    else:  # a mistake between two named layers is seen at the next one, and not guessed at
        assert "looks like" not in str(caught.value)


@KERAS_3_FILES
def test_logits_are_compared_where_they_are_asked_for(path: Path) -> None:
    """And predictions in their place are told to be that."""
    port = Port(read_recording(path))
    with pytest.raises(DisagreementError, match=r"(?s)^logits: .*predictions: .*from_logits=False"):
        assert_agrees(port, path, from_logits=True)
    port.end = lambda z: z
    assert_agrees(port, path, NAMES, from_logits=True)


@KERAS_3_FILES
def test_names_that_are_not_there_are_told_all_at_once(path: Path) -> None:
    """The recording's, and the module's."""
    port = Port(read_recording(path))
    with pytest.raises(ValueError, match=r"^assert_agrees: method came; expected an nn.Module$"):
        assert_agrees(port.forward, path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no layer 'dence' in the recording; no part 'fuor' in"):
        assert_agrees(port, path, {"dence": "one", "dense_3": "fuor"})


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"PK\3\4 no recording at all, but a zip"])
def test_what_is_no_recording_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    """Whatever it is."""
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(RecordingError) as caught:
        read_recording(tmp_path / "x")
    assert "\n" not in str(caught.value)


@KERAS_3_FILES
def test_a_damaged_recording_is_refused(path: Path, tmp_path: Path) -> None:
    """Of another format, or without one of its arrays."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as opened:
        told = json.loads(opened.metadata()["proof"])
    arrays = load(path.read_bytes())
    less = {name: array for name, array in arrays.items() if name != "dense/bias"}
    for facts, kept in (({**told, "format": 99}, arrays), (told, less), ([], arrays)):
        (tmp_path / "x").write_bytes(save(kept, {"proof": json.dumps(facts)}))
        with pytest.raises(RecordingError):
            read_recording(tmp_path / "x")
