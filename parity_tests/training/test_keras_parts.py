"""Each part of training alone: loss, optimizer, dropout, metrics, early stopping."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterator
from itertools import count, islice

import numpy as np
import pytest
import torch
from torch import nn

from parity_tests.judge import bounds
from parity_tests.judge.agreement import within
from parity_tests.record.recorded_forward import compare_metrics
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import CLIPPED_LOSS, LOGITS
from torch_impl import KerasAdam, KerasMetrics
from torch_impl.keras.losses.functions import (
    binary_crossentropy,
    binary_crossentropy_from_logits,
    class_weight_to_sample_weight,
    mean_loss,
)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("label", [0, 1])
def test_loss_is_right_to_its_own_last_digits(label: int, dtype: torch.dtype) -> None:
    """log(1 + exp(±z)) in float64, be the loss of 40 or of 1e-17: none is lost beside a 1."""
    z = np.float32(
        [0, *(s * 2.0**k * m for s in (1, -1) for k in range(-12, 6) for m in (1, 1.25))]
    )
    loss = binary_crossentropy_from_logits(
        torch.from_numpy(z).to(dtype), torch.full((len(z),), float(label), dtype=dtype)
    )
    expected = np.logaddexp(0, z.astype(np.float64) * (1 - 2 * label))
    # An exponential and a logarithm of 4 ULP each, on both sides, and a sum.
    unit = bounds.U32 if dtype == torch.float32 else bounds.U64
    error = np.abs(loss.double().numpy() - expected)
    assert (error <= bounds.gamma(34, unit) * expected).all()


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_loss_has_keras_gradient_at_a_logit_of_zero(label: float) -> None:
    """1/2 - y, where clamp and abs would give 1 - y."""
    z = torch.zeros(1, 1, requires_grad=True)
    binary_crossentropy_from_logits(z, torch.full((1, 1), label)).sum().backward()
    assert z.grad.item() == 0.5 - label


def test_loss_has_gradients_to_logits_and_to_labels() -> None:
    """(σ(z) - y) g and -z g, each as large as what flows back."""
    z, y = column(2, -1).requires_grad_(), column(1, 0.25).requires_grad_()
    losses = binary_crossentropy_from_logits(z, y)
    losses.backward(column(3, 10))
    assert torch.equal(z.grad, (torch.sigmoid(z.detach()) - y.detach()) * column(3, 10))
    assert y.grad.flatten().tolist() == [-6, 10]


def test_clipped_loss_costs_nothing_where_it_is_right_and_16_where_it_is_wrong() -> None:
    """In float64, where -log(1e-7) and -log(1 - 1e-7) are the float64 logarithms themselves."""
    p = torch.tensor([0, 1, 0.25, 0.25], dtype=torch.float64)
    y = torch.tensor([1, 1, 1, 0], dtype=torch.float64)
    expected = [-math.log(1e-7), -math.log(1 - 1e-7), -math.log(0.25), -math.log(0.75)]
    loss = binary_crossentropy(p, y)
    bound = bounds.gamma(8, bounds.U64) * 17  # eight roundings of numbers below 17
    assert (loss - torch.tensor(expected, dtype=torch.float64)).abs().max() <= bound


@CLIPPED_LOSS
def test_clipped_loss_is_what_keras_computes_from_probabilities(keras: KerasProcess) -> None:
    """On the output of `predict`: probabilities of 0 and 1 cost 16.118, not infinity."""
    p = np.float32([0, 1e-9, 1e-7, 0.0017, 0.3, 0.5, 0.9, 1 - 1e-7, 1])[:, None]
    for label in (0.0, 1.0):
        y = np.full_like(p, label)
        theirs = keras.call("losses.binary_crossentropy", p, y)
        ours = binary_crossentropy(torch.from_numpy(p), torch.from_numpy(y)).numpy()
        expected = bounds.clipped_crossentropy(p, y)
        result = within("loss", "proven", ours, theirs, *expected)
        assert result.agree, result.detail
        assert ours.max() < 16.2


def test_weighted_loss_divides_by_rows_and_not_by_weights() -> None:
    """sum(w loss) / N."""
    loss = mean_loss(column(1, 2, 4, 5), column(1, 0.5, 8, 0))
    assert loss.item() == (1 + 1 + 32 + 0) / 4


def test_class_weight_names_every_class_it_names() -> None:
    """A class that is not named weighs 1."""
    y = column(0, 1, 1, 0)
    assert class_weight_to_sample_weight(y, {0: 0.5, 1: 25}).flatten().tolist() == [
        0.5,
        25,
        25,
        0.5,
    ]
    assert class_weight_to_sample_weight(y, {1: 3}).flatten().tolist() == [1, 3, 3, 1]


def quadratic(
    optimizer_class: type, **options: object
) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    w = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    return w, optimizer_class([w], **options)


def step(w: nn.Parameter, optimizer: torch.optim.Optimizer, scale: float = 1.0) -> None:
    optimizer.zero_grad()
    (scale * w.square().sum()).backward()
    optimizer.step()


def adam_by_hand(
    x: np.ndarray,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-7,
) -> Iterator[np.ndarray]:
    """Where the sum of x² goes from x, step by step, in float64."""
    m, v = np.zeros(len(x)), np.zeros(len(x))
    for t in count(1):
        g = 2 * x
        m, v = m + (g - m) * (1 - betas[0]), v + (g * g - v) * (1 - betas[1])
        p1, p2 = (float(np.float32(b)) ** t for b in betas)  # Keras's cast of a number
        x = x - m * (lr * math.sqrt(1 - p2) / (1 - p1)) / (np.sqrt(v) + eps)
        yield x


# A step is some twenty roundings of numbers no larger than 8.
ROUNDED = bounds.gamma(20, bounds.U64) * 8
OTHER = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3}


def test_adam_steps_as_the_equation_says() -> None:
    """Ten steps against float64, at two learning rates and other decays, a group's own too."""
    for options, of_group in (({}, False), (OTHER, False), (OTHER, True)):
        w, optimizer = quadratic(KerasAdam, **({} if of_group else options))
        if of_group:  # as a scheduler sets them
            optimizer.param_groups[0].update(options)
        w.data = w.data.double()
        steps = adam_by_hand(w.detach().numpy().copy(), **options)
        for t in range(1, 11):
            step(w, optimizer)
            assert np.abs(w.detach().numpy() - next(steps)).max() <= t * ROUNDED


