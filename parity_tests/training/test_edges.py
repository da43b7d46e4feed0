"""The run that measures what rounding may do does it, and nothing else.

It is Keras's, and it is what `rounding` allows by: a run that strayed further than rounding can
would allow too much, and one that took no edge too little.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from parity_tests.judge.bounds import U32, gamma
from parity_tests.judge.sigmoid import SIGMOID_ULP, float64_sigmoid
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import RANDOM_STREAM

pytestmark = RANDOM_STREAM

KERNEL = np.float32([[1.0, -0.5], [0.25, 2.0], [-1.5, 0.75]])
# 1 + 0.25 - 1.5 + the first is 2**-25, the least that float32 can make of it.
BIAS = np.float32([np.nextafter(np.float32(0.25), np.float32(1)), -0.25])
TO_OUTPUT = np.float32([[1.0], [-2.0]])
ROWS = np.float32([[1, 2, 3], [0.5, -1, 0.25], [1, 1, 1], [0, 0, 0]])


@pytest.fixture(scope="module")
def layers(keras: KerasProcess) -> dict[str, Any]:
    """Both layers of the run on rows of which the third stands on the edge of the first unit."""
    return keras.call(
        "edges.layers_on", ROWS, KERNEL, BIAS, TO_OUTPUT, np.float32([0.125]), SIGMOID_ULP
    )


def test_the_layers_compute_what_keras_layers_do(layers: dict[str, Any]) -> None:
    """Activations and probabilities are those of Dense, but for the order of the sums."""
    for name in ("hidden", "probabilities"):
        ours, plain = layers[name], layers[f"plain {name}"]
        bound = gamma(8) * (np.abs(ROWS).sum(axis=1, keepdims=True) * 2 + 1)
        assert (np.abs(ours - plain) <= bound).all()


def test_the_gradient_goes_the_other_way_on_the_edge_alone(layers: dict[str, Any]) -> None:
    """Where |z| is below √n u Σ|x||w|; at an exact zero both ways are one."""
    z = ROWS.astype(float) @ KERNEL + BIAS
    size = np.abs(ROWS) @ np.abs(KERNEL) + np.abs(BIAS)
    on_edge = np.abs(z) < np.sqrt(4) * U32 * size
    assert on_edge.sum() == 1
    assert on_edge[2, 0]
    np.testing.assert_array_equal(layers["plain open"], z > 0)
    np.testing.assert_array_equal(layers["open"], np.where(on_edge, z <= 0, z > 0))


def test_the_margin_of_a_probability_is_the_proven_one(layers: dict[str, Any]) -> None:
    """The bound of both layers carried through the sigmoid, and the sigmoid's own error."""
    size = np.abs(ROWS.astype(float)) @ np.abs(KERNEL) + np.abs(BIAS)
    hidden = np.maximum(ROWS.astype(float) @ KERNEL + BIAS, 0)
    steep = np.abs(TO_OUTPUT.astype(float))
    error = gamma(4) * size @ steep + gamma(6) * (hidden @ steep + 0.125)
    z = hidden @ TO_OUTPUT.astype(float) + 0.125
    p = float64_sigmoid(z)
    carried = np.maximum(float64_sigmoid(z + error) - p, p - float64_sigmoid(z - error))
    expected = carried + (SIGMOID_ULP + 1) * 2 * U32 * p
    # The margin is itself a difference of float32 probabilities, each off by the sigmoid's ULP.
    slack = 4 * SIGMOID_ULP * 2 * U32
    assert (np.abs(layers["margin"] - expected) <= slack).all()


def test_a_metric_is_taken_at_both_ends_of_the_margin(keras: KerasProcess) -> None:
    """Counted by hand: of four rows near a half, those within the margin change sides."""
    p = np.float32([[0.499], [0.501], [0.499], [0.501]])
    labels = np.float32([[1], [1], [0], [0]])
    margin = np.float32([[0.002], [0.0005], [0.0005], [0.002]])
    best, worst = keras.call("edges.counts_at_ends", labels, p, margin)
    assert best == {"tp": 2, "fp": 0, "tn": 2, "fn": 0}
    assert worst == {"tp": 1, "fp": 1, "tn": 1, "fn": 1}


def test_a_run_at_its_edges_strays_as_rounding_does(keras: KerasProcess) -> None:
    """Further than the plain run where units stand on the edge, and by no more than that."""
    rng = np.random.RandomState(3)
    x = rng.randint(-8, 9, (512, 29)).astype(np.float32) / 4
    y = (x[:, :1] > 1).astype(np.float32)
    options = {"seed": 3, "epochs": 2, "batch_size": 128, "metrics": False}
    runs = keras.call("training.fits", x, y, sigmoid_ulp=SIGMOID_ULP, **options)
    start = runs["float64"]["initial"]
    for name, true in runs["float64"]["final"].items():
        moved = np.abs(true - start[name]).max()
        for run in ("float32", "edges"):
            off = np.abs(runs[run]["final"][name] - true).max()
            assert off <= moved * gamma(8 * 128 * 30), (run, name)
    first = [runs[run]["final"]["dense/kernel"] for run in ("edges", "float32")]
    assert not np.array_equal(*first), "sums in reverse are rounded otherwise"
