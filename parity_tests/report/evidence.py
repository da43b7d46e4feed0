"""What the page's plots show, taken from the runs that the stages compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parity_tests.report.stages import Comparison
from parity_tests.sides import torch_side

__all__ = ["Evidence", "Growth", "confusion", "gather"]


@dataclass(frozen=True)
class Growth:
    """How far the weights of two float32 runs moved apart, step by step."""

    steps: list[int]
    between: list[float]
    """Largest |PyTorch - Keras| over all weights."""
    own: list[float]
    """Largest |Keras - float64|, of two float32 runs the farther: its own rounding."""


@dataclass(frozen=True)
class Evidence:
    """Numbers of one comparison, for drawing."""

    ours: Mapping[str, Sequence[float]]
    """PyTorch's history, Keras's keys, one value per epoch."""
    theirs: Mapping[str, Sequence[float]]
    wide: Mapping[str, Sequence[float]]
    """Keras's own in float64, which shows how far rounding alone took it."""
    growth: Growth
    labels: np.ndarray
    """(N,) of the test rows, 0 or 1."""
    our_probabilities: np.ndarray
    """float32 (N,): PyTorch's own trained model on the test rows."""
    their_probabilities: np.ndarray


def gather(comparison: Comparison) -> Evidence:
    """Everything the page draws, after the stages have run; nothing is trained again."""
    test = comparison.prepared.test
    ours, keras = comparison.torch_runs["float32"], comparison.keras_runs
    theirs, wide, edges = (keras[name] for name in ("float32", "float64", "edges"))
    scores = torch_side.forward_stages(torch_side.classifier(ours["final"]), test.features)
    return Evidence(
        ours=ours["history"],
        theirs=theirs["history"],
        wide=wide["history"],
        growth=Growth(
            steps=list(comparison.traced_steps),
            between=[_apart(a, b) for a, b in zip(ours["trace"], theirs["trace"], strict=True)],
            own=[
                max(_apart(narrow, true) for narrow in narrows)
                for true, *narrows in zip(
                    wide["trace"], theirs["trace"], edges["trace"], strict=True
                )
            ],
        ),
        labels=test.labels[:, 0],
        our_probabilities=scores["probabilities"][:, 0],
        their_probabilities=comparison.keras_on_test["probabilities"][:, 0],
    )


def _apart(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> float:
    return max(float(np.abs(a[name].astype(np.float64) - b[name]).max()) for name in b)


def confusion(labels: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, int]:
    """Counts at a threshold that is exceeded strictly, as Keras counts."""
    positive, predicted = labels > 0, scores > np.float32(threshold)
    return {
        "true negatives": int((~positive & ~predicted).sum()),
        "false positives": int((~positive & predicted).sum()),
        "false negatives": int((positive & ~predicted).sum()),
        "true positives": int((positive & predicted).sum()),
    }