def test_each_group_has_its_own_numbers_and_each_parameter_its_own_count_of_steps() -> None:
    """Two groups, the first of two parameters, which are given a gradient at unlike times."""
    starts = [np.array([1.0, -2.0]), np.array([3.0]), np.array([-1.0, 4.0])]
    given_at = [range(1, 11), range(4, 11, 2), range(2, 11)]
    w = [nn.Parameter(torch.tensor(start)) for start in starts]
    optimizer = KerasAdam([{"params": w[:2], **OTHER}, {"params": w[2:], "lr": 0.5}])
    for number in range(1, 11):
        for parameter, numbers in zip(w, given_at, strict=True):
            parameter.grad = 2 * parameter.detach() if number in numbers else None
        optimizer.step()
    for i, options in enumerate((OTHER, OTHER, {"lr": 0.5})):
        *_, expected = islice(adam_by_hand(starts[i], **options), len(given_at[i]))
        assert int(optimizer.state_of(w[i])["step"]) == len(given_at[i])
        assert np.abs(w[i].detach().numpy() - expected).max() <= 10 * ROUNDED


def test_the_first_adam_of_a_process_does_not_load_torchs_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which takes a second, and which torch's own optimizers load."""
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        plain = inspect.unwrap(getattr(torch.optim.Optimizer, name))
        monkeypatch.delattr(plain, "__dynamo_disable", raising=False)  # where torch keeps it
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)
    optimizer = KerasAdam(nn.Linear(2, 1).parameters())
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
    with pytest.raises(ImportError, match=r"torch\._dynamo"):
        torch.optim.SGD(nn.Linear(2, 1).parameters())


@LOGITS
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_metrics_over_batches_are_keras(batch: int, keras: KerasProcess) -> None:
    """Probabilities on thresholds, at 0 and 1, in ties; any batch size, one pass."""
    rng = np.random.default_rng(0)
    logits = np.concatenate([rng.normal(-3, 3, 900), [0, 0, 200, 200, -200, -200], np.zeros(94)])
    logits = logits.astype(np.float32)[:, None]
    labels = (rng.random(1000) < 0.3).astype(np.float32)[:, None]
    metrics = KerasMetrics()
    for start in range(0, 1000, batch):
        part = slice(start, start + batch)
        metrics.update(torch.from_numpy(logits[part]), torch.from_numpy(labels[part]))
    theirs = keras.call("losses.metrics_of_logits", logits, labels)
    for result in compare_metrics({"logits": logits}, metrics.result(), theirs):
        assert result.agree, f"{result.stage}: {result.detail}"


