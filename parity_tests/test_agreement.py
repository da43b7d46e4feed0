"""The helpers that give verdicts are themselves right, and can say no."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity_tests.agreement import exact, merged, ulp_distance, within, within_rounding

FLOATS = st.floats(width=32, allow_nan=False)


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@given(FLOATS.filter(lambda x: abs(x) < 3e38), st.integers(0, 50))
def test_ulp_distance_counts_steps_of_nextafter(value: float, steps: int) -> None:
    """n steps of `nextafter` are n ULP, across zero and powers of two too."""
    start = f32(value)
    end = start
    for _ in range(steps):
        end = np.nextafter(end, np.float32(np.inf))
    assert ulp_distance(start, end) == steps


def test_ulp_distance_of_special_values() -> None:
    """Zeros of both signs are one number, NaN is next to nothing but NaN."""
    a = f32(0.0, np.nan, np.nan, np.inf, 1.0)
    b = f32(-0.0, np.nan, 1.0, np.finfo(np.float32).max, 1.0)
    assert ulp_distance(a, b).tolist() == [0, 0, np.iinfo(np.int64).max, 1, 0]


def test_ulp_distance_from_lowest_to_highest_does_not_overflow() -> None:
    """The two ends of float32 lie 2 * 0x7f800000 steps apart."""
    assert ulp_distance(f32(-np.inf), f32(np.inf)) == 2 * 0x7F800000


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(f32(1.0), np.array([1.0]), id="another-dtype"),
        pytest.param(f32(1.0), f32(1.0, 1.0), id="another-length"),
        pytest.param(f32(1.0), f32(1.0)[:, None], id="shape-that-would-broadcast"),
        pytest.param(f32(1.0), f32(np.nextafter(np.float32(1), np.float32(2))), id="one-ulp"),
        pytest.param(f32(np.nan), f32(1.0), id="nan-on-one-side"),
        pytest.param(f32(np.inf), f32(-np.inf), id="opposite-infinities"),
    ],
)
def test_exact_refuses(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Anything but the same shape, dtype and numbers differs, and says so."""
    result = exact("stage", ours, theirs)
    assert not result.agree
    assert result.detail


@pytest.mark.parametrize(
    ("ours", "reference", "allowance"),
    [
        pytest.param(1.5, 1.0, 0.4, id="error-above-allowance"),
        pytest.param(1.0 + 2**-20, 1.0, 0.0, id="any-error-where-none-is-allowed"),
        pytest.param(np.nan, 1.0, 0.4, id="nan-for-a-number"),
        pytest.param(1.0, np.nan, 0.4, id="a-number-for-nan"),
        pytest.param(np.inf, 1.0, 0.4, id="infinity-for-a-number"),
        pytest.param(3e38, np.inf, 0.4, id="a-number-for-infinity"),
        pytest.param(-np.inf, np.inf, 0.4, id="wrong-infinity"),
    ],
)
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_within_refuses(ours: float, reference: float, allowance: float, side: str) -> None:
    """Either framework outside its allowance, or non-finite otherwise, differs."""
    good, bad = f32(reference, 2.0), f32(ours, 2.0)
    pair = (bad, good) if side == "ours" else (good, bad)
    result = within("stage", "proven", *pair, np.array([reference, 2.0]), np.array([allowance, 1]))
    assert not result.agree
    assert "[0]" in result.detail


def test_within_accepts_and_reports_the_share_used() -> None:
    """The share is the larger of both frameworks' errors over the allowance."""
    result = within(
        "stage", "proven", f32(1.25, np.nan, np.inf), f32(0.5, np.nan, np.inf),
        np.array([1.0, np.nan, np.inf]), np.array([1.0, 0.0, 0.0]),
    )  # fmt: skip
    assert result.agree
    assert result.allowance_used == 0.5
    assert result.max_abs == 0.75


def test_within_claims_nothing_where_the_allowance_is_infinite() -> None:
    """An overflow whose outcome depends on the order of summation may be anything."""
    assert within(
        "stage", "proven", f32(np.nan), f32(np.inf), np.array([1e39]), np.array([np.inf])
    ).agree


def test_merged_keeps_the_worst() -> None:
    """One bad part makes the whole bad."""
    good, bad = exact("a", f32(1.0), f32(1.0)), exact("b", f32(1.0, 2.0), f32(2.0, 2.0))
    whole = merged("whole", [good, bad, good])
    assert (whole.stage, whole.agree, whole.max_abs) == ("whole", False, 1)
    assert whole.bitwise_equal == 0.75, "three of all four elements"
    assert whole.detail == f"b {bad.detail}", "and its part is named"


@pytest.mark.parametrize(
    ("ours", "agree"),
    [
        pytest.param([1.0, 2.0], True, id="the-same"),
        pytest.param([1.0, 2.0 + 3e-3], True, id="twice-keras-own-distance"),
        pytest.param([1.0, 2.0 + 6e-3], False, id="farther"),
        pytest.param([1.0, np.nan], False, id="nan-for-a-number"),
        pytest.param([1.0, np.inf], False, id="infinity-for-a-number"),
    ],
)
def test_rounding_is_measured_by_keras_own_distance_from_float64(
    ours: list[float], agree: bool
) -> None:
    """Keras lies 2e-3 from float64 in its worst element: 4e-3 are allowed everywhere."""
    result = within_rounding("s", f32(*ours), f32(1.0, 2.0), [np.array([1.0, 2.002])])
    assert result.agree is agree
    assert bool(result.detail) is not agree


def test_rounding_is_measured_by_the_farthest_yardstick() -> None:
    """In whichever order they come; a NaN in some of the runs alone is no agreement."""
    near, far, nan = np.array([1.0, 2.001]), np.array([1.004, 2.0]), np.array([1.0, np.nan])
    for yardsticks in ([near, far], [far, near]):
        assert within_rounding("s", f32(1.0, 2.007), f32(1.0, 2.0), yardsticks).agree
        assert not within_rounding("s", f32(1.0, 2.009), f32(1.0, 2.0), yardsticks).agree
    assert not within_rounding("s", f32(1.0, 2.0), f32(1.0, 2.0), [near, nan]).agree
    assert not within_rounding("s", f32(1.0, 2.0), f32(1.0, np.nan), [nan]).agree
    assert within_rounding("s", f32(1.0, np.nan), f32(1.0, np.nan), [nan]).agree


def test_rounding_allows_a_few_ulp_where_keras_is_exact() -> None:
    """And no more."""
    one = np.float32(1)
    near, far = one + 4 * np.spacing(one), one + 5 * np.spacing(one)
    assert within_rounding("s", f32(near), f32(1.0), [np.array([1.0])]).agree
    assert not within_rounding("s", f32(far), f32(1.0), [np.array([1.0])]).agree
