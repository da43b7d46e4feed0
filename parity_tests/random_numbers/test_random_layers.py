"""Initial weights, dropout masks, the order of rows and layer seeds are Keras's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import RANDOM_STREAM, RATE_ONE, WIDE_SEEDS, ZERO_SEED
from parity_tests.sides.compiler import each_way
from torch_impl.keras import random as keras_random
from torch_impl.keras.random import (
    dropout_mask,
    glorot_uniform,
    layer_seeds,
    shuffle_permutation,
    stream_start,
    uniform,
)

pytestmark = RANDOM_STREAM

# A rate that is itself a uniform number which can be drawn, where ≥ and > differ.
DRAWN = 2.0**-23 * 5_000_001
# Around both places where seeds wrap: 2**31 - 2 in Keras, 2**31 - 1 in TensorFlow.
GLOBAL_SEEDS = [0, 1, 42, 2**31 - 3, 2**31 - 2, 2**31 - 1, 2**31, 3_000_000_000, 2**32 - 1]
LAYER_SEEDS = [*GLOBAL_SEEDS, 2**32, 0x0123456789ABCDEF, 2**63 - 1, -1, -(2**31), -(2**63)]
# What all Keras 3 take for the same seed, and the rest.
SEEDS_BY_MEANING = [
    pytest.param([1, 42, 2**31 - 3], id="narrow"),
    pytest.param([0], id="zero", marks=ZERO_SEED),
    pytest.param(LAYER_SEEDS[4:], id="wide", marks=WIDE_SEEDS),
]


@pytest.mark.parametrize("seeds", SEEDS_BY_MEANING)
@pytest.mark.parametrize("shape", [(29, 16), (16, 1), (1,), (7,), (23, 23)], ids=str)
def test_glorot_uniform_is_keras(
    shape: tuple[int, ...], seeds: list[int], keras: KerasProcess
) -> None:
    """Bit for bit for every kind of seed that Keras takes."""
    for seed in seeds:
        theirs = keras.call("random.glorot_uniform", seed, shape)
        ours = glorot_uniform(seed, shape).numpy()
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_array_equal(ours, theirs)


def test_glorot_limit_rounds_as_keras_does(keras: KerasProcess) -> None:
    """For every sum of fans up to 300 the first column is Keras's."""
    for fan_out in range(1, 300):
        theirs = keras.call("random.glorot_uniform", 5, (1, fan_out))
        np.testing.assert_array_equal(glorot_uniform(5, (1, fan_out)).numpy(), theirs)


@pytest.mark.parametrize("seeds", SEEDS_BY_MEANING)
@pytest.mark.parametrize(
    ("mode", "rate"),
    [
        *(("eager", rate) for rate in (0.1, 0.3, 0.5, 0.9, DRAWN)),
        *(("graph", rate) for rate in (0.3, DRAWN)), *(("xla", rate) for rate in (0.3, DRAWN)),
    ],
)  # fmt: skip
def test_dropout_mask_is_keras(
    mode: str, rate: float, seeds: list[int], keras: KerasProcess
) -> None:
    """Four successive calls; an odd number of units puts row borders inside blocks."""
    rows, units = 1001, 13
    for seed in seeds if mode == "eager" else {42, 2**31 - 2, -1} & {*seeds}:
        theirs, counted = keras.call("random.dropout", seed, rate, (rows, units), 0, 4, mode)
        assert counted == 4
        for step, output in enumerate(theirs):
            mask = dropout_mask(seed, step, rate, range(rows), units, _conversion(mode))
            expected = mask.float() * np.float32(1 / (1 - rate))
            np.testing.assert_array_equal(expected.numpy(), output)


@pytest.mark.parametrize("mode", ["eager", "xla"])
def test_dropout_keeps_a_unit_whose_number_equals_the_rate(mode: str, keras: KerasProcess) -> None:
    """The rule is u ≥ rate in float32: each of the first numbers, taken for the rate, is kept.

    So it is where the rate is above the number by less than float32 can tell.
    """
    count = 2 if mode == "eager" else 1  # each rate is compiled anew by XLA
    numbers = uniform((42, 0), (count,), conversion=_conversion(mode))
    for index, u in enumerate(numbers.tolist()):
        for rate in (u, u + 1e-12):
            (output,), _ = keras.call("random.dropout", 42, rate, (3, 4), 0, 1, mode)
            mask = dropout_mask(42, 0, rate, range(3), 4, _conversion(mode)).flatten()
            assert mask[index]
            np.testing.assert_array_equal(mask.numpy(), output.flatten() != 0)


@pytest.mark.parametrize(
    "rate",
    [0.0, pytest.param(1.0, marks=RATE_ONE)],
)
def test_dropout_of_rate_0_or_1_draws_nothing(rate: float, keras: KerasProcess) -> None:
    """All kept or none, and the call is not counted."""
    outputs, counted = keras.call("random.dropout", 3, rate, (5, 2), 0, 3)
    assert counted == 0
    expected = np.broadcast_to(dropout_mask(3, 0, rate, range(5), 2).numpy(), (3, 5, 2))
    np.testing.assert_array_equal(outputs != 0, expected)


@WIDE_SEEDS
@pytest.mark.parametrize(
    "step", [2**31 - 3, 2**31 - 2, 2**31, 2**32 + 5, 2**40], ids="step-{}".format
)
def test_dropout_step_counter_wraps_as_keras_does(step: int, keras: KerasProcess) -> None:
    """Keras hands TensorFlow the count modulo 2**31 - 2."""
    outputs, counted = keras.call("random.dropout", 42, 0.5, (50, 3), step, 2)
    assert counted == step + 2
    for k, output in enumerate(outputs, start=step):
        mask = dropout_mask(42, k, 0.5, range(50), 3)
        np.testing.assert_array_equal(mask.numpy(), output != 0)


