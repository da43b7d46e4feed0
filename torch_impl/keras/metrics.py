"""The tutorial's eleven metrics, accumulated over batches as Keras accumulates them."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_impl.keras.losses.functions import binary_crossentropy_from_logits

__all__ = ["METRIC_NAMES", "CategoricalAccuracy", "KerasMetrics"]

METRIC_NAMES = (
    "cross entropy",
    "Brier score",
    "tp",
    "fp",
    "tn",
    "fn",
    "accuracy",
    "precision",
    "recall",
    "auc",
    "prc",
)
"""In the tutorial's order, under its names."""

_THRESHOLDS = 200  # of keras.metrics.AUC: 198 between 0 and 1, one below and one above
_CONFUSION = 4  # counts before those of the buckets


class KerasMetrics:
    """Sums over batches from which all eleven metrics follow.

    Reproduces `keras.metrics.BinaryCrossentropy`, `MeanSquaredError`, `TruePositives`,
    `FalsePositives`, `TrueNegatives`, `FalseNegatives`, `BinaryAccuracy`, `Precision`,
    `Recall`, `AUC` and `AUC(curve="PR")` with their defaults, unweighted as compiled
    `metrics` are. A threshold is exceeded strictly. Integers are counted exactly (Keras
    counts in float32, which is exact to 2**24), sums are kept in float64.

    Args:
        device: where batches are, and sums are kept.

    Attributes:
        sums: float64 (2,), see `metrics_from_sums`.
        counts: int64 (402,), likewise: counts and buckets.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)
        counts = _CONFUSION + 2 * (_THRESHOLDS - 1)
        self.counts = torch.zeros(counts, dtype=torch.int64, device=device)

    def update(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Adds a batch; nothing is synchronised with the device.

        Args:
            logits: (N, 1), without a gradient.
            labels: (N, 1), 0 or 1, of the logits' dtype.

        Returns:
            The batch's `sums`.
        """
        logits, labels = logits.detach(), labels.detach()
        p = torch.sigmoid(logits)
        loss = binary_crossentropy_from_logits(logits, labels).sum(dtype=torch.float64)
        sums = torch.stack([loss, (p - labels).square().sum(dtype=torch.float64)])
        self.sums += sums
        positive, predicted = labels > 0, p > 0.5
        # 2 * label + prediction: tn, fp, fn, tp
        counts, buckets = self.counts[:_CONFUSION], self.counts[_CONFUSION:]
        counts += torch.bincount((2 * positive + predicted).flatten().long(), minlength=4)
        # keras/src/metrics/metrics_utils.py, `_update_confusion_matrix_variables_optimized`:
        # the bucket below the lowest threshold that the probability does not exceed.
        bucket = (torch.ceil(p * (_THRESHOLDS - 1)) - 1).clamp(min=0)
        flat = (positive * (_THRESHOLDS - 1) + bucket.nan_to_num()).flatten().long()
        buckets += torch.bincount(flat, minlength=2 * (_THRESHOLDS - 1))
        return sums

    def result(self) -> dict[str, float]:
        """All eleven, by the tutorial's names; over no rows the ratios are 0."""
        counts = self.counts.cpu()
        return metrics_from_sums(self.sums.cpu(), counts[:_CONFUSION], counts[_CONFUSION:])


class CategoricalAccuracy:
    """`keras.metrics.CategoricalAccuracy` and its sparse kin: rows whose largest output is right.

    Args:
        device: where batches are.

    Attributes:
        sums: none, float64 (0,).
        counts: int64 (2,): rows that are right, and rows.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.sums = torch.zeros(0, dtype=torch.float64, device=device)
        self.counts = torch.zeros(2, dtype=torch.int64, device=device)

    def update(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Adds a batch.

        Args:
            outputs: (N, C), logits or probabilities.
            labels: (N, C), of which the largest counts, or (N, 1), numbers of classes.

        Returns:
            The batch's `sums`, which are none.
        """
        classes = labels.argmax(-1) if labels.shape[1] > 1 else labels[:, 0]
        right = (outputs.detach().argmax(-1) == classes).sum()
        self.counts += torch.stack([right, torch.full_like(right, len(labels))])
        return self.sums

    def result(self) -> dict[str, float]:
        """`accuracy`; over no rows 0."""
        right, rows = self.counts.tolist()
        return {"accuracy": right / max(rows, 1)}


def metrics_from_sums(sums: Tensor, counts: Tensor, buckets: Tensor) -> dict[str, float]:
    """The eleven metrics from what a pass added up.

    Args:
        sums: float64 (2,): of the losses and of the squared errors.
        counts: int64 (4,): tn, fp, fn, tp.
        buckets: int64 (398,): rows of class 0 and then of class 1 between thresholds.
    """
    tn, fp, fn, tp = (int(count) for count in counts)
    rows = max(tn + fp + fn + tp, 1)
    negative, positive = buckets.reshape(2, -1)
    # Rows above each threshold: the lowest is below all, the highest above all.
    above = [
        torch.cat([side.flip(0).cumsum(0).flip(0), side.new_zeros(1)]).double()
        for side in (negative, positive)
    ]
    return {
        "cross entropy": float(sums[0]) / rows,
        "Brier score": float(sums[1]) / rows,
        "tp": float(tp),
        "fp": float(fp),
        "tn": float(tn),
        "fn": float(fn),
        "accuracy": (tp + tn) / rows,
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "auc": _roc_auc(above[1], above[0]),
        "prc": _pr_auc(above[1], above[0], int(positive.sum())),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _roc_auc(tp: Tensor, fp: Tensor) -> float:
    """Trapezoids under true over false positive rate."""
    recall = tp / tp[0].clamp(min=1)
    false_alarm = fp / fp[0].clamp(min=1)
    heights = (recall[:-1] + recall[1:]) / 2
    return float(((false_alarm[:-1] - false_alarm[1:]) * heights).sum())


def _pr_auc(tp: Tensor, fp: Tensor, positives: int) -> float:
    """Davis and Goadrich's interpolation between thresholds (ICML 2006), as Keras has it."""
    predicted = tp + fp
    dtp, dp = tp[:-1] - tp[1:], (predicted[:-1] - predicted[1:])
    # Where a count is 0 the factor of its quotient is 0 too; the clamps keep both finite.
    slope = dtp / dp.clamp(min=1)
    intercept = tp[1:] - slope * predicted[1:]
    ratio = predicted[:-1].clamp(min=1) / predicted[1:].clamp(min=1)
    return float((slope * (dtp + intercept * ratio.log())).sum()) / max(positives, 1)
