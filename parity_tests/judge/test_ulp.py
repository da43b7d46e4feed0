"""Distances in floats, their histogram, and the element that a stage breaks worst at."""

from __future__ import annotations

import numpy as np

from parity_tests.judge.agreement import exact, merged, within
from parity_tests.judge.ulp import ulp_distance, ulp_histogram


def test_histogram_has_a_bin_for_each_power_of_two() -> None:
    """0, 1, 2 to 3, 4 to 7, … and 2**62 to the largest int64, which stands for one NaN."""
    distances = np.array([[0, 0, 0, 1], [2, 3, 4, 7], [8, 2**24 - 1, 2**24, 0]])
    histogram = ulp_histogram(distances)
    assert histogram[:5] == (4, 1, 2, 2, 1)
    assert histogram[24:] == (1, 1)
    assert sum(histogram) == distances.size
    one_nan = ulp_distance(np.float32([np.nan]), np.float32([1]))
    assert ulp_histogram(one_nan)[-1] == 1
    assert ulp_histogram(np.zeros(0, np.int64)) == (0,)


def test_stage_counts_every_element_in_its_histogram() -> None:
    """Parts of different largest distance are added bin by bin; integers count their steps."""
    near, far = np.float32([1, 1]), np.float32([1, np.nextafter(np.float32(1), np.float32(2))])
    stage = merged("s", [exact("a", near, near), exact("b", near, far)])
    assert stage.ulp_histogram == (3, 1)
    assert exact("i", np.array([1, 5]), np.array([1, 8])).ulp_histogram == (1, 0, 1)


def test_worst_element_is_told_with_its_part_and_each_frameworks_share() -> None:
    """Of all parts that break, the one that used most of its allowance."""
    reference, allowance = np.array([1.0, 2.0]), np.array([0.5, 0.5])
    right = np.float32([1, 2])
    parts = [
        within("dense/bias", "proven", right, np.float32([1, 3]), reference, allowance),
        within("dense/kernel", "proven", np.float32([5, 2]), right, reference, allowance),
        within("dense_1/bias", "proven", right, right, reference, allowance),
    ]
    stage = merged("weights", parts)
    assert not stage.agree
    worst = stage.worst
    assert (worst.part, worst.at, worst.ours, worst.theirs) == ("dense/kernel", (0,), 5, 1)
    assert worst.shares == (8, 0)
    assert (worst.broken, worst.elements) == (1, 2)
    assert stage.detail == str(worst)
    assert stage.detail.startswith("dense/kernel at [0]: PyTorch 5, Keras 1; expected 1 ± 0.5")
    assert parts[2].worst is None
