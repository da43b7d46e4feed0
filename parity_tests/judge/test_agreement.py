"""The helpers that give verdicts are themselves right, and can say no."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity_tests.judge.agreement import (
    StageResult,
    exact,
    merged,
    no_farther,
    ulp_distance,
    ulp_off,
    within,
)


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@given(st.floats(-(2.0**127), 2.0**127, width=32), st.integers(0, 50))
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


def test_ulp_distance_of_float64_does_not_overflow_either() -> None:
    """More numbers than fit into int64 are as many as do; opposite signs add up."""
    one = np.array([2.0, -2.0, 1e308, 5e-324])
    other = np.array([-2.0, 2.0, -1e308, -5e-324])
    most = np.iinfo(np.int64).max
    assert ulp_distance(one, other).tolist() == [most, most, most, 2]


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
    assert ulp_off(f32(), np.array([])) == 0
    assert np.isnan(ulp_off(f32(1, np.nan), np.array([1.0, 2.0])))
    assert np.isnan(ulp_off(f32(1, 2), np.array([1.0, np.inf])))
    assert np.isnan(ulp_off(f32(1, 2), np.array([1.0])))


BLOCK = 2**15  # of numbers that are judged at a time


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, BLOCK + 1, 2 * BLOCK + 2])
def test_each_number_is_judged_wherever_it_stands(size: int, dtype: type) -> None:
    """On both sides, in both directions: the whole allowance passes, one float more does not."""
    places = {0, size // 2, size - 1, *(at for at in (BLOCK - 1, 2 * BLOCK) if at < size)}
    right, allowance = np.zeros(size, dtype), np.ones(size)
    for at, wrong in zip(sorted(places), itertools.cycle([dtype(1), dtype(-1)]), strict=False):
        off = right.copy()
        off[at] = wrong
        result = within("s", "proven", off, right, right.astype(float), allowance)
        assert (result.agree, result.allowance_used) == (True, 1)
        off[at] = np.nextafter(wrong, wrong + wrong)
        for pair in ((off, right), (right, off)):
            result = within("s", "proven", *pair, right.astype(float), allowance)
            assert not result.agree
            assert (result.worst.at, result.worst.broken, result.elements) == ((at,), 1, size)
        assert not exact("s", off, right).agree


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(np.ones((2, 3)), np.ones((3, 2)), id="transposed"),
        pytest.param(np.ones((2, 3)), np.ones(6), id="flat"),
        pytest.param(np.ones((2, 3)), np.ones((1, 3)), id="would-broadcast"),
        pytest.param(np.ones((2, 3)), np.ones((2, 3), np.float32), id="narrower"),
        pytest.param(np.ones((2, 3), np.float32), np.ones((2, 3)), id="wider"),
        pytest.param(np.ones((2, 3), np.float16), np.ones((2, 3), np.float32), id="half"),
        pytest.param(np.ones((2, 3), np.int32), np.ones((2, 3), np.int64), id="integers"),
    ],
)
def test_another_form_is_no_agreement_of_any_kind(ours: np.ndarray, theirs: np.ndarray) -> None:
    """However equal the numbers are; both forms are told, and nothing else."""
    told = f"PyTorch {ours.dtype}{ours.shape}, Keras {theirs.dtype}{theirs.shape}"
    most = np.iinfo(np.int64).max
    for kind, result in {
        "exact": exact("s", ours, theirs),
        "proven": within("s", "proven", ours, theirs, ours.astype(float), np.ones(ours.shape)),
        "rounding": no_farther("s", "rounding", ours, theirs, np.inf, 1),
        "double": no_farther("s", "double", ours, theirs, np.inf, 1),
    }.items():
        assert result == StageResult("s", kind, np.inf, most, 0.0, None, False, told)


@pytest.mark.parametrize(
    ("one", "other", "ulp"),
    [
        (np.float64(1), np.nextafter(1.0, 2.0), 1),
        (np.float64(1e300), np.nextafter(1e300, np.inf), 1),
        (np.float32(1), np.nextafter(np.float32(1), np.float32(0)), 1),
        (np.float16(1), np.nextafter(np.float16(1), np.float16(0)), 1),
        (np.float32(0), np.float32(2.0**-149), 1),
        (np.int64(2**53), np.int64(2**53 + 1), 1),
        (np.int64(5), np.int64(-2), 7),
        (np.float32(np.nan), np.float32(np.inf), np.iinfo(np.int64).max),
        (np.float32(np.inf), np.float32(-np.inf), 2 * 0x7F800000),
    ],
)
def test_exact_sees_the_least_difference(one: Any, other: Any, ulp: int) -> None:
    """Of every dtype; both are told with as many digits as tell them apart."""
    ours, theirs = np.array([one, one, one]), np.array([one, other, one])
    result = exact("s", ours, theirs)
    assert not result.agree
    assert (result.worst.at, result.worst.broken, result.max_ulp) == ((1,), 1, ulp)
    assert result.bitwise_equal == 2 / 3
    assert result.worst.expected == "the same bits"
    if ours.dtype.kind == "f" and np.isfinite(other):
        assert len(set(re.findall(r"(?:PyTorch|Keras) (\S+)[,;]", str(result.worst)))) == 2
    assert exact("s", ours, ours.copy()).agree


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (np.float32(1 - 2.0**-24), "PyTorch 0.99999994, Keras 1"),
        (np.float64(1 + 2.0**-52), "PyTorch 1.0000000000000002, Keras 1"),
        (np.int64(2), "PyTorch 2, Keras 1"),
    ],
)
def test_a_break_is_told_with_its_place_and_both_numbers(ours: Any, said: str) -> None:
    """By as many digits as tell any two of the dtype apart, and no more."""
    pair = np.full((2, 3), ours), np.ones((2, 3), ours.dtype)
    pair[0][:, :2] = 1
    told = f"at [0, 2]: {said}; expected the same bits (2 of 6 elements)"
    assert str(exact("s", *pair).worst) == exact("s", *pair).detail == told
    assert merged("s", [exact("a", *pair)]).detail == f"a {told}"


def test_of_several_numbers_that_break_the_worst_is_told() -> None:
    """Not the first."""
    theirs = np.zeros(4, np.float32)
    theirs[3] = 1
    ours = theirs + np.float32([1, 0, 3, 2])
    for result in (
        within("s", "proven", ours, theirs, theirs.astype(float), np.array([0.5, 1, 0.5, 1])),
        no_farther("s", "rounding", ours, theirs, 1.0, 1),
    ):
        assert (result.worst.at, result.worst.broken) == ((2,), 3)


def test_equal_numbers_are_equal_bits_but_for_zeros_and_nan() -> None:
    """-0 equals 0, NaN equals NaN, of other bits too; nothing at all agrees."""
    bits = np.array([0x80000000, 0x7FC00001, 0x7F800000], np.uint32)
    ours = bits.view(np.float32)
    result = exact("s", ours, f32(0, np.nan, np.inf))
    assert result.agree
    assert (result.max_abs, result.max_ulp, result.bitwise_equal) == (0, 0, 1)
    nothing = np.zeros((0, 3), np.float32)
    for result in (
        exact("s", nothing, nothing),
        within("s", "proven", nothing, nothing, nothing.astype(float), nothing.astype(float)),
        no_farther("s", "rounding", nothing, nothing, 0.0, 1),
    ):
        assert (result.agree, result.elements, result.bitwise_equal) == (True, 0, 1)
        assert (result.max_abs, result.max_ulp, result.worst) == (0, 0, None)


def test_an_infinite_allowance_frees_its_number_alone() -> None:
    """Whatever comes there; at its neighbours all that is demanded is demanded."""
    reference = np.array([1.0, np.inf, np.nan, 2.0, 3.0])
    allowance = np.array([np.inf, 0, 0, 0.5, 0])
    right = f32(7, np.inf, np.nan, 2, 3)
    for anything in (np.nan, np.inf, -3.0):
        free = right.copy()
        free[0] = anything
        result = within("s", "proven", free, right, reference, allowance)
        assert (result.agree, result.allowance_used) == (True, 0)
        for at, wrong in (
            (1, -np.inf), (1, 3e38), (2, 5.0), (2, np.inf), (3, np.nan), (3, np.inf), (3, 2.75),
            (4, 3 + 2**-21),
        ):  # fmt: skip
            broken = free.copy()
            broken[at] = wrong
            for pair in ((broken, right), (right, broken)):
                result = within("s", "proven", *pair, reference, allowance)
                assert not result.agree
                assert result.worst.at == (at,)


def test_the_share_is_of_the_side_that_errs_more() -> None:
    """And the element that breaks is the one which errs most for what it may."""
    reference, allowance = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[4.0, 1.0], [0.5, 1.0]])
    ours, theirs = f32(2, 2, 3.125, 4).reshape(2, 2), f32(1, 2.5, 3, 4).reshape(2, 2)
    for pair in ((ours, theirs), (theirs, ours)):
        result = within("s", "proven", *pair, reference, allowance)
        assert (result.agree, result.allowance_used, result.max_abs) == (True, 0.5, 1)
    theirs[1, 0] = 4
    result = within("s", "proven", ours, theirs, reference, allowance)
    assert (result.allowance_used, result.worst.at, result.worst.shares) == (2, (1, 0), (0.25, 2))
    assert (result.worst.ours, result.worst.theirs) == (3.125, 4)
    assert result.worst.expected == "3 ± 0.5"


@pytest.mark.parametrize("verdicts", list(itertools.product([True, False], repeat=3)))
def test_several_parts_agree_where_each_does(verdicts: tuple[bool, ...]) -> None:
    """The first of them that breaks is named, and every number counts once."""
    parts = [
        exact(name, f32(*range(size)), f32(*range(size - 1), size - 1 + (not good)))
        for name, size, good in zip("abc", (1, 2, 5), verdicts, strict=True)
    ]
    whole = merged("whole", parts)
    assert whole.agree is all(verdicts)
    assert (whole.stage, whole.kind, whole.elements) == ("whole", "exact", 8)
    assert whole.bitwise_equal == (8 - verdicts.count(False)) / 8
    assert whole.max_abs == (0 if whole.agree else 1)
    assert whole.max_ulp == max(part.max_ulp for part in parts)
    assert sum(whole.ulp_histogram) == 8
    if whole.agree:
        assert (whole.detail, whole.worst) == ("", None)
    else:
        assert whole.worst.part == "abc"[verdicts.index(False)]
        assert whole.detail == str(whole.worst)


def test_of_several_parts_the_largest_share_is_told() -> None:
    """Of those that have one; and of parts that break, where the largest stands."""
    zero, half, one = (np.array([x]) for x in (0.0, 0.5, 1.0))
    parts = [within("", "proven", x, zero, zero, one) for x in (half, zero)]
    assert merged("s", parts).allowance_used == merged("s", parts[::-1]).allowance_used == 0.5
    bits = exact("bits", zero, zero)
    assert merged("s", [bits, *parts]).allowance_used == 0.5
    assert merged("s", [bits, bits]).allowance_used is None
    worse, bad = (
        within(name, "proven", x * one, zero, zero, half) for name, x in (("w", 4), ("b", 1))
    )
    for order in ([bad, worse, parts[0]], [parts[0], worse, bad]):
        whole = merged("s", order)
        assert (whole.allowance_used, whole.worst.part, whole.agree) == (8, "w", False)
    assert merged("s", [within("", "proven", one, zero, zero, half)]).worst.part == ""


@pytest.mark.parametrize(("kind", "dtype"), KINDS)
def test_the_ulp_of_two_runs_is_that_of_keras_largest_number(kind: str, dtype: type) -> None:
    """Ours is larger by an ULP that is twice as large, and does not widen what it may."""
    below = np.nextafter(dtype(4), dtype(0))
    theirs = np.array([1, below, -2], dtype)
    ulp = np.spacing(below)
    for wrong, agree in ((19, True), (21, False), (37, False)):
        ours = theirs + np.array([0, wrong, 0], dtype) * ulp
        assert no_farther("s", kind, ours, theirs, 10.0, 4).agree is agree
    ours = theirs + np.array([0, 0, 20], dtype) * ulp
    result = no_farther("s", kind, ours, theirs, 10.0, 4)
    assert (result.agree, result.allowance_used) == (True, 1)
    ours[1] = -ours[1]
    result = no_farther("s", kind, ours, theirs, 10.0, 4)
    assert result.worst.at == (1,)
    assert result.worst.expected == f"a difference of {20 * float(ulp):.3g} at most"
    assert (result.worst.broken, result.worst.elements) == (1, 3)


@pytest.mark.parametrize(("kind", "dtype"), KINDS)
def test_two_runs_are_no_number_in_the_same_places(kind: str, dtype: type) -> None:
    """And of the same kind; beside that place the rest is compared."""
    theirs = np.array([1, np.nan, np.inf, -np.inf, 2], dtype)
    result = no_farther("s", kind, theirs.copy(), theirs, 0.0, 1)
    assert (result.agree, result.allowance_used) == (True, 0)
    for at, wrong in (
        (1, 1.0),
        (1, np.inf),
        (2, 1.0),
        (2, -np.inf),
        (3, np.nan),
        (4, 2.5),
        (0, 1.5),
    ):
        ours = theirs.copy()
        ours[at] = wrong
        for pair in ((ours, theirs), (theirs, ours)):
            result = no_farther("s", kind, *pair, 1.0, 1)
            assert not result.agree
            assert result.worst.at == (at,)


def test_a_row_as_data_has_what_the_report_writes() -> None:
    """And no more: neither its element nor its histogram."""
    row = exact("s", f32(1), f32(1)).as_json()
    assert row == {
        "stage": "s", "kind": "exact", "max_abs": 0, "max_ulp": 0, "bitwise_equal": 1,
        "allowance_used": None, "agree": True,
    }  # fmt: skip
