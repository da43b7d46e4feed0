"""What is exported decides alike wherever it runs, and tells nothing of where it was made."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from parity_tests import ROOT
from parity_tests.decisions.pipelines import a_pipeline, raw_rows, saying
from parity_tests.judge import bounds
from parity_tests.judge.agreement import within
from parity_tests.judge.bounds import Bounded
from parity_tests.judge.probes import exact_probe
from parity_tests.sides.exported import RUNTIMES, exported, run_exported
from parity_tests.sides.torch_side import classifier
from torch_impl import FraudClassifier, FraudPipeline, export, to_keras_weights
from torch_impl.pipeline.export import OPSET

pytestmark = pytest.mark.slow

ENDINGS = tuple(RUNTIMES.values())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pipeline by ending, each exported by a process to which nothing is told of it.

    That torchvision is not there, and what torch will name otherwise: not a word.
    """
    folder = tmp_path_factory.mktemp("exported")
    paths = {ending: folder / f"model{ending}" for ending in ENDINGS}
    program = (
        "from parity_tests.decisions.pipelines import a_pipeline\nfrom torch_impl import export\n"
    ) + "".join(f"export(a_pipeline().train(), {str(path)!r})\n" for path in paths.values())
    answer = subprocess.run(
        [sys.executable, "-W", "default", "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    return paths


def session(path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
    opened = onnxruntime.InferenceSession(path)
    return lambda rows: opened.run(None, {"rows": rows})


def expected_of(pipeline: FraudPipeline, rows: np.ndarray) -> Bounded:
    """Probabilities in float64 and what float32 may make of them, by the judge's own numbers."""
    transform = pipeline.transform
    logged = rows.copy()
    logged[:, -1] = np.log(rows[:, -1] + transform.log_offset)
    scaled = (logged - transform.mean.numpy()) / transform.scale.numpy()
    features = np.clip(scaled, -transform.clip, transform.clip)
    off = bounds.U32 + bounds.gamma(16, bounds.U64)  # of the clipped; a few roundings before it
    features = Bounded(features, off * (1 + np.abs(scaled)))
    z = bounds.forward(features, to_keras_weights(pipeline.classifier))["logits"]
    shift = pipeline.log_odds_shift
    added = z.allowance + bounds.U32 * (np.abs(z.value) + z.allowance + abs(shift))
    return bounds.sigmoid(Bounded(z.value + shift, added))


def test_every_runtime_gives_the_pipelines_probabilities(files: dict[str, Path]) -> None:
    """For any number of rows: the program to the bit, ONNX Runtime within the proven bound."""
    pipeline, opened = a_pipeline(), session(files[".onnx"])
    program = torch.export.load(files[".pt2"]).module()
    for n in (0, 1, 2, 3, 1000):
        rows = raw_rows(n)
        ours = pipeline.predict_proba(rows)
        with torch.no_grad():
            probabilities, decisions = program(torch.from_numpy(rows))
        assert torch.equal(probabilities, ours)
        assert torch.equal(decisions, pipeline.decide(rows))
        theirs, called = opened(rows)
        result = within("p", "proven", theirs, ours.numpy(), *expected_of(pipeline, rows))
        assert result.agree, (n, result.detail)
        assert called.dtype == bool
        np.testing.assert_array_equal(called, theirs > np.float32(pipeline.threshold))
    assert 0 < called.sum() < n


def test_a_row_that_is_no_number_stays_none(files: dict[str, Path]) -> None:
    """NaN, infinities and an amount that has no logarithm, in every runtime alike."""
    rows = raw_rows(6)
    rows[0, 3], rows[1, 28], rows[2, 28] = np.nan, -1.0, -0.002
    rows[3, 4], rows[4, 4], rows[5, 28] = np.inf, -np.inf, np.inf
    expected = a_pipeline().predict_proba(rows).numpy()
    with torch.no_grad():
        program = torch.export.load(files[".pt2"]).module()(torch.from_numpy(rows))
    for p, called in (map(np.asarray, program), session(files[".onnx"])(rows)):
        assert np.isnan(p[:, 0]).tolist() == [True, True, False, False, False, False]
        assert not called[:2].any()
        np.testing.assert_array_equal(np.isnan(p), np.isnan(expected))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_exact_probe_holds_in_every_runtime(runtime: str) -> None:
    """Of a classifier, to the bit; its training mode changes nothing."""
    probe = exact_probe(5, rows=64, in_features=7, hidden_units=7)
    (logits,) = run_exported(runtime, classifier(probe.weights).train(), probe.features)
    np.testing.assert_array_equal(logits, probe.logits, strict=True)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_small_probabilities_are_right_in_every_runtime(runtime: str) -> None:
    """To their own last digits, from 1/2 to 1e-37: where frauds are rare most rows are there.

    ONNX Runtime's own `Sigmoid` would be off by 1.5e-7, whatever the probability.
    """
    logits = -np.linspace(0, 85, 3001)
    pipeline, rows = saying(logits)
    came, _ = run_exported(runtime, pipeline, rows)
    held = logits.astype(np.float32)[:, None]
    ours = pipeline.predict_proba(rows).numpy()
    result = within("p", "proven", came, ours, *bounds.sigmoid(bounds.exactly(held)))
    assert result.agree, result.detail


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_pipeline_in_float64_is_exported_as_such(runtime: str) -> None:
    """To the last digits; of as many columns and units as the exporter's example has rows, too.

    Exporting leaves the modes as they were, and draws no dropout.
    """
    pipeline = a_pipeline(2, 2, torch.float64).train()
    pipeline.classifier.output.eval()
    modes = [module.training for module in pipeline.modules()]
    run = exported(runtime, pipeline)
    assert [module.training for module in pipeline.modules()] == modes
    assert pipeline.classifier.dropout.calls == 0
    for n in (1, 5):
        rows = raw_rows(n, 2)
        rows[1:2] = 1e30  # clipped from above; an amount of 0 is from below
        came, called = run(rows)
        ours = pipeline.predict_proba(rows).numpy()
        # A few roundings of either, each of an addend below 16, carried through a sigmoid.
        allowance = np.full(ours.shape, 16 * bounds.gamma(64, bounds.U64))
        result = within("p", "proven", came, ours, ours, allowance)
        assert result.agree, result.detail
        np.testing.assert_array_equal(called, pipeline.decide(rows).numpy())


def contents(path: Path) -> list[bytes]:
    """The file, and what is packed in it."""
    if path.suffix == ".onnx":
        return [path.read_bytes()]
    with zipfile.ZipFile(path) as archive:
        return [path.read_bytes(), *(archive.read(name) for name in archive.namelist())]


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_path_of_this_machine_is_in_the_file(ending: str, files: dict[str, Path]) -> None:
    """Nor a line of anybody's source, nor a folder of the person who made it."""
    own = {str(ROOT), str(Path.home()), sys.prefix, str(files[ending].parent), "site-packages"}
    told = {path for path in own if path != "/"} | {".py", "stack_trace", "def "}
    for content in contents(files[ending]):
        assert not {text for text in told if text.encode() in content}


def test_the_onnx_file_says_what_it_needs(files: dict[str, Path]) -> None:
    """Its opset, and the names, types and sizes of what goes in and comes out."""
    model = onnx.load(files[".onnx"])
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    assert OPSET == 20
    assert not model.functions
    opened = onnxruntime.InferenceSession(files[".onnx"])
    (rows,) = opened.get_inputs()
    assert (rows.name, rows.type, rows.shape[1]) == ("rows", "tensor(double)", 29)
    assert isinstance(rows.shape[0], str)
    told = [(one.name, one.type, one.shape) for one in opened.get_outputs()]
    n = rows.shape[0]
    assert told == [
        ("probability", "tensor(float)", [n, 1]), ("decision", "tensor(bool)", [n, 1]),
    ]  # fmt: skip


_ALONE = """
import sys

class Blocked:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
import numpy
path, rows = sys.argv[1], numpy.load(sys.argv[2])
{run}
assert not {blocked} & {{name.partition(".")[0] for name in sys.modules}}
print(numpy.asarray(p).tobytes().hex(), numpy.asarray(d).tobytes().hex())
"""
_RUNS = {
    ".pt2": (
        {"torch_impl", "parity_tests", "safetensors"},
        "import torch\np, d = torch.export.load(path).module()(torch.from_numpy(rows))\n"
        "p = p.detach()",
    ),
    ".onnx": (
        {"torch_impl", "parity_tests", "onnx", "onnxscript", "torch", "safetensors"},
        "import onnxruntime\np, d = onnxruntime.InferenceSession(path).run(None, {'rows': rows})",
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_file_needs_its_runtime_and_numpy_alone(
    ending: str, files: dict[str, Path], tmp_path: Path
) -> None:
    """In a process where this package cannot be imported: the same decisions."""
    rows = raw_rows(7)
    np.save(tmp_path / "rows.npy", rows)
    blocked, run = _RUNS[ending]
    program = _ALONE.format(blocked=blocked, run=run)
    answer = subprocess.run(
        [sys.executable, "-c", program, files[ending], tmp_path / "rows.npy"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    p, d = map(bytes.fromhex, answer.stdout.split())
    theirs = np.frombuffer(p, np.float32)[:, None]
    ours = a_pipeline().predict_proba(rows).numpy()
    result = within("p", "proven", theirs, ours, *expected_of(a_pipeline(), rows))
    assert result.agree, result.detail
    assert d == (theirs > np.float32(0.3)).tobytes()


def test_the_exporters_own_affairs_are_told_to_nobody(files: dict[str, Path]) -> None:
    """Not on standard error either, and both files are there."""
    assert all(path.exists() for path in files.values())


@pytest.mark.parametrize("name", ["model", "model.pt", "model.ONNX", "model.onnx.gz"])
def test_another_ending_is_refused_and_nothing_written(name: str, tmp_path: Path) -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match=r"expected \.pt2 or \.onnx") as caught:
        export(FraudClassifier(), tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_exporter_is_named(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        export(FraudClassifier(), tmp_path / "model.onnx")
    assert caught.value.name == package
    assert list(tmp_path.iterdir()) == []
