"""The forward pass agrees for any shape, any weights and any numbers, non-finite too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from parity_tests.judge import bounds
from parity_tests.judge.agreement import within
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import since
from parity_tests.sides.torch_side import classifier, forward_stages

Case = tuple[np.ndarray, dict[str, np.ndarray]]


def float32(largest: float, special: bool) -> st.SearchStrategy[float]:
    finite = st.floats(-largest, largest, width=32)
    return st.one_of(finite, st.sampled_from([np.nan, np.inf, -np.inf])) if special else finite


@st.composite
def cases(draw: st.DrawFn, largest: float, special: bool = False) -> Case:
    """Features and weights of odd sizes, the square one and single rows and columns."""
    inputs, units = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    units = inputs if draw(st.booleans()) else units
    rows = draw(st.sampled_from([1, 2, 3, 7, 33, 0]))
    fill = st.floats(-4, 4, width=32)

    def table(*shape: int, special: bool = False) -> np.ndarray:
        return draw(arrays(np.float32, shape, elements=float32(largest, special), fill=fill))

    weights = {
        "dense/kernel": table(inputs, units),
        "dense/bias": table(units),
        "dense_1/kernel": table(units, 1),
        "dense_1/bias": table(1),
    }
    return table(rows, inputs, special=special), weights


def assert_stages_agree(ours: dict, theirs: dict, case: Case) -> None:
    features, weights = case
    for stage, bound in bounds.forward(bounds.exactly(features), weights).items():
        result = within(stage, "proven", ours[stage], theirs[stage], *bound)
        assert result.agree, f"{stage}: {result.detail}"


@pytest.mark.parametrize(
    "largest", [2.0**-100, 4.0, 2.0**20, 2.0**60, float(np.finfo(np.float32).max)]
)
@settings(max_examples=10)
@given(data=st.data())
def test_keras_and_torch_stay_within_the_bound(
    largest: float, data: st.DataObject, keras: KerasProcess
) -> None:
    """From underflow to overflow, batch sizes 0, 1 and odd."""
    features, weights = case = data.draw(cases(largest))
    theirs = keras.call("forward.op_by_op_stages", weights, features)
    assert_stages_agree(forward_stages(classifier(weights), features), theirs, case)


@settings(max_examples=20)
@given(case=cases(4.0, special=True))
def test_non_finite_features_give_the_same_non_finite_stages(
    case: Case, keras: KerasProcess
) -> None:
    """NaN stays NaN and infinities keep their sign, stage by stage, in both frameworks."""
    features, weights = case
    theirs = keras.call("forward.op_by_op_stages", weights, features)
    assert_stages_agree(forward_stages(classifier(weights), features), theirs, case)


def test_keras_predict_hides_nan_and_torch_shows_it(keras: KerasProcess) -> None:
    """`predict` fuses the hidden layer with oneDNN, whose ReLU turns NaN into 0.

    A row with a missing feature is then scored as sigmoid(output bias): an ordinary,
    legitimate-looking probability. PyTorch, and Keras op by op, give NaN.
    """
    weights = keras.call("model.initial_weights", output_bias=-6.35935934, seed=1)
    features = np.zeros((2, 29), np.float32)
    features[0, 5] = np.nan
    predicted = keras.call("forward.forward_stages", weights, features)
    called = keras.call("forward.op_by_op_stages", weights, features)
    ours = forward_stages(classifier(weights), features)
    assert np.isnan(ours["probabilities"][0])
    assert np.isnan(called["probabilities"][0])
    assert np.isnan(predicted["hidden pre-activations"][0]).all()
    if keras.call("versions.onednn_is_on"):
        # Keras 2 fuses the layer where another follows, but not where the model ends on it.
        hidden = predicted["hidden activations"][0]
        assert np.isnan(hidden).all() != since("3.0")
        assert since("3.0") != hidden.any()
        np.testing.assert_array_equal(predicted["probabilities"][0], predicted["probabilities"][1])
    else:
        assert np.isnan(predicted["probabilities"][0])


@pytest.mark.parametrize("batch_size", [1, 3, 64, None])
def test_batch_size_changes_nothing_beyond_the_bound(batch_size: int | None) -> None:
    """One row at a time or all at once: inside the same allowance."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(101, 29)).astype(np.float32)
    weights = {
        "dense/kernel": rng.normal(size=(29, 16)).astype(np.float32),
        "dense/bias": rng.normal(size=16).astype(np.float32),
        "dense_1/kernel": rng.normal(size=(16, 1)).astype(np.float32),
        "dense_1/bias": rng.normal(size=1).astype(np.float32),
    }
    ours = forward_stages(classifier(weights), features, batch_size)
    assert_stages_agree(ours, forward_stages(classifier(weights), features), (features, weights))
