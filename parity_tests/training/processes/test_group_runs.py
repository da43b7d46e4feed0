"""Several processes end where one Keras process ends, and on the same bits as one of ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import prepare, synthetic
from parity_tests.judge.agreement import StageResult, no_farther, ulp_off
from parity_tests.record.recorded import CASES
from parity_tests.record.recorded_case import compare_exactly
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import EPOCH_LOSS, NEIGHBOURS, RANDOM_STREAM
from parity_tests.reference.recording_file import Recordings
from parity_tests.sides.compiler import needs_compiler
from parity_tests.sides.training_pair import compare_runs, keras_fits
from parity_tests.training.processes import work
from parity_tests.training.processes.group import in_group
from parity_tests.training.small_runs import FEATURES, rows_and_labels

RUNS = [name for name, case in CASES.items() if case.function == "training.fits"]
SHOWN = ["run, class-weighted", "run, early stopping"]
"""A last batch that is short, a validation and metrics; and a stop that all must make."""
PATHS: dict[str, dict[str, bool]] = {
    "compiled": {}, "eager": {"compiled": False}, "tiled": {"compiled": False, "same_bits": True},
}  # fmt: skip


def assert_agree(results: list[StageResult], path: str = "") -> None:
    assert results
    for result in results:
        assert result.agree, f"{path} {result.stage}: {result.detail}"


# On two cores more processes than two take turns, which takes seconds.
EACH_RUN = pytest.mark.parametrize(
    ("name", "count"),
    [
        *((name, 2) for name in SHOWN),
        *(pytest.param(name, 2, marks=pytest.mark.slow) for name in RUNS if name not in SHOWN),
        *(pytest.param(name, 3, marks=pytest.mark.slow) for name in SHOWN),
        pytest.param(SHOWN[0], 4, marks=pytest.mark.slow),
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
        if (name, path) != ("run, odd number of units", "compiled"):  # is never compiled
            assert_agree(compare_exactly({}, many[path], one[path]), path)


LIVE: dict[str, Any] = {
    "batch_size": 511, "epochs": 3, "class_weight": {0: 0.6, 1: 4.0}, "output_bias": -2.0,
    "metrics": False,
}  # fmt: skip


@pytest.mark.slow
@RANDOM_STREAM
@EPOCH_LOSS
def test_batches_that_no_number_of_processes_divides(keras: KerasProcess) -> None:
    """Three of 511 rows and one of a single row; class weights and validation."""
    prepared = prepare(synthetic(seed=1, rows=12_000, positives=240), seed=1)
    options = LIVE | {
        "features": prepared.train.features[: 511 * 3 + 1],
        "labels": prepared.train.labels[: 511 * 3 + 1],
        "validation_data": (prepared.validation.features[:777], prepared.validation.labels[:777]),
        "seed": 7,
    }
    theirs = keras_fits(keras, **options)
    runs = {path: options | PATHS[path] for path in ("compiled", "eager")}
    for count in (2, 3, 4):
        for answer in in_group(count, work.fits, runs):
            for path, run in answer.items():
                assert_agree(compare_runs(f"{count} processes, {path}", run, theirs))


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
    options = {"epochs": 4, "batch_size": 180}
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
