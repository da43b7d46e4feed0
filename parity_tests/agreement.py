"""The verdict on one stage: two frameworks' numbers, one allowance, no tolerance by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np

__all__ = ["Kind", "StageResult", "exact", "merged", "ulp_distance", "within", "within_rounding"]

Kind = Literal["exact", "proven", "rounding"]


@dataclass(frozen=True)
class StageResult:
    """One row of the report."""

    stage: str
    kind: Kind
    max_abs: float
    """Largest |PyTorch - Keras| over elements finite in both."""
    max_ulp: int
    """The same in units in the last place: how many floats lie between the two."""
    bitwise_equal: float
    """Share of equal elements, 0 to 1 (NaN equals NaN, -0 equals 0)."""
    allowance_used: float | None
    """Largest error of either framework as a share of what is allowed to it; None if exact."""
    agree: bool
    detail: str = ""
    """Where it breaks worst and by how much; empty where it agrees."""
    elements: int = 1
    """How many numbers were compared."""

    def as_json(self) -> dict[str, Any]:
        """The row as plain data, as `--json` writes it."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in ("detail", "elements")
        }

    def merge(self, other: StageResult) -> StageResult:
        """The worst of two results, and the share of equal elements in both together."""
        elements = self.elements + other.elements
        equal = self.bitwise_equal * self.elements + other.bitwise_equal * other.elements
        used = [u for u in (self.allowance_used, other.allowance_used) if u is not None]
        return StageResult(
            self.stage,
            self.kind,
            max(self.max_abs, other.max_abs),
            max(self.max_ulp, other.max_ulp),
            equal / max(elements, 1),
            max(used) if used else None,
            self.agree and other.agree,
            self.detail or other.detail,
            elements,
        )


def merged(stage: str, results: list[StageResult]) -> StageResult:
    """The worst of several results, under one name."""
    worst = reduce(StageResult.merge, results)
    return StageResult(**{**asdict(worst), "stage": stage})


