"""Exact probes are exact, need every bit that they ask for, and reach as far as they may."""

from __future__ import annotations

import re

import numpy as np
import pytest

from parity_tests.judge.probes import Probe, exact_probe

SHAPES = [(29, 16), (1, 1), (64, 3)]


class Extreme(np.random.RandomState):
    """Draws the largest number there is, or the smallest, of each grid."""

    def __init__(self, *ends: int) -> None:
        super().__init__(0)
        self.ends = list(ends)

    def randint(self, low: int, high: int, shape: tuple[int, ...]) -> np.ndarray:
        return np.full(shape, {1: high - 1, -1: low, 0: 0}[self.ends.pop(0)])


def rounded(a: np.ndarray, bits: int) -> np.ndarray:
    """To the nearest number of so many bits."""
    fraction, exponent = np.frexp(a.astype(np.float64))
    return np.ldexp(np.round(np.ldexp(fraction, bits)), exponent - bits)


def stages(probe: Probe, bits: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Pre-activations and logits in float64, from factors rounded to so many bits."""
    w = {name: array.astype(np.float64) for name, array in probe.weights.items()}
    hidden = rounded(probe.features, bits) @ rounded(w["dense/kernel"], bits) + w["dense/bias"]
    active = np.maximum(hidden, 0)
    return hidden, rounded(active, bits) @ rounded(w["dense_1/kernel"], bits) + w["dense_1/bias"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_probe_is_what_float64_makes_of_its_numbers(shape: tuple[int, int]) -> None:
    """Every number is float32, every array has its size, and no two seeds give one probe."""
    probes = [exact_probe(seed, 40, *shape) for seed in (1, 2, np.random.RandomState(1))]
    for probe in probes:
        sizes = {name: array.shape for name, array in probe.weights.items()}
        assert sizes == {
            "dense/kernel": shape, "dense/bias": shape[1:],
            "dense_1/kernel": (shape[1], 1), "dense_1/bias": (1,),
        }  # fmt: skip
        arrays = (probe.features, *probe.weights.values(), probe.hidden, probe.logits)
        assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
        hidden, logits = stages(probe)
        np.testing.assert_array_equal(probe.hidden, hidden)
        np.testing.assert_array_equal(probe.logits, logits)
    assert not np.array_equal(probes[0].features, probes[1].features)
    assert not np.array_equal(probes[0].features, probes[2].features)
    again = exact_probe(1, 40, *shape)
    np.testing.assert_array_equal(again.features, probes[0].features)


def test_a_probe_is_of_the_networks_size_unless_it_is_asked_otherwise() -> None:
    """512 rows of 29 features, 16 units."""
    probe = exact_probe(0)
    assert probe.features.shape == (512, 29)
    assert probe.hidden.shape == (512, 16)
    assert probe.logits.shape == (512, 1)


@pytest.mark.parametrize("bits", [11, 8], ids=["tf32", "bfloat16"])
def test_factors_of_fewer_bits_give_another_answer_in_nearly_every_row(bits: int) -> None:
    """And 12, which all features fit, are needed by a quarter of them."""
    for seed in range(3):
        probe = exact_probe(seed)
        hidden, logits = stages(probe, bits)
        assert (hidden != probe.hidden).any(axis=1).mean() > 0.9
        assert (logits != probe.logits).mean() > 0.9
        np.testing.assert_array_equal(rounded(probe.features, 12), probe.features)
        assert 0.2 < (rounded(probe.features, 11) != probe.features).mean() < 0.3


@pytest.mark.parametrize("sign", [1, -1])
def test_the_grids_reach_as_far_to_both_sides(sign: int) -> None:
    """Features to 8 less a step of 2**-9, kernels to 1, biases to 2 and 4."""
    probe = exact_probe(Extreme(sign, sign, sign, sign, sign), 1, 2, 3)
    assert (probe.features == sign * (8 - 2.0**-9)).all()
    largest = {"dense/kernel": 1, "dense/bias": 2, "dense_1/kernel": 1, "dense_1/bias": 4}
    for name, array in probe.weights.items():
        assert (array == sign * largest[name]).all(), name
    steps = {"dense/kernel": 2, "dense/bias": 11, "dense_1/kernel": 1, "dense_1/bias": 12}
    drawn = exact_probe(1, 64, 64, 8)
    for name, array in drawn.weights.items():
        units = np.ldexp(array, steps[name])
        np.testing.assert_array_equal(units, np.round(units))
        assert len(np.unique(units)) == min(array.size, 5 if name == "dense_1/kernel" else 9) or (
            "bias" in name
        )


@pytest.mark.parametrize(
    ("ends", "fits", "too_wide"),
    [
        # 4095 · 4 of each feature, and 4096; the logits are 0
        ((1, 1, 1, 0, 0), (1024, 1), (1025, 1)),
        ((1, -1, -1, 0, 0), (1024, 1), (1025, 1)),
        # (4095 · 4 + 4096) · 2 of each unit, and 16384
        ((1, 1, 1, 1, 1), (1, 409), (1, 410)),
        ((1, 1, 1, -1, -1), (1, 409), (1, 410)),
    ],
)
def test_a_sum_of_24_bits_fits_and_one_more_is_refused(
    ends: tuple[int, ...], fits: tuple[int, int], too_wide: tuple[int, int]
) -> None:
    """Of absolute values, so that a sum fits in any order; the message says how many bits."""
    probe = exact_probe(Extreme(*ends), 2, *fits)
    hidden, logits = stages(probe)
    np.testing.assert_array_equal(probe.hidden, hidden)
    np.testing.assert_array_equal(probe.logits, logits)
    said = (
        "a sum of this probe may need 25 bits; expected at most 24: "
        f"in_features={too_wide[0]}, hidden_units={too_wide[1]} is too wide"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        exact_probe(Extreme(*ends), 2, *too_wide)
    assert exact_probe(0, 0, 3, 2).logits.shape == (0, 1)
