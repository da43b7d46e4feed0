"""How far a metric may jump because a probability lies on a threshold to within rounding.

Counts and areas under curves are step functions: a row whose probability is a threshold but
for rounding is counted on one side in one framework and on the other in another. Here each
row of the float64 run gets the interval in which float32 may put its probability, and each
metric is taken with all such rows at their best and at their worst.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor

from parity_tests.bounds import gamma
from parity_tests.sigmoid import SIGMOID_ULP
from torch_impl import FraudClassifier, KerasMetrics, training
from torch_impl.keras_metrics import metrics_from_sums

__all__ = ["recorded_spreads"]

_EPS32 = 2.0**-23  # an ULP of a number in [1, 2), and at most twice that elsewhere, relatively


@contextmanager
def recorded_spreads(model: FraudClassifier) -> Iterator[list[dict[str, float]]]:
    """While it is open, `fit` and `evaluate` of the model record each pass's spreads.

    Args:
        model: in float64.

    Yields:
        One dictionary per pass over rows, in order: metric to how far it may jump.
    """
    spreads: list[dict[str, float]] = []
    errors: list[Tensor] = []  # of the batch's logits in float32, from the hooks

    def at_hidden(_module: object, inputs: tuple[Tensor], _output: Tensor) -> None:
        weight, bias = model.hidden.weight.detach(), model.hidden.bias.detach()
        size = inputs[0].abs() @ weight.abs().T + bias.abs()
        errors[:] = [gamma(model.in_features + 1) * size]

    def at_output(_module: object, inputs: tuple[Tensor], _output: Tensor) -> None:
        weight, bias = model.output.weight.detach().abs(), model.output.bias.detach().abs()
        rate = getattr(model.dropout, "rate", 0.0) if model.training else 0.0
        size = inputs[0].detach().abs() @ weight.T + bias
        errors[:] = [errors[0] / (1 - rate) @ weight.T + gamma(model.hidden_units + 4) * size]

    class Spread(KerasMetrics):
        def __init__(self, device: torch.device | str = "cpu") -> None:
            super().__init__(device)
            self._sides = [KerasMetrics(device), KerasMetrics(device)]

        def update(self, logits: Tensor, labels: Tensor) -> None:
            super().update(logits, labels)
            z = logits.detach()
            p = torch.sigmoid(z)
            own = SIGMOID_ULP * _EPS32 * p + _EPS32 * p  # the sigmoid, and p * 199
            low = torch.sigmoid(z - errors[0]) - own
            high = torch.sigmoid(z + errors[0]) + own
            positive = labels > 0
            for side, up, down in zip(self._sides, (high, low), (low, high), strict=True):
                moved = torch.where(positive, up, down).clamp(2.0**-52, 1 - 2.0**-52)
                side.update(torch.logit(moved), labels)

        def result(self) -> dict[str, float]:
            nominal = super().result()
            extremes = [
                metrics_from_sums(self._sums, side._counts, side._buckets) for side in self._sides
            ]
            spreads.append(
                {name: max(abs(e[name] - nominal[name]) for e in extremes) for name in nominal}
            )
            return nominal

    handles = [
        model.hidden.register_forward_hook(at_hidden),
        model.output.register_forward_hook(at_output),
    ]
    try:
        with mock.patch.object(training, "KerasMetrics", Spread):
            yield spreads
    finally:
        for handle in handles:
            handle.remove()
