"""PyTorch agrees with what Keras answered when it was recorded; needs no TensorFlow.

With `--device cuda` the torch side computes there: exact probes must give the same bits
(TF32 does not), random numbers and masks too, one step lies within the proven bound, and a
run within Keras's own rounding.
"""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parity_tests import ROOT
from parity_tests.judge.agreement import StageResult
from parity_tests.record.recorded import CASES, GROUPS, stale
from parity_tests.reference.recording_file import FOLDER, RecordingError, Recordings, read
from parity_tests.reference.selection import device_fault
from parity_tests.sides.answers import spoil
from parity_tests.sides.training_pair import torch_compiled_steps

RUNS, STEPS, STOPS = (
    [name for name in CASES if CASES[name].function == f"training.{function}"]
    for function in ("fits", "one_step_in_both", "early_stopping")
)


def assert_agree(results: list[StageResult]) -> None:
    assert results
    for result in results:
        assert result.agree, f"{result.stage}: {result.detail}"


def proved(name: str, recordings: Recordings, device: str, **options: Any) -> list[StageResult]:
    case, call = CASES[name], recordings.calls[name]
    return case.verdict(call, case.ours(**call.inputs, device=device, **options))


@pytest.mark.parametrize("name", GROUPS["draws"])
def test_torch_draws_what_keras_drew(name: str, recordings: Recordings, device: str) -> None:
    """Bit for bit on any device."""
    assert_agree(proved(name, recordings, device))


@pytest.mark.parametrize("name", GROUPS["forward"])
def test_torch_computes_what_keras_computed(name: str, recordings: Recordings, device: str) -> None:
    """Exact probes to the bit; stages, losses and metrics within the proven bound."""
    assert_agree(proved(name, recordings, device))


@pytest.mark.parametrize("name", STEPS)
def test_torch_takes_the_step_that_keras_took(
    name: str, recordings: Recordings, device: str
) -> None:
    """Every gradient, moment and weight within the proven bound."""
    assert_agree(proved(name, recordings, device))


@pytest.mark.parametrize("name", STEPS)
def test_compiled_epoch_takes_the_step_that_keras_took(name: str, recordings: Recordings) -> None:
    """The moments and weights that it leaves behind lie within the same bound."""
    call = recordings.calls[name]
    assert_agree(CASES[name].verdict(call, torch_compiled_steps(**call.inputs)))


@pytest.mark.parametrize("name", STOPS)
def test_early_stopping_stops_and_restores_where_keras_did(
    name: str, recordings: Recordings, device: str
) -> None:
    """The same epochs, best epoch and weights, for one course of what is monitored."""
    assert_agree(proved(name, recordings, device))


