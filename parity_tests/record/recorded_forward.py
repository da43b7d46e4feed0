"""Recorded cases of one pass: exact probes, the proven stages, losses and metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from parity_tests.judge import bounds
from parity_tests.judge.agreement import StageResult, exact, within
from parity_tests.judge.probes import exact_probe
from parity_tests.judge.sigmoid import SIGMOID_ULP
from parity_tests.record.recorded_case import Answers, Case, grid, rows_and_labels
from parity_tests.sides.torch_side import classifier, forward_stages
from torch_impl import KerasMetrics
from torch_impl.keras.losses.functions import binary_crossentropy

__all__ = ["CASES", "compare_metrics"]

_COUNTS = ("tp", "fp", "tn", "fn")
_QUOTIENTS = ("accuracy", "precision", "recall")


def _stages(
    weights: Mapping[str, np.ndarray], features: np.ndarray, device: str
) -> dict[str, np.ndarray]:
    return forward_stages(classifier(weights, device), features)


def _compare_stages(inputs: dict[str, Any], ours: Any, theirs: Any) -> list[StageResult]:
    expected = bounds.forward(bounds.exactly(inputs["features"]), inputs["weights"])
    return [
        within(stage, "proven", ours[stage], theirs[stage], *expected[stage]) for stage in theirs
    ]


def _compare_probe(inputs: dict[str, Any], ours: Any, theirs: Any) -> list[StageResult]:
    """All but the sigmoid is exact arithmetic."""
    rows = _compare_stages(inputs, ours, theirs)
    return [
        row
        if row.stage == "probabilities"
        else exact(row.stage, ours[row.stage], theirs[row.stage])
        for row in rows
    ]


def _probe(seed: int, in_features: int, hidden_units: int) -> Case:
    def inputs(_: Answers) -> dict[str, Any]:
        rng = np.random.RandomState(seed)
        probe = exact_probe(rng, 96, in_features, hidden_units)
        return {"weights": probe.weights, "features": probe.features}

    return Case("forward.forward_stages", inputs, _stages, _compare_probe)


def _drawn_weights() -> dict[str, np.ndarray]:
    return {
        "dense/kernel": grid(21, (29, 16), 0.5),
        "dense/bias": grid(22, (16,), 0.5),
        "dense_1/kernel": grid(23, (16, 1), 0.5),
        "dense_1/bias": grid(24, (1,), 0.5),
    }


def _pass(weights: Any) -> Case:
    return Case(
        "forward.forward_stages",
        lambda answers: {"weights": weights(answers), "features": rows_and_labels(31, 200)[0]},
        _stages,
        _compare_stages,
    )


def _spoilt(_: Answers) -> dict[str, Any]:
    features = rows_and_labels(32, 24)[0]
    for row, value in enumerate((np.nan, np.inf, -np.inf, 3e38, -3e38)):
        features[2 * row, 5 * row] = value
    return {"weights": _drawn_weights(), "features": features}


def _loss_inputs(label: float) -> dict[str, Any]:
    p = np.float32([0, 1e-9, 1e-7, 0.0017, 0.3, 0.5, 0.9, 1 - 1e-7, 1])[:, None]
    return {"probabilities": p, "labels": np.full_like(p, label)}


def _loss(probabilities: np.ndarray, labels: np.ndarray, device: str) -> np.ndarray:
    p, y = (torch.from_numpy(array).to(device) for array in (probabilities, labels))
    return binary_crossentropy(p, y).cpu().numpy()


def _compare_losses(inputs: dict[str, Any], ours: Any, theirs: Any) -> list[StageResult]:
    expected = bounds.clipped_crossentropy(inputs["probabilities"], inputs["labels"])
    return [within("loss", "proven", ours, theirs, *expected)]


def _sigmoid(logits: np.ndarray, device: str) -> np.ndarray:
    return torch.sigmoid(torch.from_numpy(logits).to(device)).cpu().numpy()


def _compare_sigmoids(inputs: dict[str, Any], ours: Any, theirs: Any) -> list[StageResult]:
    expected = bounds.sigmoid(bounds.exactly(inputs["logits"]))
    return [within("sigmoid", "proven", ours, theirs, *expected)]


def _metric_inputs(_: Answers) -> dict[str, Any]:
    """Logits of every size, some on thresholds, at both ends and in ties."""
    logits = np.concatenate([grid(41, (600,), 8), np.zeros(30), [200.0] * 5, [-200.0] * 5])
    logits = logits.astype(np.float32)[:, None]
    return {"logits": logits, "labels": (grid(42, (640, 1)) > 2.5).astype(np.float32)}


def _metrics(logits: np.ndarray, labels: np.ndarray, device: str) -> dict[str, float]:
    metrics = KerasMetrics(device)
    for start in range(0, len(logits), 77):
        part = slice(start, start + 77)
        metrics.update(
            torch.from_numpy(logits[part]).to(device), torch.from_numpy(labels[part]).to(device)
        )
    return metrics.result()


def compare_metrics(inputs: dict[str, Any], ours: Any, theirs: Any) -> list[StageResult]:
    """The eleven metrics of one pass: counts to the bit, what is divided or added up by its size.

    Keras adds up in float32 what is nowhere below 0, so that no sum errs by more than its
    roundings' share of itself.
    """
    assert list(ours) == list(theirs)
    rows = []
    for name, value in theirs.items():
        mine, keras = np.float64([ours[name]]), np.float64([value])
        if name in _COUNTS:
            rows.append(exact(name, mine, keras))
        else:
            allowance = np.float64([_metric_allowance(name, abs(value), len(inputs["logits"]))])
            rows.append(within(name, "proven", mine, keras, keras, allowance))
    return rows


def _metric_allowance(name: str, value: float, n: int) -> float:
    if name in _QUOTIENTS:  # of two counts
        return bounds.gamma(2) * value
    if name in ("auc", "prc"):  # 199 areas that add up to 1 at most, from differences of rates
        return bounds.gamma(3 * 199 + 24)
    summed = bounds.gamma(n + 48) * value  # and some roundings of each term on either side
    if name == "cross entropy":
        return summed
    # A probability near 1 errs by an ULP of 1 and not of its distance from the label, which is
    # in the mean no larger than the root of the mean square.
    return summed + 4 * bounds.gamma(1) * SIGMOID_ULP * math.sqrt(value)


CASES: dict[str, Case] = {
    "exact probe": _probe(11, 29, 16),
    "exact probe with a square kernel": _probe(12, 16, 16),
    "forward pass, zero bias": _pass(lambda answers: answers["initial weights, zero bias"]),
    "forward pass, prior bias": _pass(lambda answers: answers["initial weights, prior bias"]),
    "forward pass, random weights": _pass(lambda _: _drawn_weights()),
    "forward pass, trained weights": _pass(
        lambda answers: answers["run, class-weighted"]["float32"]["final"]
    ),
    "forward pass of rows that are not finite": Case(
        "forward.op_by_op_stages", _spoilt, _stages, _compare_stages
    ),
    **{
        f"clipped loss of label {label:g}": Case(
            "losses.binary_crossentropy",
            lambda _, label=label: _loss_inputs(label),
            _loss,
            _compare_losses,
        )
        for label in (0.0, 1.0)
    },
    # Of all float32 the one that Keras's sigmoid errs most at, in the middle.
    "sigmoid where it errs most": Case(
        "forward.sigmoid",
        lambda _: {"logits": np.arange(0xC09B3959, 0xC09B396C, dtype=np.uint32).view(np.float32)},
        _sigmoid,
        _compare_sigmoids,
    ),
    "the eleven metrics": Case(
        "losses.metrics_of_logits", _metric_inputs, _metrics, compare_metrics
    ),
}
