"""Losses under Keras's names: each row's value and gradient, as `fit` computes them in Keras."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from parity_tests.judge.agreement import no_farther, ulp_off
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import OF_TODAY
from torch_impl.keras.losses.names import LOSSES

RNG = np.random.default_rng(4)
EPSILON = 1e-7
N, JUDGED = 8000, slice(0, None, 40)
ROUNDINGS = 30  # some ten for each of three units: their errors add up like terms of a sum
HUGE = (40, 120, 500, 1e4)


class Rows(NamedTuple):
    """Rows whose numbers are of one size, since one allowance holds for all of them."""

    inputs: np.ndarray
    labels: np.ndarray
    judged: slice = slice(None)


def ordinary(inputs: np.ndarray, labels: np.ndarray) -> Rows:
    """More than are judged, so that Keras's largest rounding error is no matter of chance."""
    return Rows(inputs, labels, JUDGED)


def thrice(*values: float) -> np.ndarray:
    """Rows of three equal units."""
    return np.repeat(np.array(values, float)[:, None], 3, 1)


# Numbers that float32 holds, so that Keras computes of the same ones in both precisions.
LOGITS = RNG.uniform(-6, 6, (N, 3)).astype("f4").astype(float)
LOGITS[JUDGED][:2] = thrice(0.0, -0.0)
PARTS = RNG.uniform(0.01, 0.99, (N, 3)).astype("f4").astype(float)  # their sum is not 1
BITS = RNG.integers(0, 2, (N, 3)).astype(float)
QUARTERS = RNG.integers(0, 9, (N, 3)) / 4  # 0 to 2, of any sum, 0 too
CLASSES = RNG.integers(0, 3, N)
ONE_HOT = np.eye(3)[CLASSES]
SOFT = (ONE_HOT + 3 * np.roll(ONE_HOT, 1, 0)) / 4
NOT_FINITE = Rows(thrice(*(2 * [math.inf, -math.inf, math.nan])), thrice(0, 0, 0, 1, 1, 1))
# About where probabilities are clipped. At the ends themselves a gradient passes.
NEAR_0 = thrice(*(EPSILON * k for k in (0, 0.25, 0.5, *range(1, 20))))

OF_LOGITS = {
    "ordinary": ordinary(LOGITS, BITS),
    "soft": ordinary(LOGITS, QUARTERS / 2),
    "not-finite": NOT_FINITE,
    **{f"right-{z:g}": Rows(thrice(z, -z), thrice(1, 0)) for z in HUGE},
    **{f"wrong-{z:g}": Rows(thrice(z, -z), thrice(0, 1)) for z in HUGE},
}
OF_PROBABILITIES = {
    "ordinary": ordinary(PARTS, BITS),
    "at-the-ends": Rows(thrice(0, 0, 1, 1), thrice(0, 1, 0, 1)),
    **{
        f"near-{end}-label-{label}": Rows(abs(end - NEAR_0), np.full_like(NEAR_0, label))
        for end in (0, 1)
        for label in (0, 1)
    },
}
ROUNDED = ("near-0-label-0", "near-1-label-1")
# A logit is right, in the middle or wrong by as much, in every order of the three.
ORDERS = np.array([*permutations((1.0, 0, -1))])
CATEGORICAL_LOGITS = {
    "ordinary": ordinary(LOGITS, ONE_HOT),
    "soft": ordinary(LOGITS, SOFT),
    "of-any-sum": ordinary(LOGITS, QUARTERS),
    **{
        f"{place}-{z:g}": Rows(z * ORDERS, (sign == ORDERS).astype(float))
        for z in HUGE
        for place, sign in {"right": 1, "middle": 0, "wrong": -1}.items()
    },
    "masked": ordinary(np.where(np.roll(ONE_HOT, 1, 1) == 1, -math.inf, LOGITS), ONE_HOT),
    "not-finite": Rows(
        np.array([[0, math.inf, 1], [math.inf, 0, 1], [0, 1, math.nan], [-math.inf] * 3]),
        np.eye(3)[[0] * 4],
    ),
}
SURE = abs(np.array([1, 0, 0]) - NEAR_0 * [1, 1, 0])
CATEGORICAL_PROBABILITIES = {
    "ordinary": ordinary(PARTS, ONE_HOT),
    **{f"near-1-label-{label}": Rows(SURE, np.eye(3)[[label] * len(SURE)]) for label in range(3)},
    "nothing": Rows(np.zeros((1, 3)), np.eye(3)[:1]),
}
ERRORS = LOGITS + 0.0
ERRORS[JUDGED][:12] = thrice(0, 1, -1, 0.3, -0.3, 0.5, -0.5, 0, 2, 1, 1, 0)
OF_ERRORS = {
    "ordinary": ordinary(LOGITS, QUARTERS),
    "at-the-bends": ordinary(ERRORS, 0 * ERRORS),
    "large": Rows(thrice(1e4, -1e4), thrice(1, 1)),
    "larger": Rows(thrice(1e15, -1e15), thrice(1, 1)),
    "not-finite": NOT_FINITE,
}


class Case(NamedTuple):
    """A loss behind `end`, the last activation of Keras's model, which ours leaves out."""

    name: str
    options: dict[str, Any]
    end: str
    groups: dict[str, Rows]

    def asked(self) -> tuple[str, dict[str, Any], str, np.ndarray, np.ndarray]:
        """What Keras computes, all groups at once: a row's loss is its own."""
        inputs, labels = (
            np.concatenate([rows[i] for rows in self.groups.values()]) for i in (0, 1)
        )
        return self.name, self.options, self.end, inputs, labels


