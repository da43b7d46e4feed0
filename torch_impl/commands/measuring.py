"""The metrics of a pipeline's probabilities, and what they were before their correction."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from torch_impl.keras.metrics import METRIC_NAMES, KerasMetrics

__all__ = ["AS_TRAINED", "CORRECTED", "Measuring", "metric_table"]

AS_TRAINED, CORRECTED = "as trained", "corrected"
_EXPECTED = "frauds expected"


class Measuring:
    """Adds up the tutorial's eleven metrics, and the probabilities: how many frauds they expect.

    Args:
        shift: of the log-odds, by which the pipeline corrects them; 0 for none.
    """

    def __init__(self, shift: float) -> None:
        self._shifts = {AS_TRAINED: 0.0, **({CORRECTED: shift} if shift else {})}
        self._metrics = {name: KerasMetrics() for name in self._shifts}
        self._expected = dict.fromkeys(self._shifts, 0.0)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Takes rows.

        Args:
            logits: (N, 1), as trained.
            labels: (N, 1), 0 or 1.
        """
        for name, shift in self._shifts.items():
            shifted = logits + shift
            self._metrics[name].update(shifted, labels)
            self._expected[name] += float(torch.sigmoid(shifted).sum(dtype=torch.float64))

    def result(self) -> dict[str, dict[str, float]]:
        """By `AS_TRAINED`, and by `CORRECTED` where there is a shift: each measure by its name."""
        return {
            name: {**metrics.result(), _EXPECTED: self._expected[name]}
            for name, metrics in self._metrics.items()
        }


def metric_table(measured: Mapping[str, Mapping[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows for `tell`."""
    headings = list(measured) if len(measured) > 1 else ["value"]
    rows = [
        [name, *(_shown(name, own[name]) for own in measured.values())]
        for name in (*METRIC_NAMES, _EXPECTED)
    ]
    return ["metric", *headings], rows


def _shown(name: str, value: float) -> str:
    if name == _EXPECTED:
        return f"{value:,.1f}"
    return f"{value:,.0f}" if name in ("tp", "fp", "tn", "fn") else f"{value:.6g}"
