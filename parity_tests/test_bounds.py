"""The forward error bounds hold for any order of summation, and are tight enough to bite."""

from __future__ import annotations

import numpy as np
import pytest

from parity_tests import bounds
from parity_tests.agreement import within
from parity_tests.keras_process import KerasProcess
from parity_tests.probes import exact_probe
from parity_tests.sigmoid import SIGMOID_ULP, keras_error, torch_error


def summed_in_order(x: np.ndarray, w: np.ndarray, b: np.ndarray, order: np.ndarray) -> np.ndarray:
    """x @ w + b in float32, one rounding per product and per sum, in the order given."""
    total = np.zeros((len(x), w.shape[1]), np.float32)
    for i in order:
        total = total + x[:, i : i + 1] * w[i]
    return total + b


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("inputs", [1, 2, 29, 257])
def test_affine_bound_holds_for_any_order_of_summation(inputs: int) -> None:
    """Forwards, backwards, shuffled and sorted by size: all inside the allowance."""
    x, w, b = drawn(1, 500, inputs), drawn(2, inputs, 7), drawn(3, 7)
    expected = bounds.affine(bounds.exactly(x), w, b)
    orders = [np.arange(inputs), np.arange(inputs)[::-1], np.argsort(np.abs(w[:, 0]))]
    orders += [np.random.default_rng(i).permutation(inputs) for i in range(5)]
    for order in orders:
        came = summed_in_order(x, w, b, order)
        assert within("z", "proven", came, x @ w + b, *expected).agree


def test_affine_bound_catches_bfloat16_and_tf32_products() -> None:
    """Factors rounded to 8 or 11 bits break the bound: it is not slack by powers of two."""
    x, w, b = drawn(1, 500, 29), drawn(2, 29, 16), drawn(3, 16)
    expected = bounds.affine(bounds.exactly(x), w, b)
    for dropped_bits in (13, 16):
        coarse = [
            (a.view(np.uint32) & np.uint32(2**32 - 2**dropped_bits)).view(np.float32)
            for a in (x, w)
        ]
        assert not within("z", "proven", coarse[0] @ coarse[1] + b, x @ w + b, *expected).agree


def test_bound_of_a_dead_unit_is_zero() -> None:
    """Well below zero a ReLU gives exactly 0, and so much is demanded."""
    x = bounds.Bounded(np.array([[-1.0, 1.0]]), np.array([[0.5, 0.5]]))
    value, allowance = bounds.relu(x)
    assert value.tolist() == [[0.0, 1.0]]
    assert allowance[0, 0] == 0
    assert allowance[0, 1] >= 0.5


def test_clipped_feature_has_no_allowance() -> None:
    """Beyond the clip both sides give ±5 exactly."""
    raw = np.abs(drawn(4, 200, 3)).astype(np.float64)
    raw[0, 0] = 1e6
    value, allowance = bounds.standardised(raw, raw)
    assert value[0, 0] == 5
    assert allowance[0, 0] == 0
    assert (allowance[1:, 0] > 0).all()


@pytest.mark.parametrize("library", ["torch", "keras"])
def test_sigmoid_errs_less_than_its_stated_ulp(library: str, keras: KerasProcess) -> None:
    """On 4 million floats spread over all of them; all 2**32 by the module's command."""
    stride = 1021
    normal, subnormal = (
        torch_error(stride) if library == "torch" else keras.submit(keras_error, stride).result()
    )
    assert 0.5 < normal <= SIGMOID_ULP
    assert subnormal <= 1


@pytest.mark.parametrize("shape", [(29, 16), (29, 29), (1, 1), (64, 3)])
def test_exact_probe_is_exact_in_any_order(shape: tuple[int, int]) -> None:
    """Three orders of summation give the integers' own logits, bit for bit."""
    probe = exact_probe(5, 100, *shape)
    w = probe.weights
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(shape[0])
        pre = summed_in_order(probe.features, w["dense/kernel"], w["dense/bias"], order)
        np.testing.assert_array_equal(pre, probe.hidden)
        order = np.random.default_rng(seed).permutation(shape[1])
        logits = summed_in_order(np.maximum(pre, 0), w["dense_1/kernel"], w["dense_1/bias"], order)
        np.testing.assert_array_equal(logits, probe.logits)


def test_exact_probe_catches_tf32() -> None:
    """Keeping 11 bits of each factor, as TF32 does, changes most logits."""
    probe = exact_probe(5)

    def tf32(a: np.ndarray) -> np.ndarray:
        return (a.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    w = probe.weights
    pre = tf32(probe.features) @ tf32(w["dense/kernel"]) + w["dense/bias"]
    logits = tf32(np.maximum(pre, 0)) @ tf32(w["dense_1/kernel"]) + w["dense_1/bias"]
    assert (pre != probe.hidden).mean() > 0.5
    assert (logits != probe.logits).mean() > 0.5


def test_exact_probe_refuses_a_network_too_wide_to_be_exact() -> None:
    """It does not silently give a probe whose sums might round."""
    with pytest.raises(ValueError, match="expected at most 24"):
        exact_probe(0, 4, 4096, 256)
