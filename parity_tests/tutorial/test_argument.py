"""The tutorial's own argument, step by step, in both frameworks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from parity_tests.judge import bounds
from parity_tests.judge.agreement import within
from parity_tests.judge.probes import exact_probe
from parity_tests.judge.sigmoid import float64_sigmoid
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.sides.torch_side import classifier, forward_stages
from torch_impl import FraudClassifier, prior_log_odds

POSITIVES, NEGATIVES = 492, 284_315
PRIOR = prior_log_odds(POSITIVES, NEGATIVES)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1001, 29)).clip(-5, 5).astype(np.float32)


def test_sigmoid_of_wx_plus_b_by_hand_is_the_layer(
    features: np.ndarray, keras: KerasProcess
) -> None:
    """relu(x W1 + b1) W2 + b2 through a sigmoid, in float64 by hand, is what both predict."""
    weights = keras.call("model.initial_weights", output_bias=PRIOR, seed=42)
    hidden = np.maximum(features.astype(float) @ weights["dense/kernel"] + weights["dense/bias"], 0)
    by_hand = float64_sigmoid(hidden @ weights["dense_1/kernel"] + weights["dense_1/bias"])
    allowance = bounds.forward(bounds.exactly(features), weights)["probabilities"].allowance
    ours = classifier(weights).predict_proba(torch.from_numpy(features)).numpy()
    theirs = keras.call("forward.forward_stages", weights, features)["probabilities"]
    result = within("probabilities", "proven", ours, theirs, by_hand, allowance)
    assert result.agree, result.detail


def test_one_seed_draws_the_same_kernels_with_and_without_the_prior(keras: KerasProcess) -> None:
    """So that only the output bias tells the two models apart."""
    without = keras.call("model.initial_weights", seed=42)
    with_prior = keras.call("model.initial_weights", output_bias=PRIOR, seed=42)
    for name in ("dense/kernel", "dense/bias", "dense_1/kernel"):
        np.testing.assert_array_equal(without[name], with_prior[name])
    assert without["dense_1/bias"].tolist() == [0.0]
    assert with_prior["dense_1/bias"].tolist() == [np.float32(PRIOR)]


def test_prior_bias_shifts_every_logit_by_exactly_itself(
    features: np.ndarray, keras: KerasProcess
) -> None:
    """The same weights with bias 0 and with the prior differ by the prior, no more."""
    without = keras.call("model.initial_weights", seed=42)
    with_prior = {**without, "dense_1/bias": np.float32([PRIOR])}
    shift = np.float64(np.float32(PRIOR))
    x = bounds.exactly(features)
    allowance = (
        bounds.forward(x, without)["logits"].allowance
        + bounds.forward(x, with_prior)["logits"].allowance
    )
    expected = np.full(allowance.shape, shift)
    shifts = []
    for run in (
        lambda weights: forward_stages(classifier(weights), features)["logits"],
        lambda weights: keras.call("forward.forward_stages", weights, features)["logits"],
    ):
        shifts.append(run(with_prior).astype(np.float64) - run(without))
    result = within("shift", "proven", *shifts, expected, allowance)
    assert result.agree, result.detail


def test_prior_bias_on_the_grid_shifts_to_the_bit(keras: KerasProcess) -> None:
    """With exact arithmetic the shift is exact in both frameworks."""
    probe = exact_probe(3)
    shift = np.float32(round(PRIOR * 2**12) / 2**12)
    without = {**probe.weights, "dense_1/bias": np.float32([0])}
    with_prior = {**probe.weights, "dense_1/bias": np.float32([shift])}
    for run in (
        lambda weights: forward_stages(classifier(weights), probe.features)["logits"],
        lambda weights: keras.call("forward.forward_stages", weights, probe.features)["logits"],
    ):
        np.testing.assert_array_equal(run(with_prior), run(without) + shift)


def test_the_printed_pair_of_probabilities_is_reproduced() -> None:
    """0.6018876 without bias becomes 0.00260940 with -6.35935934; printed was 0.00260943.

    The two printed numbers are 26 ULP of the logit apart, which no rounding of a logit
    explains. They are one step of 2**-25 apart in probability: the sigmoid of that day was
    0.5 tanh(z / 2) + 0.5, whose results lie on that grid, so near zero it lost 8 bits.
    """
    before, after = 0.6018876, 0.00260943
    logit = math.log(before) - math.log1p(-before)
    model = FraudClassifier(output_bias=PRIOR)
    with torch.no_grad():  # a model whose bias-free logit is the printed one
        model.hidden.weight.zero_()
        model.hidden.bias.fill_(1)
        model.output.weight.zero_()
        model.output.weight[0, 0] = logit
    with_prior = model.predict_proba(torch.zeros(1, 29)).item()
    with torch.no_grad():
        model.output.bias.zero_()
    without = model.predict_proba(torch.zeros(1, 29)).item()
    assert f"{without:.7f}" == "0.6018876"
    assert f"{with_prior:.7f}" == f"{after:.7f}" == "0.0026094"
    printing = 0.5e-8 + 0.5e-7 * after * (1 - after) / (before * (1 - before))
    assert abs(with_prior - after) <= 2.0**-25 + printing
    on_the_grid = round(after * 2**25) * 2.0**-25
    assert f"{on_the_grid:.8f}" == f"{after:.8f}"


def entropy(rate: float) -> float:
    return -rate * math.log(rate) - (1 - rate) * math.log1p(-rate)


def test_expected_initial_loss_is_the_entropy_of_the_base_rate() -> None:
    """0.0127147 for the real counts; the tutorial's 0.01317 comes from a rate of 0.0018."""
    assert f"{entropy(POSITIVES / (POSITIVES + NEGATIVES)):.7f}" == "0.0127147"
    assert f"{entropy(0.0018):.5f}" == "0.01317"


def test_a_model_that_knows_only_the_prior_has_that_loss(keras: KerasProcess) -> None:
    """Both frameworks' losses on labels at the base rate, with an output kernel of zero."""
    rows, positives = 8192, 16
    labels = np.zeros((rows, 1), np.float32)
    labels[:positives] = 1
    features = np.random.default_rng(1).normal(size=(rows, 29)).astype(np.float32)
    bias = prior_log_odds(positives, rows - positives)
    weights = keras.call("model.initial_weights", output_bias=bias, seed=0)
    weights["dense_1/kernel"][:] = 0
    logits = classifier(weights)(torch.from_numpy(features))
    ours = binary_cross_entropy_with_logits(logits, torch.from_numpy(labels)).item()
    theirs = keras.call("forward.initial_loss", weights, features, labels)
    # Per row: the rounded bias moves the loss by at most u |bias|; log, exp and sums are a
    # few roundings of terms no larger than |bias|; the mean sums `rows` terms in any order.
    expected = entropy(positives / rows)
    allowance = bounds.gamma(rows + 8) * (expected + abs(bias) * positives / rows)
    allowance += 2 * bounds.U32 * abs(bias)
    for loss in (ours, theirs):
        assert abs(loss - expected) <= allowance


def test_the_tutorials_own_bias_none_is_not_zero_in_keras(keras: KerasProcess) -> None:
    """`bias_initializer=None` draws Glorot-uniform: the tutorial's naive model is not at 0."""
    biases = [keras.call("model.untouched_tutorial_bias", seed).item() for seed in (1, 2)]
    assert 0.0 not in biases
    assert biases[0] != biases[1]
