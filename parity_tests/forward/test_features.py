"""FeatureTransform gives what pandas and scikit-learn give on the same rows."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.preprocessing import StandardScaler

from parity_tests.judge import bounds
from parity_tests.judge.agreement import within
from torch_impl import FeatureTransform, FraudClassifier


def raw_rows(n: int = 5000, seed: int = 0) -> np.ndarray:
    """Columns of very different size, heavy tails, an amount of 0 and some beyond the clip."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_t(3, size=(n, 29)) * np.geomspace(1e-3, 1e5, 29) + np.arange(29)
    rows[:, -1] = np.round(np.exp(rng.normal(3, 2, n)), 2)
    rows[0, -1] = 0.0
    return rows


def by_pandas_and_sklearn(raw: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The tutorial's own lines."""

    def cleaned(rows: np.ndarray) -> pd.DataFrame:
        frame = pd.DataFrame(rows, columns=[f"V{i}" for i in range(1, 29)] + ["Amount"])
        frame["Log Amount"] = np.log(frame.pop("Amount") + 0.001)
        return frame

    scaler = StandardScaler().fit(cleaned(train))
    return np.clip(scaler.transform(cleaned(raw)), -5, 5).astype(np.float32)


@pytest.mark.parametrize(
    "as_input",
    [
        pytest.param(np.asarray, id="array"),
        pytest.param(torch.from_numpy, id="tensor"),
        pytest.param(np.ndarray.tolist, id="nested-list"),
        pytest.param(np.asfortranarray, id="fortran-array"),
    ],
)
def test_fitted_transform_agrees_with_pandas_and_sklearn(as_input: Callable) -> None:
    """Statistics measured by torch itself; every feature within the proven bound."""
    train, test = raw_rows(), raw_rows(777, seed=1)
    transform = FeatureTransform.fit(as_input(train))
    for rows in (train, test):
        ours = transform(torch.from_numpy(rows)).numpy()
        theirs = by_pandas_and_sklearn(rows, train)
        result = within("features", "proven", ours, theirs, *bounds.standardised(rows, train))
        assert result.agree, result.detail
        assert (np.abs(ours) == 5).any(), "the clip is exercised"


def test_transform_takes_the_numbers_of_a_fitted_scaler() -> None:
    """`from_scaler` holds scikit-learn's statistics to the bit."""
    train = raw_rows()
    logged = train.copy()
    logged[:, -1] = np.log(train[:, -1] + 0.001)
    scaler = StandardScaler().fit(logged)
    transform = FeatureTransform.from_scaler(scaler)
    np.testing.assert_array_equal(transform.mean.numpy(), scaler.mean_)
    np.testing.assert_array_equal(transform.scale.numpy(), scaler.scale_)
    theirs = by_pandas_and_sklearn(train, train)
    ours = transform(torch.from_numpy(train)).numpy()
    result = within("features", "proven", ours, theirs, *bounds.standardised(train, train))
    assert result.agree, result.detail


def test_constant_columns_get_scale_one_as_in_sklearn() -> None:
    """Also a column that is constant but for rounding; a tiny but real spread is kept."""
    rows = raw_rows(200)
    rows[:, 3] = 0.1
    rows[:, 4] = 0.0
    rows[:, 5] = np.where(np.arange(200) % 2, 1e6, np.nextafter(1e6, 2e6))
    rows[:, 6] = 1e-9 * np.arange(200)
    logged = rows.copy()
    logged[:, -1] = np.log(rows[:, -1] + 0.001)
    theirs = StandardScaler().fit(logged).scale_
    ours = FeatureTransform.fit(rows).scale.numpy()
    np.testing.assert_array_equal(ours[[3, 4, 5]], [1, 1, 1])
    np.testing.assert_array_equal(theirs[[3, 4, 5]], [1, 1, 1])
    np.testing.assert_array_equal(ours == 1, theirs == 1)


@pytest.mark.parametrize(
    "options",
    [{"clip": 2.0}, {"log_column": None}, {"log_column": 0}],
    ids=["clip-2", "no-logarithm", "logarithm-of-the-first-column"],
)
def test_options_change_the_steps_they_name(options: dict[str, float]) -> None:
    """Each agrees with the same option in NumPy and scikit-learn, in float64."""
    rows = np.abs(raw_rows(300))
    expected = bounds.standardised(rows, rows, **options, u=bounds.U64)
    logged = rows.copy()
    if options.get("log_column", -1) is not None:
        column = options.get("log_column", -1)
        logged[:, column] = np.log(rows[:, column] + 0.001)
    clip = options.get("clip", 5.0)
    theirs = np.clip(StandardScaler().fit_transform(logged), -clip, clip)
    ours = FeatureTransform.fit(rows, **options).double()(torch.from_numpy(rows)).numpy()
    result = within("features", "proven", ours, theirs, *expected)
    assert result.agree, result.detail
    usual = FeatureTransform.fit(rows).double()(torch.from_numpy(rows)).numpy()
    assert not np.array_equal(ours, usual), "the option does something"


def test_statistics_stay_float64_and_the_output_follows_to() -> None:
    """`.to(dtype)` of a pipeline converts what comes out, not what was measured."""
    rows = torch.from_numpy(raw_rows(100))
    transform = FeatureTransform.fit(rows)
    measured = transform.mean.clone()
    pipeline = torch.nn.Sequential(transform, FraudClassifier())
    for dtype in (torch.float32, torch.float64, torch.float16, torch.float32):
        pipeline.to(dtype)
        assert transform(rows).dtype == dtype
        assert pipeline(rows).dtype == dtype
        assert transform.mean.dtype == torch.float64
        assert torch.equal(transform.mean, measured)
        exact = copy.deepcopy(transform).double()(rows).numpy()
        rounded = exact.astype(str(dtype).removeprefix("torch."))
        np.testing.assert_array_equal(transform(rows).numpy(), rounded, strict=True)


@pytest.mark.parametrize(
    "duplicate",
    [
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(lambda m: pickle.loads(pickle.dumps(m)), id="pickle"),
        pytest.param(
            lambda m: torch.compile(m, backend="aot_eager", fullgraph=True),
            id="torch.compile",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_duplicate_gives_the_same_features(duplicate: Callable) -> None:
    """However a PyTorch project copies or compiles it."""
    rows = torch.from_numpy(raw_rows(50))
    transform = FeatureTransform.fit(rows)
    assert torch.equal(duplicate(transform)(rows), transform(rows))


@pytest.mark.parametrize(
    "options",
    [{}, {"clip": 2.5, "log_column": None}, {"log_column": 0, "log_offset": 0.1, "clip": np.inf}],
    ids=["usual", "no-logarithm", "another-column"],
)
def test_a_transform_travels_in_the_state_dict(options: dict[str, Any], tmp_path: Path) -> None:
    """Loading it makes another transform the same, options too; through a file as well."""
    rows = torch.from_numpy(np.abs(raw_rows(50)))
    fitted = FeatureTransform.fit(rows, **options)
    assert sorted(fitted.state_dict()) == ["_extra_state", "mean", "scale"]
    save_file(fitted.state_dict(), tmp_path / "t.safetensors")
    for state in (fitted.state_dict(), load_file(tmp_path / "t.safetensors")):
        blank = FeatureTransform([0.0] * 29, [1.0] * 29, clip=9.0, log_column=3, log_offset=7.0)
        blank.load_state_dict(state)
        assert repr(blank) == repr(fitted)
        assert torch.equal(blank(rows), fitted(rows))


def test_a_state_dict_without_options_is_not_loaded_in_silence() -> None:
    """One that says nothing of them, or no options of this transform."""
    blank = FeatureTransform([0.0] * 29, [1.0] * 29)
    state = blank.state_dict()
    with pytest.raises(RuntimeError, match="_extra_state"):
        blank.load_state_dict({name: state[name] for name in ("mean", "scale")})
    for wrong in (
        [5.0, 29.0, 0.001],
        [0.0, 1.0, 0.001],
        [5.0, 1.0],
        [5.0, np.inf, 1.0],
        [5, 1, np.inf],
    ):
        spoilt_state = state | {"_extra_state": torch.tensor(wrong)}
        with pytest.raises(ValueError, match="FeatureTransform: "):
            blank.load_state_dict(spoilt_state)


def test_missing_number_stays_visible() -> None:
    """NaN in, NaN out: clip does not hide it; infinities are clipped."""
    transform = FeatureTransform([0.0, 0.0], [1.0, 1.0], log_column=None)
    out = transform(torch.tensor([[float("nan"), float("inf")]]))
    assert out[0, 0].isnan()
    assert out[0, 1] == 5


@pytest.mark.parametrize("form", [np.asarray, torch.tensor], ids=["array", "tensor"])
def test_float32_rows_are_measured_and_scaled_in_float64(form: Any) -> None:
    """The same bits as for the same numbers in float64."""
    rows = np.random.default_rng(3).lognormal(3, 2, (500, 3)).astype(np.float32)
    ours, exact = FeatureTransform.fit(form(rows)), FeatureTransform.fit(rows.astype(np.float64))
    assert torch.equal(ours.mean, exact.mean)
    assert torch.equal(ours.scale, exact.scale)
    table = torch.from_numpy(rows)
    assert torch.equal(ours.double()(table), exact.double()(table.double()))


def test_options_reach_the_transform_from_every_constructor() -> None:
    """Clip, column and offset, and the mean is that of the logarithm with this offset."""
    rows = np.array([[1.0, 2.0], [3.0, 5.0]])
    options = {"clip": 0.5, "log_column": 0, "log_offset": 0.25}
    fitted = FeatureTransform.fit(rows, **options)
    expected = np.log(rows[:, 0] + 0.25).mean()
    assert abs(fitted.mean[0] - expected) <= bounds.gamma(20, bounds.U64) * abs(expected)

    class Scaler:
        mean_, scale_ = fitted.mean, fitted.scale

    for transform in (fitted, FeatureTransform.from_scaler(Scaler(), **options)):
        found = {name: getattr(transform, name) for name in options}
        assert found == options


def test_a_column_that_varies_by_a_hundred_millionth_is_not_constant() -> None:
    """Far more than rounding can leave, and its scale is half of what the two lie apart."""
    column = 1 + np.array([[2.0**-26], [-(2.0**-26)]])
    scale = FeatureTransform.fit(column, log_column=None).scale.item()
    assert scale == 2.0**-26