@pytest.mark.parametrize("path", ["compiled", "eager"])
@pytest.mark.parametrize("name", RUNS)
def test_torch_trains_as_keras_trained(
    name: str, path: str, recordings: Recordings, device: str
) -> None:
    """Initial weights to the bit; weights, moments and history within Keras's own rounding."""
    assert_agree(proved(name, recordings, device, compiled=path == "compiled"))


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_wrong_number_of_a_run_makes_its_stage_differ(name: str, recordings: Recordings) -> None:
    """Of 2**-7 of the largest in float32, of 1e-12 in float64, and no other stage.

    What is allowed follows from Keras's own runs: in none of them is it more than that.
    """
    case, call = CASES[name], recordings.calls[name]
    right = case.ours(**call.inputs, device="cpu")
    for dtype, wrong in (("float32", 2.0**-7), ("float64", 1e-12)):
        for part in ("final", "momentum", "velocity", "history"):
            count = sum(map(np.size, right[dtype][part].values()))
            for at in (0, count // 2, count - 1):
                ours = copy.deepcopy(right)
                spoil(ours[dtype][part], at, wrong)
                broken = [row.stage for row in case.verdict(call, ours) if not row.agree]
                assert len(broken) == 1, (dtype, part, at, broken)
                assert part.replace("final", "weights") in broken[0].replace("√", ""), broken


def test_a_run_that_is_there_to_stop_early_did(recordings: Recordings) -> None:
    """Before the epochs that it was allowed."""
    call = recordings.calls["run, early stopping"]
    for run in call.answer.values():
        assert 1 < len(run["epoch"]) < call.inputs["epochs"]


def test_recordings_are_of_the_cases_that_are_asked(recordings: Recordings) -> None:
    """No case is missing, left over, or recorded with other inputs."""
    assert stale(recordings) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exact probe": None}, "'exact probe' is not recorded"),
        ({"random bits of seed (0, 0)": CASES["exact probe"]}, "was a call of random.random_bits"),
        ({"exact probe": CASES["exact probe with a square kernel"]}, "with other inputs"),
    ],
    ids=["missing", "another-function", "other-inputs"],
)
def test_a_stale_recording_is_noticed(
    change: dict[str, Any], message: str, recordings: Recordings
) -> None:
    """The twin: each way of being stale is named."""
    calls, cases = dict(recordings.calls), dict(CASES)
    for name, case in change.items():
        if case is None:
            del calls[name]
        else:
            cases[name] = case
    (line,) = stale(Recordings(recordings.versions, calls), cases)
    assert message in line


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("index.json", '"tensorflow": "2', '"tensorflow": "3', "index.json was edited"),
        ("index.json", '["seed", 42]', '["seed", 43]', "index.json was edited"),
        ("draws.safetensors", None, None, "draws.safetensors is not the file that was recorded"),
        ("training.safetensors", "", None, "training.safetensors cannot be read"),
    ],
    ids=["edited-version", "edited-input", "flipped-bit", "missing-file"],
)
def test_an_edited_recording_is_refused(
    file: str, old: str | None, new: str | None, message: str, tmp_path: Path
) -> None:
    """One line that names the file and says how to record anew."""
    folder = shutil.copytree(FOLDER, tmp_path / "recordings")
    path = folder / file
    if old:
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, str(new), 1), encoding="utf-8")
    elif old == "":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    with pytest.raises(RecordingError, match=message) as caught:
        read(folder)
    assert "python -m parity_tests.record" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_recordings_are_small() -> None:
    """All of them are below 1.5 MB, so that a checkout stays one."""
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_500_000


def test_exact_probes_catch_a_device_that_multiplies_in_tf32(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: a layer that rounds its factors to TF32's 11 bits fails the probes."""

    def tf32(x: torch.Tensor) -> torch.Tensor:
        bits = x.contiguous().view(torch.int32)
        return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)

    linear = torch.nn.functional.linear
    monkeypatch.setattr(
        torch.nn.functional, "linear", lambda x, w, b=None: linear(tf32(x), tf32(w), b)
    )
    for name in ("exact probe", "exact probe with a square kernel"):
        assert not all(row.agree for row in proved(name, recordings, "cpu"))


@pytest.mark.parametrize("name", ["cuda:99", "no-such-device", "meta"])
def test_a_device_that_is_not_there_is_refused_in_one_line(name: str) -> None:
    """It is named, and so is torch's reason."""
    fault = device_fault(name)
    assert fault is not None
    assert fault.startswith(f"--device {name}: torch ")
    assert "\n" not in fault
    assert device_fault("cpu") is None


_WITHOUT = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        absent = name.partition(".")[0] in {absent!r}
        return None if absent else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import pytest
sys.exit(pytest.main({arguments!r}))
"""

LEAN = ("tensorflow", "keras", "pandas", "sklearn", "h5py", "hypothesis", "rich", "pyarrow",
        "requests", "scipy", "platformdirs", "tqdm", "matplotlib", "nbclient",
        "nbformat")  # fmt: skip


@pytest.mark.slow
def test_recordings_need_torch_numpy_safetensors_and_pytest_alone() -> None:
    """Draws, passes and steps pass where importing anything else fails; the rest is counted.

    Of all that stands beside them no file imports TensorFlow (`test_selection.py`).
    """
    arguments = [
        "-p", "no:cacheprovider", "parity_tests/record", "parity_tests/random_numbers",
        "-k", "torch_draws or torch_computes or torch_takes_the_step",
    ]  # fmt: skip
    answer = subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(absent=LEAN, arguments=arguments)], cwd=ROOT,
        capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    said = answer.stdout
    assert answer.returncode == 0, said + answer.stderr
    versions = json.loads((FOLDER / "index.json").read_text())["versions"]
    assert f"Keras: recorded by keras {versions['keras']} / tensorflow" in said
    assert "(keras and tensorflow not installed)" in said
    assert f" {len(GROUPS['draws']) + len(GROUPS['forward']) + len(STEPS)} passed" in said
    assert "tests not run: no live Keras (keras, tensorflow not installed)" in said
    assert "files not collected: without " in said
