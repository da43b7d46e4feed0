"""What one recorded case is: a call to the reference, our own answer, and their comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from parity_tests.judge.agreement import StageResult, exact
from parity_tests.reference.recording_file import Call

__all__ = ["Answers", "Case", "compare_exactly", "grid", "rows_and_labels"]

Answers = Mapping[str, Any]
"""What the reference gave in the cases before, by name."""


class Case(NamedTuple):
    """A call that is recorded once and proved against ever after."""

    function: str
    """Module and function below `keras_ref`."""
    inputs: Callable[[Answers], dict[str, Any]]
    """Its keyword arguments, the same bits on every machine."""
    ours: Callable[..., Any]
    """Our answer, in the reference's form, from the same arguments and `device=`."""
    compare: Callable[..., list[StageResult]]
    """The comparison of two answers to the inputs, by the kind of agreement that is due."""

    def verdict(self, call: Call, ours: Any) -> list[StageResult]:
        """Compares an answer with the recorded one."""
        return self.compare(call.inputs, ours, call.answer)


def grid(seed: int, shape: tuple[int, ...], largest: float = 4.0) -> np.ndarray:
    """float32 numbers in ±largest with full mantissas, the same bits on every machine.

    Integers of NumPy's `RandomState`, whose stream is kept for good (NEP 19), scaled by a
    power of two if `largest` is one: no library's logarithm or cosine has a say in them.
    """
    units = np.random.RandomState(seed).randint(-(2**23), 2**23 + 1, shape)
    return (units * np.float64(largest / 2**23)).astype(np.float32)


def rows_and_labels(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (rows, 29) clipped as the tutorial's are, and labels that they tell of.

    About one label in ten is positive.
    """
    features = np.clip(grid(seed, (rows, 29)) + grid(seed + 1, (rows, 29), 2), -5, 5)
    signal = features[:, 3] + features[:, 13] - features[:, 28] + grid(seed + 2, (rows,), 2)
    return features, (signal > 6).astype(np.float32)[:, None]


def compare_exactly(_inputs: dict[str, Any], ours: Any, theirs: Any) -> list[StageResult]:
    """Every array and number of two answers of one form, bit for bit."""
    return _compare_exactly("answer", ours, theirs)


def _compare_exactly(path: str, ours: Any, theirs: Any) -> list[StageResult]:
    if isinstance(theirs, Mapping):
        assert list(ours) == list(theirs), f"{path}: came {list(ours)}, expected {list(theirs)}"
        pairs = [(f"{path}[{key!r}]", ours[key], theirs[key]) for key in theirs]
    elif isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs), f"{path}: came {len(ours)}, expected {len(theirs)}"
        pairs = [(f"{path}[{i}]", ours[i], theirs[i]) for i in range(len(theirs))]
    else:
        return [exact(path, np.asarray(ours), np.asarray(theirs))]
    return [row for pair in pairs for row in _compare_exactly(*pair)]
