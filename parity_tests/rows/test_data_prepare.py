"""The tutorial's steps, recomputed by hand, and rows that are hard enough to be worth it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split

from data import COLUMNS, FEATURES, RAW_FEATURES, DataError, Prepared, prepare, synthetic
from parity_tests.judge import bounds
from parity_tests.judge.agreement import within
from torch_impl import FeatureTransform


@pytest.fixture(scope="module")
def full() -> pd.DataFrame:
    return synthetic(seed=2)


@pytest.fixture(scope="module")
def prepared(full: pd.DataFrame) -> Prepared:
    return prepare(full, seed=2)


@pytest.fixture(scope="module")
def few() -> pd.DataFrame:
    return synthetic(seed=3, rows=20_000, positives=300)


def test_features_are_the_tutorials_steps_by_hand(few: pd.DataFrame) -> None:
    """Split, log, scale and clip written out in NumPy: every split within the bound."""
    rest, test = train_test_split(few, test_size=0.2, random_state=2)
    train, validation = train_test_split(rest, test_size=0.2, random_state=2)
    train_raw = train[list(RAW_FEATURES)].to_numpy()
    prepared = prepare(few, seed=2)
    for rows, split in (
        (train, prepared.train),
        (validation, prepared.validation),
        (test, prepared.test),
    ):
        raw = rows[list(RAW_FEATURES)].to_numpy()
        np.testing.assert_array_equal(split.raw, raw)
        np.testing.assert_array_equal(split.labels[:, 0], rows["Class"])
        by_hand = bounds.standardised(raw, train_raw)
        result = within("features", "proven", split.features, split.features, *by_hand)
        assert result.agree, result.detail
        assert split.features.dtype == split.labels.dtype == np.float32
        assert split.labels.shape == (len(rows), 1)
        assert split.features.flags.c_contiguous
        assert np.abs(split.features).max() == 5


HARD_TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "three-rows": lambda frame: frame.iloc[:3],
    "four-rows": lambda frame: frame.iloc[:4],
    "constant-columns": lambda frame: frame.assign(V1=0.1, V5=0.0, V9=-1e6, Amount=0.3),
    "a-column-of-two-neighbours": lambda frame: frame.assign(
        V3=np.where(frame.index % 2, 1.0, np.nextafter(1.0, 2.0))
    ),
    "tiny-and-large-columns": lambda frame: frame.assign(
        V2=frame["V2"] * 1e-9, V4=frame["V4"] * 1e9
    ),
}


@pytest.mark.parametrize("case", HARD_TABLES)
def test_both_sides_scale_hard_tables_within_the_bound(case: str, few: pd.DataFrame) -> None:
    """scikit-learn here and `FeatureTransform` there: what does not vary keeps its width."""
    prepared = prepare(HARD_TABLES[case](few.head(400)), seed=2)
    transform = FeatureTransform.fit(prepared.train.raw)
    for split in (prepared.train, prepared.validation, prepared.test):
        ours = transform(torch.from_numpy(split.raw)).numpy()
        expected = bounds.standardised(split.raw, prepared.train.raw)
        assert np.isfinite(expected.allowance).all()
        result = within("features", "proven", ours, split.features, *expected)
        assert result.agree, result.detail


@pytest.mark.parametrize("largest", [1e160, 1e308])
def test_numbers_whose_variance_overflows_are_refused(largest: float, few: pd.DataFrame) -> None:
    """One line that names the column, and no warning before it."""
    spoilt = few.assign(V3=np.where(few.index % 2, largest, -largest))
    with pytest.raises(DataError, match=r"column 'V3': its variance overflows \(numbers up to 1e"):
        prepare(spoilt)


def test_features_have_the_order_of_their_names(few: pd.DataFrame) -> None:
    """V1 … V28 and then the log amount, as the scaler was fitted."""
    assert tuple(prepare(few).scaler.feature_names_in_) == FEATURES
    assert FEATURES[-1] == "Log Amount"
    assert (*FEATURES[:-1], "Amount") == RAW_FEATURES


def test_splits_share_no_row_and_lose_none(few: pd.DataFrame) -> None:
    """64, 16 and 20 % of the rows, each row once, frauds counted over all."""
    prepared = prepare(few, seed=2)
    parts = (prepared.train, prepared.validation, prepared.test)
    assert [len(part.features) for part in parts] == [12_800, 3_200, 4_000]
    together = np.sort(np.concatenate([part.raw[:, 0] for part in parts]))
    np.testing.assert_array_equal(together, np.sort(few["V1"]))
    assert sum(part.labels.sum() for part in parts) == prepared.positives == 300
    assert prepared.negatives == 19_700


def test_scaler_sees_the_training_rows_alone(few: pd.DataFrame) -> None:
    """Changing every other row leaves its statistics as they were."""
    prepared, changed = prepare(few, seed=2), few.copy()
    rest, test = train_test_split(changed.index, test_size=0.2, random_state=2)
    _, validation = train_test_split(rest, test_size=0.2, random_state=2)
    changed.loc[test.union(validation), list(RAW_FEATURES)] = 77.0
    again = prepare(changed, seed=2)
    np.testing.assert_array_equal(again.scaler.mean_, prepared.scaler.mean_)
    np.testing.assert_array_equal(again.scaler.scale_, prepared.scaler.scale_)
    np.testing.assert_array_equal(again.train.features, prepared.train.features)


def test_one_seed_gives_one_split_and_another_seed_another(few: pd.DataFrame) -> None:
    """The tutorial leaves the seed open; here it is stated."""
    small = few.head(500)
    first, again, other = prepare(small, 7), prepare(small, 7), prepare(small, 8)
    np.testing.assert_array_equal(first.test.raw, again.test.raw)
    assert not np.array_equal(first.test.raw, other.test.raw)


@pytest.mark.parametrize("rows", [1, 2])
def test_too_few_rows_to_split_are_refused(rows: int, few: pd.DataFrame) -> None:
    """Three are the fewest."""
    with pytest.raises(DataError, match=f"{rows} rows cannot be split in three"):
        prepare(few.head(rows))
    assert len(prepare(few.head(3)).train.features) == 1


def test_synthetic_rows_are_one_seeds_own() -> None:
    """Bit for bit, and different for another seed."""
    first, again, other = (synthetic(s, rows=1000, positives=10) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert not np.array_equal(first["V1"], other["V1"])


@pytest.mark.slow
def test_synthetic_rows_have_the_published_schema_and_counts(full: pd.DataFrame) -> None:
    """284,807 rows, 492 frauds, two days, whole cents, some zero amounts, tails to clip."""
    assert tuple(full.columns) == COLUMNS
    assert np.bincount(full["Class"]).tolist() == [284_315, 492]
    assert full["Time"].is_monotonic_increasing
    assert full["Time"].between(0, 172_792).all()
    amounts = full["Amount"]
    np.testing.assert_array_equal(amounts, amounts.round(2))
    assert (amounts == 0).any()
    assert (amounts >= 0).all()
    v = full[[f"V{i}" for i in range(1, 29)]]
    assert (np.abs(v - v.mean()) > 5 * v.std()).to_numpy().any(axis=0).all()


@pytest.mark.slow
def test_synthetic_frauds_are_neither_obvious_nor_hidden(prepared: Prepared) -> None:
    """A linear model's average precision on the test rows lies between 0.6 and 0.9."""
    train, test = prepared.train, prepared.test
    model = LogisticRegression(max_iter=300).fit(train.features, train.labels.ravel())
    score = average_precision_score(test.labels, model.decision_function(test.features))
    assert 0.6 < score < 0.9


@pytest.mark.parametrize(("rows", "positives"), [(10, 0), (10, 10), (10, 11), (0, 0), (5, -1)])
def test_impossible_counts_are_refused(rows: int, positives: int) -> None:
    """Both classes need a row."""
    with pytest.raises(ValueError, match=f"positives={positives}, rows={rows}"):
        synthetic(0, rows, positives)


@pytest.mark.slow
def test_bias_and_splits_of_the_default_are_the_tutorials(prepared: Prepared) -> None:
    """log(492 / 284315); 80/20, then 80/20, of 284,807 rows."""
    assert f"{math.log(prepared.positives / prepared.negatives):.8f}" == "-6.35935934"
    splits = (prepared.train, prepared.validation, prepared.test)
    assert [split.features.shape for split in splits] == [(182_276, 29), (45_569, 29), (56_962, 29)]