def both_ends(name: str, options: dict[str, Any], kind: str) -> dict[str, Case]:
    """Of logits, found behind the activation, and of probabilities, where there are none."""
    if "Binary" in name:
        ends = {"sigmoid": OF_LOGITS, "linear": OF_PROBABILITIES}
        if options.get("gamma", 1) < 1:  # NaN where 1 - p is 0, which it is sooner in float32
            ends["linear"] = {k: v for k, v in OF_PROBABILITIES.items() if k not in ROUNDED}
    else:
        ends = {"softmax": CATEGORICAL_LOGITS, "linear": CATEGORICAL_PROBABILITIES}
    return {f"{kind}-{end}": Case(name, options, end, groups) for end, groups in ends.items()}


def numbered(groups: dict[str, Rows], shape: tuple[int, ...]) -> dict[str, Rows]:
    """Rows with one-hot labels, the number of the class in their place."""
    return {
        name: Rows(rows.inputs, rows.labels.argmax(1).reshape(shape), rows.judged)
        for name, rows in groups.items()
        if name not in ("soft", "of-any-sum")
    }


FOCAL, CATEGORICAL_FOCAL = "BinaryFocalCrossentropy", "CategoricalFocalCrossentropy"
BALANCED = {"apply_class_balancing": True}
SPARSE = "SparseCategoricalCrossentropy"
CASES: dict[str, Case] = {
    **both_ends("BinaryCrossentropy", {}, "binary"),
    **both_ends("BinaryCrossentropy", {"label_smoothing": 0.1}, "binary-smoothed"),
    # Keras takes the logits behind a softmax for those of sigmoids.
    "binary-softmax": Case("BinaryCrossentropy", {}, "softmax", OF_LOGITS),
    **both_ends(FOCAL, {}, "focal"),
    **both_ends(FOCAL, {"gamma": 0.0}, "focal-gamma-0"),
    **both_ends(FOCAL, {"gamma": 0.5, "alpha": 0.9}, "focal-gamma-half"),
    **both_ends(FOCAL, {"gamma": 1.0, "label_smoothing": 0.1}, "focal-smoothed"),
    **both_ends(FOCAL, {**BALANCED, "gamma": 3.3}, "focal-balanced"),
    **both_ends(FOCAL, {**BALANCED, "alpha": 0.3}, "focal-balanced-0.3"),
    **both_ends("CategoricalCrossentropy", {}, "categorical"),
    **both_ends("CategoricalCrossentropy", {"label_smoothing": 0.1}, "categorical-smoothed"),
    **both_ends(CATEGORICAL_FOCAL, {}, "categorical-focal"),
    **both_ends(CATEGORICAL_FOCAL, {"gamma": 0.0, "alpha": 0.3}, "categorical-focal-gamma-0"),
    **both_ends(
        CATEGORICAL_FOCAL,
        {"alpha": [0.3, 0.45, 0.9], "gamma": 3.3, "label_smoothing": 0.2},
        "categorical-focal-alphas",
    ),
    "sparse-softmax": Case(SPARSE, {}, "softmax", numbered(CATEGORICAL_LOGITS, (-1, 1))),
    "sparse-linear": Case(SPARSE, {}, "linear", numbered(CATEGORICAL_PROBABILITIES, (-1,))),
    "squared": Case("MeanSquaredError", {}, "linear", OF_ERRORS),
    "absolute": Case("MeanAbsoluteError", {}, "linear", OF_ERRORS),
    "huber": Case("Huber", {}, "linear", OF_ERRORS),
    "huber-0.3": Case("Huber", {"delta": 0.3}, "linear", OF_ERRORS),
}


@pytest.fixture(scope="module")
def answers(keras: KerasProcess) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Keras's losses and gradients of all cases, by dtype."""
    came = keras.call("losses.of_rows", [case.asked() for case in CASES.values()])
    return dict(zip(CASES, came, strict=True))


@OF_TODAY
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_keras(
    case: str, answers: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]
) -> None:
    """Of each row, in double: ordinary ones and extreme ones, finite or not."""
    name, options, end, groups = CASES[case]
    if name in ("MeanSquaredError", "MeanAbsoluteError", "Huber"):
        loss = LOSSES[name](**options)
    else:
        loss = LOSSES[name](**options, from_logits=end != "linear")
    start = 0
    for group, rows in groups.items():
        outputs = torch.tensor(rows.inputs[rows.judged], requires_grad=True)
        losses = loss(outputs, torch.from_numpy(rows.labels[rows.judged]))
        losses.sum().backward()
        part = slice(start, start := start + len(rows.inputs))
        for i, came in enumerate((losses.detach().numpy()[:, 0], outputs.grad.numpy())):
            narrow, wide = (answers[case][dtype][i][part] for dtype in ("float32", "float64"))
            off = ulp_off(narrow, wide)
            result = no_farther(group, "double", came, wide[rows.judged], off, ROUNDINGS)
            assert result.agree, (group, ("loss", "gradient")[i], result.detail)


@OF_TODAY
def test_names_are_keras(keras: KerasProcess) -> None:
    """Each means there the function behind the class that it means here."""
    functions = keras.call("losses.functions_of", list(LOSSES))
    for name, made in LOSSES.items():
        assert functions[name] == functions[made.__name__], name
    assert len(set(functions.values())) == len(set(LOSSES.values())) == 8
