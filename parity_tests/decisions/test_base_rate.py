"""Class weights and oversampling shift the log-odds by a constant, and it is taken out exactly.

Rows that fall into a few cells have a best model in closed form: of n₁ frauds and n₀ others in a
cell, weighted by w₁ and w₀, the weighted cross-entropy is least where the logit is
log(w₁ n₁ / (w₀ n₀)). What is expected follows from the counts alone.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import torch

from parity_tests.judge import bounds
from parity_tests.judge.agreement import within
from parity_tests.judge.sigmoid import float64_sigmoid
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import FLOAT64_MEANS
from torch_impl import (
    FeatureTransform,
    FraudClassifier,
    FraudPipeline,
    KerasSGD,
    TrainedOn,
    fit,
    to_keras_weights,
)
from torch_impl.pipeline.base_rate import shift_log_odds

FRAUDS, OTHERS = np.array([3, 1, 8, 2]), np.array([40, 90, 9, 6])
"""In each cell."""
CELLS = len(FRAUDS)
RATE = 2.0  # of learning


class Training(NamedTuple):
    """Rows as they are trained on."""

    repeats: int
    """Of each fraud."""
    class_weight: dict[int, float] | None
    odds_factor: float


TRAININGS = {
    "as-they-are": Training(1, None, 1.0),
    "class-weights-and-oversampled": Training(3, {0: 0.5, 1: 4.0}, 24.0),
}


def rows_of(frauds: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row's cell, one-hot (N, 4), and label (N, 1)."""
    cells = np.concatenate([np.repeat(np.arange(CELLS), counts) for counts in (frauds, others)])
    labels = np.repeat([1.0, 0.0], [frauds.sum(), others.sum()])
    return np.eye(CELLS)[cells], labels[:, None]


def on_cells() -> FraudClassifier:
    """Its hidden units are the cells, so that its logits may be any number for each."""
    model = FraudClassifier(CELLS, CELLS, dropout=0.0, dtype=torch.float64)
    with torch.no_grad():
        model.hidden.weight.copy_(torch.eye(CELLS))
        model.output.weight.zero_()
    model.hidden.requires_grad_(False)
    return model


def trained(training: Training) -> FraudPipeline:
    """To convergence, in float64, by `fit`."""
    model = on_cells()
    x, y = rows_of(FRAUDS * training.repeats, OTHERS)
    fit(
        model, x, y, batch_size=len(x), epochs=600, shuffle=False, metrics=False, progress=False,
        class_weight=training.class_weight, compiled=False,
        optimizer=KerasSGD(model.output.parameters(), lr=RATE, momentum=0.8),
    )  # fmt: skip
    counts = TrainedOn(int(FRAUDS.sum()), int(OTHERS.sum()), training.odds_factor)
    transform = FeatureTransform([0.0] * CELLS, [1.0] * CELLS, log_column=None)
    return FraudPipeline(transform, model, columns=list("abcd"), trained_on=counts)


def of_cells(pipeline: FraudPipeline) -> np.ndarray:
    """Log-odds (4,) that it gives to each cell."""
    p = pipeline.predict_proba(np.eye(CELLS)).numpy()[:, 0]
    return np.log(p / (1 - p))


def converged(training: Training) -> np.ndarray:
    """How far from the best logits (4,) float64 may leave what is trained.

    Where a step gets lost in rounding, the gradient is that of rounding: of a sum of N terms
    w |p - y|, which is 2 W p (1 - p) / N in a cell of weight W, and of the step itself, which is
    less than u of the weight. The logit follows by the slope, W p (1 - p) / N.
    """
    w = training.class_weight or {0: 1.0, 1: 1.0}
    ones, zeros = w[1] * FRAUDS * training.repeats, w[0] * OTHERS
    n = int(FRAUDS.sum()) * training.repeats + int(OTHERS.sum())
    logits = np.abs(np.log(ones / zeros)) + np.abs(np.log(ones / zeros)).max()  # kernel and bias
    slope = ones * zeros / (ones + zeros) / n
    return 2 * bounds.gamma(n + 24, bounds.U64) + bounds.U64 * logits / (RATE * slope)


def rounded(*log_odds: np.ndarray | float) -> np.ndarray:
    """What a sum of log-odds, a sigmoid and a logit may be off by, each of few roundings."""
    return bounds.gamma(32, bounds.U64) * (1 + sum(map(np.abs, log_odds)))


def check(came: np.ndarray, expected: np.ndarray, allowance: np.ndarray) -> None:
    result = within("log-odds", "proven", came, came, expected, allowance)
    assert result.agree, result.detail


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=() if training.class_weight else pytest.mark.slow)
        for name, training in TRAININGS.items()
    ],
)
def case(request: pytest.FixtureRequest) -> tuple[Training, FraudPipeline]:
    training = TRAININGS[request.param]
    return training, trained(training)