def by_counting(p: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Shares and areas of probabilities between thresholds, in float64, straight from Keras's text.

    Areas over 200 thresholds: trapezoids under the ROC, and Davis and Goadrich's interpolation.
    """
    above = p > np.array([-1.0, *(np.arange(1, 199) / 199), 2.0])[:, None]
    positive = labels > 0
    tp, fp = (above & positive).sum(1), (above & ~positive).sum(1)
    recall, false_alarms = tp / positive.sum(), fp / (~positive).sum()
    prc = 0.0
    for k in range(199):
        dtp, dp = tp[k] - tp[k + 1], tp[k] + fp[k] - tp[k + 1] - fp[k + 1]
        if dp:
            slope = dtp / dp
            intercept = tp[k + 1] - slope * (tp[k + 1] + fp[k + 1])
            both = tp[k] + fp[k] > 0 and tp[k + 1] + fp[k + 1] > 0
            ratio = (tp[k] + fp[k]) / (tp[k + 1] + fp[k + 1]) if both else 1.0
            prc += slope * (dtp + intercept * math.log(ratio))
    half = p > 0.5
    return {
        "accuracy": (half == positive).mean(),
        "precision": positive[half].mean() if half.any() else 0.0,
        "recall": half[positive].mean(),
        "auc": ((false_alarms[:-1] - false_alarms[1:]) * (recall[:-1] + recall[1:]) / 2).sum(),
        "prc": prc / positive.sum(),
    }


@pytest.mark.parametrize("shift", [-9, -2, 0, 3])
def test_shares_and_areas_are_right_to_the_last_digits_of_float64(shift: int) -> None:
    """Of ranks, good and bad: no share is rounded, no area taken between other thresholds."""
    rng = np.random.default_rng(1)
    buckets = np.clip(rng.normal(100 + 30 * shift / 3, 40, 700).astype(int), 0, 198)
    labels = rng.random(700) < 0.1 + buckets / 400
    p = (buckets + 0.5) / 199  # which no rounding of a sigmoid brings to a threshold
    metrics = KerasMetrics()
    metrics.update(column(*(np.log(p) - np.log1p(-p))), column(*labels))
    ours = metrics.result()
    for name, expected in by_counting(p, labels).items():
        # 199 areas, each of some dozen roundings of numbers that are at most 1.
        assert abs(ours[name] - expected) <= bounds.gamma(24 * 199, bounds.U64), name


def test_a_probability_on_a_threshold_is_not_above_it() -> None:
    """A positive on the threshold k / 199 and a negative just below it tie: AUC is a half."""
    on_thresholds = 0
    for k in range(1, 199, 3):
        below = math.log((k - 0.5) / (199.5 - k))
        at = torch.full((), math.log(k / (199 - k)))
        for z in (at + torch.arange(-20, 21) * torch.finfo(torch.float32).eps * at.abs()).tolist():
            logits = column(z, below)  # a vector's sigmoid may be another than a number's
            if torch.sigmoid(logits)[0] * 199 == k:
                on_thresholds += 1
                metrics = KerasMetrics()
                metrics.update(logits, column(1, 0))
                assert metrics.result()["auc"] == 0.5, k
                break
    assert on_thresholds > 20


def test_metrics_of_nothing_and_of_one_class_are_numbers() -> None:
    """Precision without a predicted positive is 0, and so is recall without a positive."""
    empty = KerasMetrics().result()
    assert all(value == 0 for value in empty.values())
    metrics = KerasMetrics()
    metrics.update(column(-5, -6), column(0, 0))
    result = metrics.result()
    assert (result["precision"], result["recall"], result["tn"]) == (0, 0, 2)
    assert all(math.isfinite(value) for value in result.values())


def near(came: float, expected: float, beside: float = 0.0) -> bool:
    """Within some float32 roundings of itself, each of 4 ULP, and some in float64 of a sum's."""
    return abs(came - expected) <= bounds.gamma(34) * expected + 4 * bounds.U64 * beside


def test_metrics_of_one_row_are_its_own() -> None:
    """One positive above the threshold: every share is 1."""
    metrics = KerasMetrics()
    metrics.update(column(3), column(1))
    result = metrics.result()
    assert [result[name] for name in ("accuracy", "precision", "recall", "prc")] == [1, 1, 1, 1]
    undecided = KerasMetrics()
    undecided.update(column(0), column(1))
    assert undecided.result()["Brier score"] == 0.25
    assert near(undecided.result()["cross entropy"], math.log(2))


def test_metrics_lose_no_small_loss_beside_a_large_one() -> None:
    """In a batch and over batches: 2**24 + 1.3 is no float32."""
    z = column(2**24, 1)
    together, apart = KerasMetrics(), KerasMetrics()
    together.update(z, column(0, 0))
    apart.update(z[:1], column(0))
    apart.update(z[1:], column(0))
    for metrics in (together, apart):
        small = 2 * metrics.result()["cross entropy"] - 2**24
        assert near(small, math.log1p(math.e), beside=2**24)
    together = KerasMetrics()
    together.update(column(200, -12), column(0, 0))
    faint = 2 * together.result()["Brier score"] - 1
    assert near(faint, (1 + math.exp(12)) ** -2, beside=1)
