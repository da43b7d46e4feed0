"""A pipeline's file gives the very pipeline, or one clear line."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from parity_tests import ROOT
from parity_tests.decisions.pipelines import DTYPES, a_pipeline, raw_rows
from parity_tests.files.hostile import refused
from torch_impl import (
    FeatureTransform,
    FraudClassifier,
    FraudPipeline,
    PipelineFileError,
    fit,
    load_pipeline,
    save_pipeline,
)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"trained_on": None, "threshold": 0, "log_odds_shift": 0.0},
        {"width": 1, "units": 1, "columns": ["Betrag in \N{EURO SIGN}, \N{GREEK SMALL LETTER MU}"]},
        {"width": 7, "units": 7},
    ],
    ids=["tutorial", "nothing-known", "one-column", "square"],
)
def test_a_pipeline_comes_back_bit_for_bit(
    options: dict, dtype: torch.dtype, tmp_path: Path
) -> None:
    """Every tensor and setting, in inference mode."""
    pipeline, path = a_pipeline(dtype=dtype, **options).train(), tmp_path / "p"
    pipeline.classifier.dropout.calls = 5
    save_pipeline(pipeline, path)
    loaded = load_pipeline(str(path))
    ours, theirs = loaded.state_dict(), pipeline.state_dict()
    assert theirs.keys() - ours.keys() == {"classifier.dropout._extra_state"}
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        assert torch.equal(value, theirs[name])
    assert loaded.columns == pipeline.columns
    assert loaded.trained_on == pipeline.trained_on
    assert loaded.classifier.dropout.p == 0.25
    assert loaded.classifier.output_bias == -1.5
    for name in ("clip", "log_column", "log_offset"):
        assert getattr(loaded.transform, name) == getattr(pipeline.transform, name)
    assert not any(module.training for module in loaded.modules())
    rows = raw_rows(300, options.get("width", 29))
    assert torch.equal(loaded.predict_proba(rows), pipeline.predict_proba(rows))


def test_a_transform_without_a_logarithm_comes_back(tmp_path: Path) -> None:
    """And one whose clip is none, and a classifier that drops nothing."""
    transform = FeatureTransform([0.5, -2.0], [1.0, 3.0], math.inf, log_column=None)
    pipeline = FraudPipeline(transform, FraudClassifier(2, 3, dropout=0.0), columns=["a", "b"])
    save_pipeline(pipeline, tmp_path / "p")
    loaded = load_pipeline(tmp_path / "p")
    assert (loaded.transform.log_column, loaded.transform.clip) == (None, math.inf)
    assert loaded.classifier.dropout.p == 0
    rows = raw_rows(9, 2)
    assert torch.equal(loaded.predict_proba(rows), pipeline.predict_proba(rows))


def test_loading_draws_from_no_ones_generator(tmp_path: Path) -> None:
    """What is drawn next is what would have been drawn."""
    save_pipeline(a_pipeline(), tmp_path / "p")
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    load_pipeline(tmp_path / "p")
    assert torch.equal(torch.rand(3), expected)


def zeroed(name: str, value: float) -> FraudPipeline:
    pipeline = a_pipeline()
    pipeline.get_parameter(name).data.fill_(value)
    return pipeline


def half_buffer() -> FraudPipeline:
    pipeline = a_pipeline()
    pipeline.classifier.output.half()
    return pipeline


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: zeroed("classifier.output.bias", math.nan), "output.bias holds NaN or infinity"),
        (lambda: zeroed("classifier.hidden.weight", math.inf), "hidden.weight holds NaN or inf"),
        (half_buffer, "classifier.output.weight is torch.float16; expected float32 or float64"),
        (lambda: a_pipeline(columns=["x" * 40_000 + str(i) for i in range(29)]), "a header of 1"),
    ],
    ids=["nan", "infinity", "half", "long-names"],
)
def test_what_could_not_be_read_again_is_not_written(
    make: Callable[[], FraudPipeline], message: str, tmp_path: Path
) -> None:
    """And what stood there stands there still."""
    path = tmp_path / "p"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match=message):
        save_pipeline(make(), path)
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["p"]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("pipeline") / "p"
    save_pipeline(a_pipeline(), path)
    return path.read_bytes()


def flipped(at: float) -> Callable[[bytes], bytes]:
    """One bit of the byte that lies at this share of the file."""

    def spoil(content: bytes) -> bytes:
        place = round(at * (len(content) - 1))
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

    return spoil


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda c: b"",
    "one-byte": lambda c: c[:1],
    "cut-in-the-header": lambda c: c[:100],
    "cut-in-the-middle": lambda c: c[: len(c) // 2],
    "last-byte-missing": lambda c: c[:-1],
    "a-byte-more": lambda c: c + b"\0",
    "first-bit": flipped(0),
    "bit-of-the-header": flipped(0.1),
    "middle-bit": flipped(0.5),
    "last-bit": flipped(1),
    "edited": lambda c: c.replace(b'\\"dropout\\": 0.25', b'\\"dropout\\": 0.75'),
    "zeros": lambda c: bytes(len(c)),
    "zip": lambda c: b"PK\3\4" + c[4:],
    "text": lambda c: b"V1,V2\n1,2\n",
    "header-of-ever": lambda c: b"\xff" * 8 + c[8:],
    "a-state-dict": lambda c: save(dict(nn.Linear(2, 1).state_dict())),
    "another-digest": lambda c: c.replace(b'"sha256":"', b'"sha256":"0', 1)[: len(c)],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_in_one_line_and_left_as_it_is(
    damage: str, content: bytes, tmp_path: Path
) -> None:
    """Which names it."""
    path = tmp_path / "model.pipeline"
    spoilt = DAMAGE[damage](content)
    assert spoilt != content
    path.write_bytes(spoilt)
    reasons = "is no whole pipeline|its digest does not match its content"
    said = refused(lambda: load_pipeline(path), reasons, PipelineFileError)
    assert said.startswith(f"{path}: ")
    assert said.isprintable()
    assert path.read_bytes() == spoilt


def test_every_byte_counts(content: bytes, tmp_path: Path) -> None:
    """A bit flipped in any tenth byte is noticed."""
    path = tmp_path / "p"
    for place in range(0, len(content), 10):
        path.write_bytes(flipped(place / (len(content) - 1))(content))
        with pytest.raises(PipelineFileError):
            load_pipeline(path)


def test_a_checkpoint_of_fit_and_other_files_are_told_apart(tmp_path: Path) -> None:
    """By what they are."""
    x, y = torch.randn(64, 29), torch.zeros(64, 1)
    checkpoint, weights = tmp_path / "run.safetensors", tmp_path / "w.safetensors"
    fit(FraudClassifier(seed=1), x, y, checkpoint=checkpoint, progress=False, compiled=False)
    refused(
        lambda: load_pipeline(checkpoint),
        r"has format 'torch_impl-fit-2'; expected 'torch_impl-pipeline-1'",
        PipelineFileError,
    )
    save_file(a_pipeline().state_dict(), weights)
    refused(lambda: load_pipeline(weights), "or no pipeline", PipelineFileError)
    torch.save(a_pipeline().state_dict(), weights)
    refused(lambda: load_pipeline(weights), "is no whole pipeline", PipelineFileError)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """A folder and a pipe; where nothing is, the system's own error names it."""
    os.mkfifo(tmp_path / "pipe")
    # Its other end is open here, so that a reader gets some bytes instead of waiting for ever.
    end = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    os.write(end, bytes(64))
    for path in (tmp_path, tmp_path / "pipe"):
        refused(lambda path=path: load_pipeline(path), "no plain file", PipelineFileError)
    os.close(end)
    with pytest.raises(FileNotFoundError) as caught:
        load_pipeline(tmp_path / "nothing")
    assert caught.value.filename == str(tmp_path / "nothing")


@pytest.mark.slow
def test_loading_needs_torch_and_safetensors_alone(content: bytes, tmp_path: Path) -> None:
    """Nothing else of what the extras name, and no transform is fitted anew."""
    path = tmp_path / "p"
    path.write_bytes(content)
    np.save(tmp_path / "rows.npy", raw_rows(5))
    program = (
        "import sys, numpy\n"
        "for name in ('h5py', 'onnx', 'onnxscript', 'pyarrow', 'filelock', 'tqdm', 'sklearn'):\n"
        "    sys.modules[name] = None\n"
        "from torch_impl import load_pipeline\n"
        "p = load_pipeline(sys.argv[1]).predict_proba(numpy.load(sys.argv[2]))\n"
        "print(p.numpy().tobytes().hex())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, path, tmp_path / "rows.npy"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = a_pipeline().predict_proba(raw_rows(5)).numpy()
    assert bytes.fromhex(answer.stdout) == expected.tobytes()