def ulp_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many floats lie between two arrays' elements (0 where both are NaN or both 0).

    Args:
        a: float16, float32 or float64, any shape.
        b: the same dtype and shape.

    Returns:
        int64 counts; the largest int64 where exactly one is NaN. Infinity is one above the
        largest float.
    """
    integer = {2: np.int16, 4: np.int32, 8: np.int64}[a.dtype.itemsize]

    def rank(x: np.ndarray) -> np.ndarray:
        bits = np.ascontiguousarray(x).view(integer).astype(np.int64)
        # Negative floats order backwards as integers: mirror them below zero.
        return np.where(bits < 0, np.iinfo(integer).min - bits, bits)

    distance = np.abs(rank(a) - rank(b))
    one_nan, both_nan = np.isnan(a) ^ np.isnan(b), np.isnan(a) & np.isnan(b)
    return np.where(one_nan, np.iinfo(np.int64).max, np.where(both_nan, 0, distance))


def exact(stage: str, ours: np.ndarray, theirs: np.ndarray) -> StageResult:
    """Agreement bit for bit, for integers, copies and exact arithmetic.

    Args:
        stage: the row's name.
        ours: PyTorch's numbers.
        theirs: Keras's numbers; shape and dtype must be equal too.
    """
    mismatch = _form_mismatch(stage, "exact", ours, theirs)
    if mismatch:
        return mismatch
    equal = _equal(ours, theirs)
    detail = "" if equal.all() else _worst(~equal, ours, theirs, "the same bits")
    return _result(stage, "exact", ours, theirs, None, bool(equal.all()), detail)


def within(
    stage: str,
    kind: Kind,
    ours: np.ndarray,
    theirs: np.ndarray,
    reference: np.ndarray,
    allowance: np.ndarray,
) -> StageResult:
    """Agreement where both frameworks lie within an allowance of a float64 reference.

    Args:
        stage: the row's name.
        kind: which kind of agreement the allowance is.
        ours: PyTorch's numbers.
        theirs: Keras's numbers; shape and dtype must be equal.
        reference: float64, same shape. Where it is NaN or infinite both must be just that.
        allowance: float64, same shape, at least 0. Infinite where nothing is claimed (an
            overflow whose outcome depends on the order of summation).
    """
    mismatch = _form_mismatch(stage, kind, ours, theirs)
    if mismatch:
        return mismatch
    claimed, finite = ~np.isposinf(allowance), np.isfinite(reference)
    used = np.zeros(reference.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        for came in (ours, theirs):
            as_such = _equal(came.astype(np.float64), reference)
            share = np.where(as_such, 0.0, np.abs(came - reference) / allowance)
            share = np.where(finite & ~np.isnan(share), share, np.where(as_such, 0.0, np.inf))
            used = np.maximum(used, np.where(claimed, share, 0.0))
    broken = ~(used <= 1)
    detail = ""
    if broken.any():
        at = np.unravel_index(int(np.argmax(used)), used.shape)
        detail = _worst(broken, ours, theirs, f"{reference[at]:.17g} ± {allowance[at]:.3g}", at)
    largest = float(used.max(initial=0.0))
    return _result(stage, kind, ours, theirs, largest, not broken.any(), detail)


ROUNDING_FACTOR = 2.0
"""How much farther the two may lie apart than Keras lies from a yardstick: if both are equally
far from it, in opposite directions, they are twice as far from each other."""

_FLOOR_ULP = 4


def within_rounding(
    stage: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    yardsticks: Sequence[np.ndarray],
    jump: np.ndarray | float = 0.0,
) -> StageResult:
    """Agreement where rounding errors feed back: no farther apart than rounding took Keras.

    Args:
        stage: the row's name.
        ours: PyTorch's numbers at the end of a float32 run.
        theirs: Keras's, of the same run; shape and dtype must be equal.
        yardsticks: the same run, float64 (the same shape each), in ways that differ from
            Keras's by rounding alone, at least one. The allowance, one for the whole array,
            is `ROUNDING_FACTOR` times Keras's largest distance from any, and at least 4 ULP
            of the largest number.
        jump: how far each number may jump besides, because it is a step function of numbers
            that rounding may put on either side of a step.
    """
    mismatch = _form_mismatch(stage, "rounding", ours, theirs)
    if mismatch:
        return mismatch
    wide = theirs.astype(np.float64)
    all_of_them = np.stack(list(yardsticks))
    finite = np.isfinite(ours) & np.isfinite(theirs) & np.isfinite(all_of_them).all(axis=0)
    as_such = finite | (_equal(ours, theirs) & ~np.isfinite(all_of_them).any(axis=0))

    def largest(values: np.ndarray) -> float:
        return float(np.abs(values[..., finite]).max(initial=0.0))

    with np.errstate(invalid="ignore"):
        gap, own = ours - wide, wide - all_of_them
    floor = _FLOOR_ULP * float(np.spacing(np.asarray(largest(theirs), dtype=theirs.dtype)))
    allowance = max(ROUNDING_FACTOR * largest(own), floor) + np.broadcast_to(jump, gap.shape)
    used = float((np.abs(gap) / allowance)[finite].max(initial=0.0))
    broken = ~as_such | (finite & (np.abs(gap) > allowance))
    detail = ""
    if broken.any():
        share = np.where(finite, np.abs(gap) / allowance, np.where(as_such, 0.0, np.inf))
        at = np.unravel_index(int(np.argmax(share)), gap.shape)
        detail = _worst(broken, ours, theirs, f"a difference of {allowance[at]:.3g} at most", at)
    return _result(stage, "rounding", ours, theirs, used, not broken.any(), detail)


def _equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | ((a != a) & (b != b))


def _form_mismatch(
    stage: str, kind: Kind, ours: np.ndarray, theirs: np.ndarray
) -> StageResult | None:
    if ours.shape == theirs.shape and ours.dtype == theirs.dtype:
        return None
    forms = f"PyTorch {ours.dtype}{ours.shape}, Keras {theirs.dtype}{theirs.shape}"
    return StageResult(stage, kind, np.inf, np.iinfo(np.int64).max, 0.0, None, False, forms)


def _result(
    stage: str,
    kind: Kind,
    ours: np.ndarray,
    theirs: np.ndarray,
    used: float | None,
    agree: bool,
    detail: str,
) -> StageResult:
    both = np.isfinite(ours) & np.isfinite(theirs)
    gap = np.abs(ours[both].astype(np.float64) - theirs[both].astype(np.float64))
    if ours.dtype.kind == "f":
        ulp = int(ulp_distance(ours, theirs).max(initial=0))
    else:
        ulp = int(gap.max(initial=0))
    equal = float(_equal(ours, theirs).mean()) if ours.size else 1.0
    largest = float(gap.max(initial=0.0))
    return StageResult(stage, kind, largest, ulp, equal, used, agree, detail, ours.size)


def _worst(
    broken: np.ndarray,
    ours: np.ndarray,
    theirs: np.ndarray,
    expected: str,
    at: tuple[np.integer, ...] | None = None,
) -> str:
    if at is None:
        at = tuple(np.argwhere(broken)[0])
    index = ", ".join(str(int(i)) for i in at)
    return (
        f"at [{index}]: PyTorch {ours[at]:.9g}, Keras {theirs[at]:.9g}; expected {expected} "
        f"({int(broken.sum())} of {broken.size} elements)"
    )
