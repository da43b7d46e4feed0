"""The verdict on one stage: two frameworks' numbers, one allowance, no tolerance by hand."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import reduce
from itertools import zip_longest
from typing import Any, Literal

import numpy as np

from parity_tests.judge.ulp import ulp_distance, ulp_histogram

__all__ = [
    "Break",
    "Kind",
    "StageResult",
    "exact",
    "merged",
    "no_farther",
    "ulp_distance",
    "ulp_off",
    "within",
]

Kind = Literal["exact", "proven", "double", "rounding"]


@dataclass(frozen=True)
class Break:
    """The element of a stage that breaks worst."""

    at: tuple[int, ...]
    ours: float
    theirs: float
    expected: str
    """What both had to be, in words or numbers."""
    shares: tuple[float, float] | None
    """PyTorch's and Keras's error as shares of what is allowed to each, where each has its own."""
    broken: int
    """How many elements break."""
    elements: int
    part: str = ""
    """Which of several arrays of the stage it is in."""
    digits: int = 9
    """How many tell two numbers of their dtype apart."""

    def __str__(self) -> str:
        return (
            f"{self.part + ' ' if self.part else ''}at [{', '.join(map(str, self.at))}]: "
            f"PyTorch {self.ours:.{self.digits}g}, Keras {self.theirs:.{self.digits}g}; "
            f"expected {self.expected} ({self.broken:,} of {self.elements:,} elements)"
        )


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
    worst: Break | None = None
    """The same as data; None where it agrees, or where shapes or dtypes differ."""
    ulp_histogram: tuple[int, ...] = ()
    """Elements that are 0, 1, 2 to 3, 4 to 7, … ULP apart (`parity_tests.judge.ulp`)."""

    def as_json(self) -> dict[str, Any]:
        """The row as plain data, as `--json` writes it."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in ("detail", "elements", "worst", "ulp_histogram")
        }

    def merge(self, other: StageResult) -> StageResult:
        """The worst of two results, and the share of equal elements in both together."""
        elements = self.elements + other.elements
        equal = self.bitwise_equal * self.elements + other.bitwise_equal * other.elements
        used = [u for u in (self.allowance_used, other.allowance_used) if u is not None]
        broken = [result for result in (self, other) if not result.agree]
        # A stage without an allowance is broken or not; the first that is stands for it.
        shown = max(broken, key=lambda result: result.allowance_used or 0.0, default=self)
        bins = zip_longest(self.ulp_histogram, other.ulp_histogram, fillvalue=0)
        return StageResult(
            self.stage,
            self.kind,
            max(self.max_abs, other.max_abs),
            max(self.max_ulp, other.max_ulp),
            equal / max(elements, 1),
            max(used) if used else None,
            self.agree and other.agree,
            shown.detail,
            elements,
            shown.worst,
            tuple(a + b for a, b in bins),
        )


def merged(stage: str, results: list[StageResult]) -> StageResult:
    """The worst of several results, under one name; their own names tell where it breaks."""
    return replace(reduce(StageResult.merge, map(_naming_its_part, results)), stage=stage)


def _naming_its_part(result: StageResult) -> StageResult:
    if result.worst is None or not result.stage:
        return result
    worst = replace(result.worst, part=result.stage)
    return replace(result, detail=str(worst), worst=worst)


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
    worst = None if equal.all() else _break(~equal, ours, theirs, "the same bits")
    return _result(stage, "exact", ours, theirs, None, worst)


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
    shares = [_shares(came, reference, allowance) for came in (ours, theirs)]
    used = np.maximum(*shares)
    broken = ~(used <= 1)
    worst = None
    if broken.any():
        at = np.unravel_index(int(np.argmax(used)), used.shape)
        expected = f"{reference[at]:.17g} ± {allowance[at]:.3g}"
        own = (float(shares[0][at]), float(shares[1][at]))
        worst = _break(broken, ours, theirs, expected, at, own)
    return _result(stage, kind, ours, theirs, float(used.max(initial=0.0)), worst)


ROUNDING_FACTOR = 2.0
"""How much farther two runs may lie apart than one lies from the truth: if both are equally far
from it, in opposite directions, they are twice as far from each other."""

_DTYPES = {"double": np.dtype(np.float64), "rounding": np.dtype(np.float32)}


def ulp_off(narrow: np.ndarray, wide: np.ndarray) -> float:
    """How far rounding took Keras: the largest distance of a float32 run from a float64 one.

    Args:
        narrow: float32, of Keras.
        wide: float64, of Keras, the same shape.

    Returns:
        In units in the last place that float32 has at the largest number. NaN, with which
        nothing agrees, where the two are not finite in the same places.
    """
    finite = np.isfinite(wide)
    if narrow.shape != wide.shape or not np.array_equal(np.isfinite(narrow), finite):
        return np.nan
    apart = np.abs(narrow[finite].astype(np.float64) - wide[finite]).max(initial=0.0)
    return float(apart / _spacing(wide[finite].astype(np.float32)))


