"""The helpers that give verdicts are themselves right, and can say no."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity_tests.agreement import exact, merged, no_farther, ulp_distance, ulp_off, within

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


def test_ulp_distance_of_float64_does_not_overflow_either() -> None:
    """More numbers than fit into int64 are as many as do; opposite signs add up."""
    one = np.array([2.0, -2.0, 1e308, 5e-324])
    other = np.array([-2.0, 2.0, -1e308, -5e-324])
    most = np.iinfo(np.int64).max
    assert ulp_distance(one, other).tolist() == [most, most, most, 2]


def test_merged_keeps_the_worst() -> None:
    """One bad part makes the whole bad."""
    good, bad = exact("a", f32(1.0), f32(1.0)), exact("b", f32(1.0, 2.0), f32(2.0, 2.0))
    whole = merged("whole", [good, bad, good])
    assert (whole.stage, whole.agree, whole.max_abs) == ("whole", False, 1)
    assert whole.bitwise_equal == 0.75, "three of all four elements"
    assert whole.detail == f"b {bad.detail}", "and its part is named"


KINDS = [("rounding", np.float32), ("double", np.float64)]


@pytest.mark.parametrize(("kind", "dtype"), KINDS)
@pytest.mark.parametrize(
    ("wrong", "agree"),
    [(0, True), (20, True), (21, False), (np.nan, False), (np.inf, False)],
)
def test_two_runs_may_be_twice_as_far_apart_as_rounding_took_keras(
    kind: str, dtype: type, wrong: float, agree: bool
) -> None:
    """In ULP of the largest number, wherever the number stands that is off, and not one more."""
    theirs = np.linspace(1, 4, 40_000, dtype=dtype)  # an ULP of 4 is 8 that of the dtype's u
    for at in (0, 17_123, 39_999):
        ours = theirs.copy()
        ours[at] += dtype(wrong) * np.spacing(dtype(4))
        result = no_farther("s", kind, ours, theirs, 10.0, 4)
        assert result.agree is agree
        assert (result.worst.at == (at,)) if not agree else result.worst is None
        assert no_farther("s", kind, theirs, ours, 10.0, 4).agree is agree


@pytest.mark.parametrize(("kind", "dtype"), KINDS)
def test_what_any_order_of_summation_may_do_is_allowed_where_keras_is_exact(
    kind: str, dtype: type
) -> None:
    """√n ULP, and no more; a step function may jump besides, where it may and nowhere else."""
    theirs = np.ones(3, dtype)
    for terms, ulp, agree in ((16, 4, True), (16, 5, False), (1, 1, True), (1, 2, False)):
        ours = theirs + np.array([0, ulp, 0]) * np.spacing(dtype(1))
        assert no_farther("s", kind, ours.astype(dtype), theirs, 0.0, terms).agree is agree
    ours = theirs + np.array([0, 0.5, 0], dtype)
    assert no_farther("s", kind, ours, theirs, 0.0, 1, np.array([0, 0.5, 0])).agree
    assert not no_farther("s", kind, ours, theirs, 0.0, 1, np.array([0.5, 0, 0])).agree


@pytest.mark.parametrize(("kind", "dtype"), KINDS)
def test_runs_of_another_form_differ(kind: str, dtype: type) -> None:
    """Another dtype, on one side or both, another shape, or a NaN on one side."""
    here, other = np.ones(3, dtype), np.ones(3, KINDS[kind == "rounding"][1])
    for ours, theirs in ((here, other), (other, here), (other, other), (here, here[:2])):
        assert not no_farther("s", kind, ours, theirs, np.inf, 1).agree
    missing = np.array([1, np.nan, 1], dtype)
    assert no_farther("s", kind, missing, missing, 0.0, 1).agree
    assert not no_farther("s", kind, missing, here, 1e9, 1).agree
    assert not no_farther("s", kind, here, here, np.nan, 1).agree, (
        "an unknown distance allows nothing"
    )


def test_how_far_rounding_took_keras_is_counted_in_ulp_of_float32() -> None:
    """By the worst element; runs that are finite in other places say nothing."""
    wide = np.array([1.0, 2.0, -3.0])
    narrow = wide.astype(np.float32)
    assert ulp_off(narrow, wide) == 0
    for at in range(3):
        off = narrow.copy()
        off[at] += np.float32(6 * 2**-22)  # an ULP of 3 is 2**-22
        assert ulp_off(off, wide) == 6
    assert ulp_off(f32(1, np.nan), np.array([1, np.nan])) == 0
    assert np.isnan(ulp_off(f32(1, np.nan), np.array([1.0, 2.0])))
    assert np.isnan(ulp_off(f32(1, 2), np.array([1.0, np.inf])))
    assert np.isnan(ulp_off(f32(1, 2), np.array([1.0])))
