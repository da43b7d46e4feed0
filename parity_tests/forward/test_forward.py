"""The forward pass agrees at every stage, for every kind of weights, on every split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from data import prepare, synthetic
from parity_tests.judge import bounds
from parity_tests.judge.agreement import StageResult, within
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import RANDOM_STREAM
from parity_tests.report.stages import WEIGHT_SETS, Comparison
from parity_tests.sides.compiler import each_way
from parity_tests.sides.torch_side import classifier, forward_stages
from torch_impl import scoring

STAGES = ("hidden pre-activations", "hidden activations", "logits", "probabilities")


@pytest.fixture(scope="module")
def comparison(keras: KerasProcess) -> Comparison:
    """Both frameworks on more rows than `predict` takes at once; of the runs, Keras's in float32.

    Which every reference makes, and which is all that the trained weights come from.
    """
    comparison = Comparison(prepare(synthetic(rows=45_000, positives=450)), keras, epochs=5)
    run = keras.call("training.fit", **comparison.run, output_bias=comparison.bias, metrics=False)
    comparison.keras_runs = {"float32": run}
    return comparison


@pytest.fixture(scope="module")
def forward_results(comparison: Comparison) -> dict[str, StageResult]:
    """Every row of the forward pass, by name."""
    return {
        result.stage: result for name in WEIGHT_SETS for result in comparison.forward_pass(name)
    }


def assert_agree(results: list[StageResult]) -> None:
    assert results
    for result in results:
        assert result.agree, f"{result.stage}: {result.detail}"


def test_scaled_features_agree(comparison: Comparison) -> None:
    """pandas and scikit-learn against FeatureTransform fitted by torch."""
    assert_agree(comparison.scaled_features())


def test_exact_probes_agree_to_the_bit(comparison: Comparison) -> None:
    """Keras, PyTorch and int64 arithmetic give the same logits."""
    assert_agree(comparison.exact_probes())


@pytest.mark.parametrize("weights", WEIGHT_SETS)
def test_weights_are_copied_to_the_bit(
    weights: str, forward_results: dict[str, StageResult]
) -> None:
    """From Keras to PyTorch and back."""
    assert_agree([forward_results[f"{weights}: weights copied"]])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("weights", WEIGHT_SETS)
def test_forward_stage_agrees(
    weights: str, stage: str, forward_results: dict[str, StageResult]
) -> None:
    """Both within the proven bound, on train, validation and test rows."""
    assert_agree([forward_results[f"{weights}: {stage}"]])


def test_raw_rows_to_probabilities_agree(comparison: Comparison) -> None:
    """Each side's own transform and model, the bound carried through both."""
    assert_agree(comparison.end_to_end())


@each_way
def test_raw_rows_to_probabilities_agree_in_one_pass(
    way: Any, comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras's and scikit-learn's beside those of `torch_impl.scoring`."""
    monkeypatch.setattr(scoring, "_MANY", 1)  # few rows are compiled too
    weights, test = comparison.weights["trained weights"], comparison.prepared.test
    features = bounds.standardised(test.raw, comparison.prepared.train.raw)
    expected = bounds.forward(features, weights)["probabilities"]
    with way():
        ours = scoring.probabilities(comparison.transform, classifier(weights), test.raw).numpy()
    theirs = comparison.keras_on_test["probabilities"]
    assert_agree([within("one pass", "proven", ours, theirs, *expected)])


@RANDOM_STREAM
def test_trained_weights_are_trained(comparison: Comparison) -> None:
    """The fourth set differs from its start in every array, and the probabilities rank."""
    trained, start = comparison.weights["trained weights"], comparison.weights["prior bias"]
    for name in start:
        assert not np.array_equal(trained[name], start[name])
    test = comparison.prepared.test
    scores = forward_stages(classifier(trained), test.features)["logits"]
    fraud = test.labels == 1
    assert np.median(scores[fraud]) > np.quantile(scores[~fraud], 0.9)


@pytest.mark.parametrize(
    "fault",
    ["kernel-noise", "bias-twice", "bias-dropped", "units-reversed", "leaky-relu", "bfloat16"],
)
def test_a_planted_fault_breaks_the_forward_pass(fault: str) -> None:
    """The twin: each fault in the torch model is reported as a difference."""
    rng = np.random.default_rng(3)
    weights = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in {
            "dense/kernel": (29, 16), "dense/bias": (16,), "dense_1/kernel": (16, 1),
            "dense_1/bias": (1,),
        }.items()
    }  # fmt: skip
    features = rng.normal(size=(400, 29)).astype(np.float32)
    healthy = forward_stages(classifier(weights), features)
    model = classifier(weights)
    with torch.no_grad():
        match fault:
            case "kernel-noise":
                model.hidden.weight[3, 5] *= 1 + 2**-15
            case "bias-twice":
                model.output.bias *= 2
            case "bias-dropped":
                model.hidden.bias[2] = 0
            case "units-reversed":
                model.output.weight.copy_(model.output.weight.flip(1))
            case "leaky-relu":
                model.activation = torch.nn.LeakyReLU(1e-3)
            case "bfloat16":
                model.hidden.weight.copy_(model.hidden.weight.bfloat16().float())
    sick = forward_stages(model, features)
    expected = bounds.forward(bounds.exactly(features), weights)
    for stage in STAGES:
        assert within(stage, "proven", healthy[stage], healthy[stage], *expected[stage]).agree
    verdicts = [
        within(stage, "proven", sick[stage], healthy[stage], *expected[stage]).agree
        for stage in STAGES
    ]
    assert not all(verdicts)