def test_a_weighted_model_is_off_by_the_log_of_the_odds_factor_in_every_cell(
    case: tuple[Training, FraudPipeline],
) -> None:
    """log(w₁ n₁ / (w₀ n₀)): no cell is off by anything else."""
    training, pipeline = case
    pipeline.log_odds_shift = 0.0
    expected = np.log(training.odds_factor * FRAUDS / OTHERS)
    check(of_cells(pipeline), expected, converged(training) + rounded(expected))


def test_the_shift_gives_the_empirical_log_odds_of_every_cell(
    case: tuple[Training, FraudPipeline],
) -> None:
    """log(n₁ / n₀), as the same network trained on the rows as they are gives it."""
    training, pipeline = case
    expected, shift = np.log(FRAUDS / OTHERS), math.log(training.odds_factor)
    allowance = converged(training) + rounded(expected, shift)
    for rate in (None, FRAUDS.sum() / (FRAUDS.sum() + OTHERS.sum())):
        check(of_cells(pipeline.set_base_rate(rate)), expected, allowance)


@pytest.mark.parametrize(("more_frauds", "more_others"), [(1, 50), (30, 1), (2, 7)])
def test_another_base_rate_gives_the_log_odds_of_rows_resampled_to_it(
    more_frauds: int, more_others: int, case: tuple[Training, FraudPipeline]
) -> None:
    """As many times each fraud and each other: every cell's odds, and so the mean probability."""
    training, pipeline = case
    frauds, others = more_frauds * FRAUDS, more_others * OTHERS
    rate = frauds.sum() / (frauds.sum() + others.sum())
    pipeline.set_base_rate(float(rate))
    expected, shift = np.log(frauds / others), abs(pipeline.log_odds_shift)
    allowance = converged(training) + rounded(expected, shift, np.log(FRAUDS.sum()), math.log(rate))
    check(of_cells(pipeline), expected, allowance)
    rows, _ = rows_of(frauds, others)
    mean = pipeline.predict_proba(rows).numpy().mean(keepdims=True)
    # A probability follows its logit by a quarter at most; the mean sums N of them.
    check(mean, np.array([rate]), allowance.max() / 4 + bounds.gamma(len(rows), bounds.U64))


@FLOAT64_MEANS
@pytest.mark.parametrize("name", TRAININGS)
def test_keras_has_its_optimum_there_too(name: str, keras: KerasProcess) -> None:
    """Its gradient vanishes at log(w₁ n₁ / (w₀ n₀)), to rounding, and at log(n₁ / n₀) does not.

    The cross-entropy is convex in the output layer, so that it is the optimum.
    """
    training = TRAININGS[name]
    x, y = rows_of(FRAUDS * training.repeats, OTHERS)
    classes = training.class_weight or {0: 1.0, 1: 1.0}
    w = np.where(y == 1, classes[1], classes[0])
    model = on_cells()
    for factor in {training.odds_factor, 1.0}:
        best = np.log(factor * FRAUDS / OTHERS)
        with torch.no_grad():
            model.output.weight.copy_(torch.from_numpy(best)[None])
        step = keras.call(
            "training.one_step", to_keras_weights(model), x, y, seed=0, dropout=0.0,
            sample_weight=w, dtype="float64",
        )  # fmt: skip
        gradient = step["gradient"]["dense_1/kernel"]
        terms = x.T @ (w * np.abs(x @ float64_sigmoid(best)[:, None] - y)) / len(x)
        allowance = bounds.gamma(len(x) + 24, bounds.U64) * (1 + np.abs(best[:, None])) * terms
        if factor == training.odds_factor:
            check(gradient, np.zeros_like(gradient), allowance)
        else:
            assert (np.abs(gradient) > 1e9 * allowance).all()


FACTOR = 577
SHARES = np.array([1e-300, 1e-9, 0.00172, 0.3, 0.5, 0.75, 0.999])


def exactly_shifted(p: float, factor: int) -> float:
    """By Bayes' rule, in fractions."""
    odds = Fraction(p) * factor
    return float(odds / (1 - Fraction(p) + odds))


@pytest.mark.parametrize("factor", [1, 2, FACTOR])
def test_a_shift_multiplies_the_odds_and_the_opposite_one_leads_back(factor: int) -> None:
    """In double to the proven rounding; 0, 1 and NaN stay what they are."""
    shift = math.log(factor)
    logits = np.log(SHARES / (1 - SHARES))
    expected = np.array([exactly_shifted(p, factor) for p in SHARES])
    off = rounded(logits, shift)
    # A probability follows its logit relatively, by a factor below 1.
    allowance = expected * (np.expm1(off) + bounds.gamma(16, bounds.U64))
    there = shift_log_odds(torch.from_numpy(SHARES), shift)
    check(there.numpy(), expected, allowance)
    off = off + allowance / (expected * (1 - expected)) + rounded(logits + shift, shift)
    back = shift_log_odds(there, -shift).numpy()
    check(back, SHARES, SHARES * (np.expm1(off) + bounds.gamma(16, bounds.U64)))
    ends = torch.tensor([0.0, 1.0, math.nan], dtype=torch.float64)
    torch.testing.assert_close(shift_log_odds(ends, shift), ends, rtol=0, atol=0, equal_nan=True)
