"""A library's sigmoid is measured at every float32, and errs by what is stated."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from parity_tests.judge import sigmoid
from parity_tests.judge.asked_process import asked_process
from parity_tests.judge.sigmoid import SIGMOID_ULP, keras_error, largest_error, torch_error
from parity_tests.reference import keras_process
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.recording_file import Recordings


@pytest.mark.parametrize("library", ["torch", "keras"])
def test_sigmoid_errs_less_than_its_stated_ulp(library: str, keras: KerasProcess) -> None:
    """On 4 million floats spread over all of them; all 2**32 by the module's command."""
    stride = 1021
    normal, subnormal = (
        torch_error(stride) if library == "torch" else keras.submit(keras_error, stride).result()
    )
    assert 0.5 < normal <= SIGMOID_ULP
    assert subnormal <= 1


def test_sigmoid_errs_where_keras_was_recorded_by_its_stated_ulp(recordings: Recordings) -> None:
    """And by no less: the worst of all 2**32, rounded up to two digits, is what is stated."""
    call = recordings.calls["sigmoid where it errs most"]
    true = [1 / (1 + math.exp(-z)) for z in call.inputs["logits"].ravel().tolist()]
    ulp = [2.0 ** (math.frexp(p)[1] - 24) for p in true]
    worst = max(
        abs(came - p) / one
        for came, p, one in zip(call.answer.ravel().tolist(), true, ulp, strict=True)
    )
    assert math.ceil(100 * worst) / 100 == SIGMOID_ULP


def off_by(ulp: float, at: int = 0x3F000000, below: float = 0.0) -> Any:
    """A sigmoid in float32 that is right but for one bit pattern, and below 2**-126."""

    def sigmoid(logits: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            z = logits.astype(np.float64)
            p = np.where(z < 0, np.exp(z) / (1 + np.exp(z)), 1 / (1 + np.exp(-z)))
            p = np.where(p < 2.0**-126, below, p).astype(np.float32)
        if ulp:
            p[logits.view(np.uint32) == at] += np.float32(ulp) * np.spacing(
                p[logits.view(np.uint32) == at]
            )
        return p

    return sigmoid


def test_error_of_a_sigmoid_is_measured_at_every_nth_float(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In ULP of the result; where that is below 2**-126, in units of it; NaN has to be NaN."""
    every = 1 << 20
    for stride in (every, every // 4):
        normal, subnormal = largest_error(off_by(0, below=2.0**-126), stride)
        assert 0.25 < normal <= 0.5 + 2.0**-20
        assert 0.5 < subnormal <= 1
    assert largest_error(off_by(0), every)[1] < 1
    for ulp in (-3, 7):
        assert abs(largest_error(off_by(ulp), every)[0] - abs(ulp)) <= 0.5
        assert largest_error(off_by(ulp, 0x3F000001), every)[0] <= 0.5 + 2.0**-20
    monkeypatch.setattr(sigmoid, "_CHUNK", 1 << 10)  # in four parts, the worst in any of them
    seen: list[np.ndarray] = []

    def watched(logits: np.ndarray) -> np.ndarray:
        seen.append(logits.view(np.uint32))
        return off_by(7, 0xBF000000)(logits)

    assert abs(largest_error(watched, every)[0] - 7) <= 0.5
    assert [part.size for part in seen] == [1 << 10] * 4
    np.testing.assert_array_equal(np.concatenate(seen), np.arange(0, 1 << 32, every))
    with pytest.raises(ValueError, match="NaN does not match as such near bit pattern 0x40000000"):
        largest_error(lambda z: np.nan_to_num(off_by(0)(z)), every)
    with pytest.raises(ValueError, match="near bit pattern 0x00000000"):
        largest_error(lambda z: np.where(z == 0, np.nan, off_by(0)(z)), every)


def test_the_command_measures_both_libraries_and_prints_what_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Keras in its own process, PyTorch here, at as many floats as it is asked for."""
    process, asked = asked_process((6.57915, 0.99999))
    monkeypatch.setattr(keras_process, "KerasProcess", process)
    monkeypatch.setattr("sys.argv", ["sigmoid", "--every", str(1 << 20)])
    sigmoid.main()
    assert asked == [("keras_error", (1 << 20,)), "a future", "closed"]
    ours, theirs = capsys.readouterr().out.splitlines()
    assert theirs == "Keras: 6.5792 ULP; where the result is below 2**-126: 1.0000 of it"
    told = re.fullmatch(
        r"PyTorch: (\S+) ULP; where the result is below 2\*\*-126: (\S+) of it", ours
    )
    assert told
    assert [float(n) for n in told.groups()] == [round(e, 4) for e in torch_error(1 << 20)]
    monkeypatch.setattr("sys.argv", ["sigmoid"])
    monkeypatch.setattr(sigmoid, "largest_error", lambda _, stride: (stride, stride))
    sigmoid.main()
    assert asked[3] == ("keras_error", (1,))
    assert capsys.readouterr().out.startswith("PyTorch: 1.0000 ULP")
    assert torch_error() == (1, 1)
    for arguments, status, said in (
        (
            ["--every", "0"],
            2,
            "python -m parity_tests.judge.sigmoid: error: expected --every of at least 1",
        ),
        (["--help"], 0, "every N-th (default 1)"),
        (["--help"], 0, "How far a library's float32 sigmoid lies from the true one"),
    ):
        monkeypatch.setattr("sys.argv", ["sigmoid", *arguments])
        with pytest.raises(SystemExit) as stopped:
            sigmoid.main()
        assert stopped.value.code == status
        assert said in "".join(capsys.readouterr())