def no_farther(
    stage: str,
    kind: Literal["double", "rounding"],
    ours: np.ndarray,
    theirs: np.ndarray,
    ulp: float,
    terms: int,
    jump: np.ndarray | float = 0.0,
) -> StageResult:
    """Agreement where rounding errors feed back: no farther apart than rounding took Keras.

    Float64 rounds as many times more finely than float32 as its ULP is smaller: in their own
    ULP two float64 runs may be as far apart as two float32 runs.

    Args:
        stage: the row's name.
        kind: `"double"` for runs in float64, `"rounding"` for runs in float32.
        ours: PyTorch's numbers at the end of a run.
        theirs: Keras's, of the same run; the same shape and dtype.
        ulp: what `ulp_off` says of Keras.
        terms: of the longest sum on the way, which each framework takes in its own order, and
            which therefore typically errs by √terms · u (Higham and Mary, SISC 41, 2019), where
            u is half an ULP. The allowance, one for the whole array, is `ROUNDING_FACTOR` times
            the larger of the two, in ULP of the largest number.
        jump: how far each number may jump besides, because it is a step function of numbers
            that rounding may put on either side of a step.
    """
    if {ours.dtype, theirs.dtype} != {_DTYPES[kind]} or ours.shape != theirs.shape:
        return _mismatch(stage, kind, ours, theirs)
    finite = np.isfinite(ours) & np.isfinite(theirs)
    with np.errstate(invalid="ignore"):
        gap = np.abs(ours.astype(np.float64) - theirs)
    off = np.maximum(ulp, math.sqrt(terms) / 2)  # NaN stays NaN
    allowance = ROUNDING_FACTOR * off * _spacing(theirs[finite]) + np.broadcast_to(jump, gap.shape)
    with np.errstate(invalid="ignore"):
        share = np.where(finite, gap / allowance, np.where(_equal(ours, theirs), 0.0, np.inf))
    broken = ~(share <= 1)
    worst = None
    if broken.any():
        at = np.unravel_index(int(np.argmax(share)), gap.shape)
        worst = _break(broken, ours, theirs, f"a difference of {allowance[at]:.3g} at most", at)
    return _result(stage, kind, ours, theirs, float(share[finite].max(initial=0.0)), worst)


def _spacing(values: np.ndarray) -> float:
    """An ULP of the largest number."""
    return float(np.spacing(np.abs(values).max(initial=0)))


_ELEMENTS = 1 << 15  # at a time: what is computed on the way stays in the cache


def _shares(came: np.ndarray, reference: np.ndarray, allowance: np.ndarray) -> np.ndarray:
    """Each error as a share of what is allowed; infinite where it is none of a number."""
    shares = np.empty(reference.shape)
    flat = [array.reshape(-1) for array in (came, reference, allowance, shares)]
    for start in range(0, shares.size, _ELEMENTS):
        x, expected, allowed, share = (array[start : start + _ELEMENTS] for array in flat)
        as_such = _equal(x.astype(np.float64), expected)
        with np.errstate(invalid="ignore", divide="ignore"):
            of_allowed = np.where(as_such, 0.0, np.abs(x - expected) / allowed)
        known = np.isfinite(expected) & ~np.isnan(of_allowed)
        of_allowed = np.where(known, of_allowed, np.where(as_such, 0.0, np.inf))
        share[:] = np.where(np.isposinf(allowed), 0.0, of_allowed)
    return shares


def _equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | ((a != a) & (b != b))


def _form_mismatch(
    stage: str, kind: Kind, ours: np.ndarray, theirs: np.ndarray
) -> StageResult | None:
    if ours.shape == theirs.shape and ours.dtype == theirs.dtype:
        return None
    return _mismatch(stage, kind, ours, theirs)


def _mismatch(stage: str, kind: Kind, ours: np.ndarray, theirs: np.ndarray) -> StageResult:
    forms = f"PyTorch {ours.dtype}{ours.shape}, Keras {theirs.dtype}{theirs.shape}"
    return StageResult(stage, kind, np.inf, np.iinfo(np.int64).max, 0.0, None, False, forms)


def _result(
    stage: str,
    kind: Kind,
    ours: np.ndarray,
    theirs: np.ndarray,
    used: float | None,
    worst: Break | None,
) -> StageResult:
    both = np.isfinite(ours) & np.isfinite(theirs)
    gap = np.abs(ours[both].astype(np.float64) - theirs[both].astype(np.float64))
    if ours.dtype.kind == "f":
        ulp = ulp_distance(ours, theirs)
    else:
        ulp = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
    return StageResult(
        stage,
        kind,
        max_abs=float(gap.max(initial=0.0)),
        max_ulp=int(ulp.max(initial=0)),
        bitwise_equal=float(_equal(ours, theirs).mean()) if ours.size else 1.0,
        allowance_used=used,
        agree=worst is None,
        detail="" if worst is None else str(worst),
        elements=ours.size,
        worst=worst,
        ulp_histogram=ulp_histogram(ulp),
    )


def _break(
    broken: np.ndarray,
    ours: np.ndarray,
    theirs: np.ndarray,
    expected: str,
    at: tuple[np.integer, ...] | None = None,
    shares: tuple[float, float] | None = None,
) -> Break:
    if at is None:
        at = tuple(np.argwhere(broken)[0])
    return Break(
        at=tuple(int(i) for i in at),
        ours=float(ours[at]),
        theirs=float(theirs[at]),
        expected=expected,
        shares=shares,
        broken=int(broken.sum()),
        elements=broken.size,
        digits=17 if ours.dtype == np.float64 else 9,
    )
