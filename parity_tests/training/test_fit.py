"""`fit` arrives where `keras.fit` arrives, from the same seed, without TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data import Prepared, prepare, synthetic
from parity_tests.judge.agreement import StageResult
from parity_tests.record.recorded_case import compare_exactly
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import (
    EPOCH_LOSS,
    RANDOM_STREAM,
    RATE_ONE,
    STEPS_PER_EPOCH,
)
from parity_tests.sides.training_pair import (
    compare_runs,
    compare_steps,
    keras_fits,
    torch_fits,
    torch_steps,
)
from torch_impl import oversample, prior_log_odds


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(synthetic(seed=1, rows=12_000, positives=240), seed=1)


def assert_agree(results: list[StageResult]) -> None:
    for result in results:
        assert result.agree, f"{result.stage}: {result.detail}"


PRIOR = prior_log_odds(240, 11_760)

# Steps on fewer rows, of every argument, are among the recorded cases (test_recorded_live.py).
STEPS: dict[str, dict[str, Any]] = {
    "class-weighted": {"output_bias": PRIOR, "class_weighted": True},
    "odd-rows": {"rows": 333},
}


@pytest.mark.parametrize("case", STEPS)
@RANDOM_STREAM
def test_one_step_agrees_in_every_gradient_moment_and_weight(
    case: str, prepared: Prepared, keras: KerasProcess
) -> None:
    """Within the bound carried back from the logits, and in float64 to its rounding."""
    options = dict(STEPS[case])
    rows = options.pop("rows", 2048)
    features, labels = prepared.train.features[:rows], prepared.train.labels[:rows]
    weighted = options.pop("class_weighted", False)
    bias = options.pop("output_bias", None)
    weights = keras.call("model.initial_weights", seed=5, output_bias=bias)
    sample_weight = np.where(labels == 1, 25.0, 0.51).astype(np.float32) if weighted else None
    data = (weights, features, labels)
    options |= {"seed": 5, "sample_weight": sample_weight}
    theirs = keras.call("training.one_step_in_both", *data, **options)
    assert_agree(compare_steps("step", torch_steps(*data, **options), theirs, *data, **options))


# So are shorter runs.
RUNS: dict[str, dict[str, Any]] = {
    "hundred-steps, the last batch of one row": {
        "epochs": 7, "batch_size": 512, "rows": 512 * 14 + 1, "output_bias": PRIOR,
        "metrics": False,
    },
    "oversampled": {
        "epochs": 4, "batch_size": 512, "steps_per_epoch": 5, "oversampled": True,
        "validated": True, "metrics": False,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(name, marks=STEPS_PER_EPOCH if "steps_per_epoch" in options else EPOCH_LOSS)
        for name, options in RUNS.items()
    ],
)
@RANDOM_STREAM
def test_a_whole_run_agrees(case: str, prepared: Prepared, keras: KerasProcess) -> None:
    """Weights, moments and history, compiled and eager.

    In float64 to its rounding, in float32 to Keras's own.
    """
    options = dict(RUNS[case])
    rows = slice(options.pop("rows", None))
    data = prepared.train.features[rows], prepared.train.labels[rows]
    if options.pop("oversampled", False):
        data = oversample(*data, seed=7)
    if options.pop("validated", False):
        options["validation_data"] = (prepared.validation.features, prepared.validation.labels)
    theirs = keras_fits(keras, *data, seed=7, **options)
    for path, compiled in (("compiled", True), ("eager", False)):
        ours = torch_fits(*data, seed=7, compiled=compiled, **options)
        assert_agree(compare_runs(path, ours, theirs))


@RANDOM_STREAM
def test_the_run_in_float64_is_the_ordinary_one_but_for_its_precision(
    prepared: Prepared, keras: KerasProcess
) -> None:
    """In float32 its layers give the ordinary model's bits."""
    rows = slice(0, 1500)
    data = prepared.train.features[rows], prepared.train.labels[rows]
    options = {"seed": 11, "epochs": 2, "batch_size": 256, "dropout": 0.3, "metrics": False}
    ordinary, twin = (
        keras.call("training.fit", *data, **options, drawn_in_float32=drawn)
        for drawn in (False, True)
    )
    assert_agree(compare_exactly({}, twin, ordinary))


@RANDOM_STREAM
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.0, 0.3, pytest.param(1.0, marks=RATE_ONE)])
def test_a_layer_in_float64_loses_the_units_that_float32_loses(
    rate: float, dtype: str, keras: KerasProcess
) -> None:
    """The ordinary layer's, call by call, scaled in the dtype at hand."""
    came = keras.call("model.dropped", 5, rate, (33, 7), dtype)
    plain, _ = keras.call("random.dropout", 5, rate, (33, 7), 0, 2)
    scale = 1 / (1 - rate) if rate < 1 else 0
    np.testing.assert_array_equal(came, (plain != 0) * np.array(scale, dtype))


def test_oversampled_rows_are_the_tutorials(prepared: Prepared, keras: KerasProcess) -> None:
    """Draw for draw, in order, from the one seed."""
    features, labels = prepared.train.features[:3000], prepared.train.labels[:3000]
    for seed in (0, 42, 2**32 - 1):
        ours = oversample(features, labels, seed=seed)
        theirs = keras.call("training.oversample", features, labels, seed=seed)
        for mine, keras_rows in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine, keras_rows, strict=True)
        assert ours[1].mean() == 0.5
