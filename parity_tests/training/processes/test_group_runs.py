"""Several processes end where one Keras process ends, and on the same bits as one of ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity_tests.judge.agreement import StageResult, no_farther, ulp_off
from parity_tests.record.recorded import CASES
from parity_tests.record.recorded_case import compare_exactly
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import NEIGHBOURS
from parity_tests.reference.recording_file import Recordings
from parity_tests.sides.compiler import needs_compiler
from parity_tests.training.processes import work
from parity_tests.training.processes.group import in_group
from parity_tests.training.small_runs import FEATURES, rows_and_labels

PATHS: dict[str, dict[str, bool]] = {
    "compiled": {}, "eager": {"compiled": False}, "tiled": {"compiled": False, "same_bits": True},
}  # fmt: skip


def assert_agree(results: list[StageResult], path: str = "") -> None:
    assert results
    for result in results:
        assert result.agree, f"{path} {result.stage}: {result.detail}"


# A last batch that is short, a validation and metrics, of three processes one without a row; and
# a stop that all must make. On two cores more processes than two take turns.
EACH_RUN = pytest.mark.parametrize(
    ("name", "count"),
    [
        ("run, class-weighted", 2),
        pytest.param("run, class-weighted", 3, marks=pytest.mark.slow),
        pytest.param("run, early stopping", 2, marks=pytest.mark.slow),
    ],
)


@pytest.fixture(scope="module")
def answers(recordings: Recordings) -> Callable[[str, int], list[dict[str, Any]]]:
    """What each of so many processes gave of a recorded run, by every path."""

    def asked(name: str, count: int) -> list[dict[str, Any]]:
        inputs = dict(recordings.calls[name].inputs)
        del inputs["sigmoid_ulp"]
        return in_group(count, work.fits, {path: inputs | more for path, more in PATHS.items()})

    return cache(asked)


@EACH_RUN
def test_a_group_trains_as_one_keras_process_trained(
    name: str, count: int, answers: Any, recordings: Recordings
) -> None:
    """By the same allowance as one process: in float64 to its rounding. All members have it."""
    first, *others = answers(name, count)
    for path, run in first.items():
        assert_agree(CASES[name].verdict(recordings.calls[name], run), path)
    for other in others:
        assert_agree(compare_exactly({}, other, first))


@needs_compiler
@EACH_RUN
def test_any_number_of_processes_ends_on_the_same_bits(name: str, count: int, answers: Any) -> None:
    """Weights, moments, history, and after how many epochs; not where each adds up its own."""
    (many, *_), (one,) = answers(name, count), answers(name, 1)
    for path in ("compiled", "tiled"):
        assert_agree(compare_exactly({}, many[path], one[path]), path)


@needs_compiler
@pytest.mark.slow
def test_batches_that_no_number_of_processes_divides() -> None:
    """Three of 511 rows and one of a single row, as `test_fit.py` compares with Keras's."""
    x, y = rows_and_labels(511 * 3 + 1)
    options = {
        "features": x, "labels": y, "seed": 7, "batch_size": 511,
        "class_weight": {0: 0.6, 1: 4.0}, "validation_data": (x[:77], y[:77]),
    }  # fmt: skip
    runs = {path: options | PATHS[path] for path in ("compiled", "tiled")}
    (one,) = in_group(1, work.fits, runs)
    for count in (2, 3, 4):
        for many in in_group(count, work.fits, runs):
            assert_agree(compare_exactly({}, many, one))


CHAIN: list[Any] = [
    ("Dense", [6], {"use_bias": False, "kernel_regularizer": "l2"}),
    ("BatchNormalization", [], {"momentum": 0.5}), ("ReLU", [], {}),
    ("Dense", [4], {"use_bias": False}), ("BatchNormalization", [], {"scale": False}),
    ("Dense", [1], {"activation": "sigmoid"}),
]  # fmt: skip


@pytest.mark.slow
@NEIGHBOURS
def test_batch_statistics_are_those_of_all_rows(keras: KerasProcess, tmp_path: Path) -> None:
    """In double, after batches of three tiles and of one; a penalty counts once."""
    x, y = rows_and_labels(400)
    path = str(tmp_path / "x.keras")
    keras.call("family.write", str(tmp_path / "x"), CHAIN, x, (".keras",))
    options = {"epochs": 2, "batch_size": 180}
    theirs = keras.call("family.train", path, x, y, **options)
    narrows, wides = theirs["float32"], theirs["float64"]
    for count in (2, 3, 4):
        for ours in in_group(count, partial(work.fit_of_file, path, x, y, **options)):
            off = max(ulp_off(narrows[weight], wides[weight]) for weight in ours)
            for weight, wide in ours.items():
                result = no_farther(weight, "double", wide, wides[weight], off, len(x))
                assert result.agree, (count, result.stage, result.detail)


@pytest.mark.slow
def test_a_process_reads_its_own_rows_of_a_mapped_file(tmp_path: Path) -> None:
    """Half of the file, and eight places by which both see that it is the same file."""
    path, rows = tmp_path / "rows.f32", 2_400_000
    np.random.default_rng(0).random((rows, FEATURES), np.float32).tofile(path)
    size, around = path.stat().st_size, 8 * 2**21  # at each what Linux maps at a touch, at most
    came = in_group(2, partial(work.fit_of_map, str(path), rows, batch_size=rows // 2))
    assert max(came) <= size / 2 + around < size
    assert sum(came) >= size