@settings(max_examples=30)
@given(
    seed=st.integers(-(2**63), 2**63 - 1),
    step=st.integers(0, 10**6),
    units=st.integers(1, 20),
    first=st.integers(0, 100),
    second=st.integers(0, 100),
    conversion=st.sampled_from(["op", "xla"]),
)
def test_rows_of_a_mask_are_computed_alone(
    seed: int, step: int, units: int, first: int, second: int, conversion: str
) -> None:
    """A worker that has rows a … b of a batch needs no other row's numbers."""
    whole = dropout_mask(seed, step, 0.4, range(first + second), units, conversion)
    head = dropout_mask(seed, step, 0.4, range(first), units, conversion)
    tail = dropout_mask(seed, step, 0.4, range(first, first + second), units, conversion)
    assert torch.equal(torch.cat([head, tail]), whole)


@pytest.mark.parametrize(
    ("rows", "seed"), [(1000, 1), (1000, 2**31 - 3), (1000, 2**31), (1000, 2**32 - 1), (3, 42)]
)
def test_rows_come_in_the_order_that_fit_takes(rows: int, seed: int, keras: KerasProcess) -> None:
    """The same order in every epoch; of the other seeds it is among the recorded cases."""
    theirs = keras.call("random.fit_orders", seed, rows, epochs=3, batch_size=256)
    ours = shuffle_permutation(seed, rows)
    assert ours.dtype == torch.int64
    np.testing.assert_array_equal(theirs, np.tile(ours.numpy(), (3, 1)))


@each_way
def test_rows_of_the_full_data_come_in_the_order_that_fit_takes(
    way: Any, keras: KerasProcess
) -> None:
    """182,276 rows with validation data, as the tutorial trains."""
    theirs = keras.call("random.fit_orders", 42, 182_276, 2, 2048, validation_rows=100)
    with way():
        ours = shuffle_permutation(42, 182_276).numpy()
    np.testing.assert_array_equal(theirs, np.tile(ours, (2, 1)))


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(0, 200))
def test_shuffle_is_a_permutation(seed: int, rows: int) -> None:
    """Each row once."""
    assert torch.equal(shuffle_permutation(seed, rows).sort().values, torch.arange(rows))


@pytest.mark.parametrize("seed", GLOBAL_SEEDS)
def test_layer_seeds_are_what_new_layers_draw(seed: int, keras: KerasProcess) -> None:
    """Dense, Dropout, Dense take draws 0, 1 and 2; zero biases take none."""
    theirs = keras.call("random.fresh_model", seed)
    kernel, drop, output = layer_seeds(seed, 3)
    np.testing.assert_array_equal(glorot_uniform(kernel, (29, 16)).numpy(), theirs["dense/kernel"])
    np.testing.assert_array_equal(glorot_uniform(output, (16, 1)).numpy(), theirs["dense_1/kernel"])
    assert theirs["dropout/seed"] == drop


def test_dropout_of_rate_0_takes_no_layer_seed(keras: KerasProcess) -> None:
    """The second kernel has draw 1 then."""
    theirs = keras.call("random.fresh_model", 42, dropout=0.0)
    assert "dropout/seed" not in theirs
    np.testing.assert_array_equal(
        glorot_uniform(layer_seeds(42, 2)[1], (16, 1)).numpy(), theirs["dense_1/kernel"]
    )


def test_bias_without_initializer_draws_after_all_layers_are_made(keras: KerasProcess) -> None:
    """`bias_initializer=None` is Glorot-uniform, drawn when the layers are built."""
    theirs = keras.call("random.fresh_model", 42, bias_initializer=None)
    kernel, drop, output, bias, output_bias = layer_seeds(42, 5)
    assert theirs["dropout/seed"] == drop
    for seed, shape, name in (
        (kernel, (29, 16), "dense/kernel"),
        (output, (16, 1), "dense_1/kernel"),
        (bias, (16,), "dense/bias"),
        (output_bias, (1,), "dense_1/bias"),
    ):
        np.testing.assert_array_equal(glorot_uniform(seed, shape).numpy(), theirs[name])


def _conversion(mode: str) -> str:
    return "xla" if mode == "xla" else "op"


@pytest.mark.parametrize(("rate", "kept"), [(0, True), (1, False)])
def test_masks_at_the_ends_keep_all_or_nothing(rate: float, kept: bool) -> None:
    """Whatever is drawn."""
    assert (dropout_mask(7, 3, rate, range(50), 40) == kept).all()


def test_an_order_is_the_same_in_parts_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Swaps are drawn a part at a time, to spare memory alone."""
    whole = shuffle_permutation(5, 50)
    monkeypatch.setattr(keras_random, "_SWAPS", 7)
    assert torch.equal(shuffle_permutation(5, 50), whole)


def test_the_smallest_kernel_is_drawn_within_the_root_of_three() -> None:
    """fan_in + fan_out = 2: sqrt(6 / 2), where a fan of 3 would end at sqrt(2)."""
    largest = max(abs(glorot_uniform(seed, (1, 1)).item()) for seed in range(200))
    assert math.sqrt(2) < largest <= math.sqrt(3)


def test_no_calls_have_no_starts() -> None:
    """Of the dtype that any have."""
    starts = stream_start(5, 3, 0)
    assert (starts.shape, starts.dtype) == ((0, 4), torch.int64)
