"""Bounds are carried through a chain of layers as Keras writes it; Keras stays within them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity_tests import ROOT
from parity_tests.judge import bounds
from parity_tests.judge.agreement import within
from parity_tests.judge.bounds import exactly
from parity_tests.judge.layers.chain import KINDS, forward_layers
from parity_tests.judge.layers.right_ways import (
    BIAS,
    CASES,
    EPSILON,
    F32,
    KERNEL,
    N,
    drawn,
    layer,
    summed,
)
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import OF_TODAY

CHAIN: list[tuple[str, str, dict[str, Any]]] = [
    ("Dense", "first", {"units": 16, "activation": "relu"}),
    ("BatchNormalization", "batch", {}),
    ("Dropout", "dropped", {"rate": 0.5}),
    ("Dense", "second", {"units": 12, "use_bias": False, "activation": "tanh"}),
    ("Reshape", "pairs", {"target_shape": [6, -1]}),
    ("Dense", "of-pairs", {"units": 3, "activation": None}),
    ("LayerNormalization", "of-threes", {}),
    ("Flatten", "flat", {}),
    ("Dense", "last", {"units": 5, "activation": "softmax"}),
]  # fmt: skip
ROWS = [{"class_name": "InputLayer", "config": {"name": "input"}}] + [
    {"class_name": kind, "config": {"name": name, **config}} for kind, name, config in CHAIN
]
SHAPES = {
    "first/kernel": (N, 16), "first/bias": (16,), "batch/gamma": (16,), "batch/beta": (16,),
    "batch/moving_mean": (16,), "batch/moving_variance": (16,), "second/kernel": (16, 12),
    "of-pairs/kernel": (2, 3), "of-pairs/bias": (3,), "of-threes/gamma": (3,),
    "of-threes/beta": (3,), "last/kernel": (18, 5), "last/bias": (5,),
}  # fmt: skip
HELD = {
    name: (np.random.default_rng(i).uniform(0.5, 1.5, shape) if "variance" in name
           else 0.5 * np.random.default_rng(i).normal(size=shape)).astype(F32)
    for i, (name, shape) in enumerate(SHAPES.items())
}  # fmt: skip


def product(x: np.ndarray, kernel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """x W in float32, its terms added up in an order of their own."""
    return summed(x[..., None, :] * kernel.T, rng.permutation(len(kernel)))[..., 0]


def computed(x: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The chain in float32."""
    rng, found = np.random.default_rng(seed), {}
    z = found["first: pre-activations"] = product(x, HELD["first/kernel"], rng) + HELD["first/bias"]
    z = found["first"] = np.maximum(z, 0)
    mean, variance = HELD["batch/moving_mean"], HELD["batch/moving_variance"]
    scale = HELD["batch/gamma"] / np.sqrt(variance + EPSILON)
    if seed % 2:
        z = (z - mean) * scale + HELD["batch/beta"]
    else:
        z = z * scale + (HELD["batch/beta"] - mean * scale)
    found["batch"] = found["dropped"] = z
    z = found["second: pre-activations"] = product(z, HELD["second/kernel"], rng)
    z = found["second"] = np.tanh(z)
    z = found["pairs"] = z.reshape(-1, 6, 2)
    z = found["of-pairs"] = product(z, HELD["of-pairs/kernel"], rng) + HELD["of-pairs/bias"]
    z = z - summed(z, rng.permutation(3)) / F32(3)
    z = z / np.sqrt(summed(z * z, rng.permutation(3)) / F32(3) + EPSILON)
    z = found["of-threes"] = z * HELD["of-threes/gamma"] + HELD["of-threes/beta"]
    z = found["flat"] = z.reshape(-1, 18)
    z = found["last: pre-activations"] = product(z, HELD["last/kernel"], rng) + HELD["last/bias"]
    e = np.exp(z - z.max(-1, keepdims=True))
    found["last"] = e / summed(e, rng.permutation(5))
    return found


def test_a_chain_of_layers_stays_within_its_bounds() -> None:
    """Whatever each sum's order; the last layer's bound still tells four digits."""
    x = drawn(21, 500, 1.0)
    expected = forward_layers(ROWS, HELD, exactly(x))
    for seed in range(6):
        found = computed(x, seed)
        assert list(found) == list(expected)
        for name, came in found.items():
            assert came.dtype == F32
            result = within(name, "proven", came, came, *expected[name])
            assert result.agree, (name, result.detail)
    assert np.quantile(expected["last"].allowance, 0.9) < 1e-4


@pytest.mark.parametrize("layer", ["first", "batch", "second", "of-pairs", "of-threes", "last"])
def test_a_layer_of_other_weights_breaks_its_bound_alone(layer: str) -> None:
    """One weight that is 1e-4 off shows in its own layer, and nowhere before it."""
    x = drawn(22, 500, 1.0)
    found = computed(x, 0)
    key = next(key for key in HELD if key.startswith(layer))
    others = HELD | {key: HELD[key] + F32(1e-4)}
    expected = forward_layers(ROWS, others, exactly(x))
    broken = [
        name
        for name, came in found.items()
        if not within(name, "proven", came, came, *expected[name]).agree
    ]
    dense = layer in ("first", "second", "last")
    assert broken[0] == (f"{layer}: pre-activations" if dense else layer)


def test_the_tutorials_network_has_the_bounds_that_it_had() -> None:
    """As `bounds.forward` has them, which its stages are proven by."""
    weights = {
        "dense/kernel": KERNEL, "dense/bias": BIAS,
        "dense_1/kernel": HELD["first/kernel"][:4, :1], "dense_1/bias": HELD["first/bias"][:1],
    }  # fmt: skip
    rows = [
        {"class_name": "Dense", "config": {"name": name, "units": units, "activation": activation}}
        for name, units, activation in (("dense", 4, "relu"), ("dense_1", 1, "sigmoid"))
    ]
    x = exactly(drawn(23))
    by_stage = bounds.forward(x, weights)
    found = forward_layers(rows, weights, x)
    for (name, ours), (stage, theirs) in zip(found.items(), by_stage.items(), strict=True):
        np.testing.assert_array_equal(ours.value, theirs.value, err_msg=f"{name}: {stage}")
        # Each takes in terms of second order, some u = 2^-24 of the first, where that is simplest.
        assert np.allclose(ours.allowance, theirs.allowance, rtol=64 * 2.0**-24, atol=0)


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ("gelu", "gelu"), ("swish", "silu"), ("hard_swish", "hard_silu"),
        ({"class_name": "function", "config": "gelu", "registered_name": "gelu"}, "gelu"),
        ({"class_name": "LeakyReLU", "config": {"negative_slope": 0.2}}, "leaky_relu"),
        ({"class_name": "Softmax", "config": {"axis": -1}}, "softmax"),
        ({"class_name": "Activation", "config": {"activation": "mish"}}, "mish"),
        (None, "linear"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["Dense", "Activation"])
def test_an_activation_is_told_in_several_ways(kind: str, told: Any, named: str) -> None:
    """By a name or another, as a function, as a layer."""
    x = exactly(drawn(24))
    found = []
    for activation in (told, named):
        row = {"class_name": kind, "config": {"name": "l", "units": 4, "activation": activation}}
        found.append(forward_layers([row], {"l/kernel": KERNEL, "l/bias": BIAS}, x)["l"])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_shared_axes_and_last_axes_of_many() -> None:
    """PReLU's weights go with the axes that are not shared; others with the last of three."""
    x = drawn(25, 60).reshape(60, 1, N) * F32([1, 2, 3])[:, None]
    alpha = F32([[0.5], [0.25], [2.0]])
    row = {"class_name": "PReLU", "config": {"name": "l", "shared_axes": [2]}}
    found = forward_layers([row], {"l/alpha": alpha}, exactly(x))["l"]
    came = np.where(x > 0, x, alpha * x)
    assert within("prelu", "proven", came, came, *found).agree
    for case in ("dense", "batch-normalization", "layer-normalization", "softmax", "normalization"):
        whole = CASES[case]._replace(config=CASES[case].config | {"axis": -1}).bound(exactly(x))
        flat = CASES[case].bound(exactly(x.reshape(-1, N)))
        for part, rows in zip(whole, flat, strict=True):
            np.testing.assert_array_equal(part.reshape(rows.shape), rows)


REFUSALS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "kind": (layer("Conv1D"), r"no bound is known of 'l' \(Conv1D\); expected layers Dense, "),
    "all-kinds": (
        layer("LSTM") + layer("Dense", activation="glu"), r"of 'l' \(LSTM\), 'l' \(glu\); "
    ),
    "activation": (layer("Activation", activation="sparsemax"), r"'l' \(sparsemax\)"),
    "needs-numbers": (layer("Activation", activation="threshold"), r"'l' \(threshold\)"),
    "function": (
        layer("Dense", activation={"class_name": "function", "config": "mine"}), r"'l' \(mine\)"
    ),
    "layer-as-activation": (
        layer("Dense", activation={"class_name": "Lambda", "config": {}}), r"\(Lambda\)"
    ),
    "no-activation": (layer("Dense", activation=7), r"'l' \(7\)"),
    "missing": (layer("Dense", units=4), r"weight l/kernel is missing; expected \(7, 4\)"),
    "shape": (
        layer("PReLU"), r"weight l/alpha has the shape \(1,\); expected \(7,\)"
    ),
    "weights-of-an-activation": (
        layer("Activation", activation={"class_name": "PReLU", "config": {}}), "alpha is missing"
    ),
    "axis": (layer("Softmax", axis=0), r"'l' has axis=0; expected -1"),
    "axes": (layer("BatchNormalization", axis=[0]), r"'l' has axis=\[0\]; expected -1"),
    "several-axes": (layer("LayerNormalization", axis=[0, 1]), r"axis=\[0, 1\]; expected -1"),
    "unit-axis": (layer("UnitNormalization", axis=0), "axis=0"),
    "normalization-axis": (layer("Normalization", axis=0, mean=[1], variance=[1]), "axis=0"),
    "renorm": (layer("BatchNormalization", renorm=True), "renorm=True; expected False"),
    "rms": (layer("LayerNormalization", rms_scaling=True), "rms_scaling=True; expected False"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_no_bound_is_known_of_is_refused(case: str) -> None:
    """In one line that names it; nothing is passed over in silence."""
    rows, said = REFUSALS[case]
    with pytest.raises(ValueError, match=said):
        forward_layers(rows, {"l/alpha": np.zeros(1, F32)}, exactly(drawn(0)))


def test_arrays_of_a_config_are_read_as_keras_writes_them() -> None:
    """Numbers of NumPy, lists, and numbers that become float32 on their way."""
    x = exactly(drawn(26))
    numbers = np.linspace(0.1, 0.7, N)
    written = {"class_name": "__numpy__", "config": {"value": numbers.tolist(), "dtype": "float32"}}
    for scale in (numbers, numbers.tolist(), written):
        found = forward_layers(layer("Rescaling", scale=scale), {}, x)["l"]
        np.testing.assert_array_equal(found.value, x.value * numbers.astype(F32).astype(float))


_LOADED = """
import sys
import parity_tests.judge.layers.chain, parity_tests.judge.layers.measure
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"torch_impl", "torch", "keras"}))
"""


def test_the_judge_of_layers_loads_nothing_of_what_it_judges() -> None:
    """At no remove; nor a framework, before it is asked to measure one."""
    answer = subprocess.run(
        [sys.executable, "-c", _LOADED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == []


LIVE: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Rescaling", [1 / 3, -0.1], {}),
    ("Normalization", [], {}),
    ("Dense", [16], {"activation": "relu"}),
    ("BatchNormalization", [], {}),
    ("LeakyReLU", [0.3], {}),
    ("Dense", [12], {"activation": "tanh"}),
    ("Dropout", [0.5], {}), ("GaussianNoise", [0.1], {}), ("GaussianDropout", [0.1], {}),
    ("AlphaDropout", [0.1], {}), ("ActivityRegularization", [0.1], {}),
    ("Dense", [12], {"activation": "gelu", "use_bias": False}),
    ("LayerNormalization", [], {}),
    ("PReLU", [], {}),
    ("Dense", [12], {"activation": "mish"}),
    ("UnitNormalization", [], {}),
    ("ELU", [0.7], {}),
    ("Dense", [12], {"activation": "silu"}),
    ("ReLU", [], {"max_value": 2.5, "negative_slope": 0.1, "threshold": 0.7}),
    ("BatchNormalization", [], {"center": False, "epsilon": 0.01}),
    ("Normalization", [], {"mean": 0.3, "variance": 0.5, "invert": True}), ("Identity", [], {}),
    ("Reshape", [[3, 4]], {}), ("SpatialDropout1D", [0.1], {}),
    ("Dense", [4], {"activation": "elu"}),
    ("LayerNormalization", [], {"scale": False}),
    ("Softmax", [], {}),
    ("Flatten", [], {}),
    ("Dense", [6], {"activation": "hard_sigmoid"}),
    ("Normalization", [], {"mean": 0.3, "variance": 0.25}),
    ("Activation", ["log_softmax"], {}),
    ("Dense", [5], {"activation": "softmax"}),
    ("Dense", [1], {"activation": "sigmoid"}),
]  # fmt: skip


@OF_TODAY
def test_keras_stays_within_the_bounds_of_every_kind(keras: KerasProcess) -> None:
    """Carried from the first layer on, and of each layer alone, of what Keras gives to it."""
    assert {kind for kind, *_ in LIVE} == set(KINDS)
    features = drawn(31, 1000, 1.0)
    theirs = keras.call("family.layer_outputs", LIVE, features)
    carried = forward_layers(theirs["rows"], theirs["weights"], exactly(features))
    for asked in ("op by op", "predict"):
        x = features
        for row in theirs["rows"][1:]:  # after the InputLayer
            name = row["config"]["name"]
            came = theirs[asked][name]
            alone = forward_layers([row], theirs["weights"], exactly(x))[name]
            for expected in (carried[name], alone):
                result = within(name, "proven", came, came, *expected)
                assert result.agree, (asked, name, result.detail)
                assert np.isfinite(expected.allowance).all(), name
            x = came
    # Thirty layers on, a bound on what thirty layers may do at the worst.
    assert np.median(carried[name].allowance) < 1e-2


@OF_TODAY
def test_outputs_of_a_file_are_those_of_its_chain(keras: KerasProcess, tmp_path: Path) -> None:
    """Layer by layer, of the weights in it; what a file is read for is what was written."""
    chain = [("BatchNormalization", [], {}), ("Dense", [3], {"activation": "tanh"})]
    features = drawn(32, 50)
    keras.call("family.write", str(tmp_path / "x"), chain, features, (".keras",))
    read = keras.call("family.layer_outputs", str(tmp_path / "x.keras"), features)
    made = keras.call("family.layer_outputs", chain, features)
    for asked in ("weights", "op by op", "predict"):
        for ours, theirs in zip(read[asked].values(), made[asked].values(), strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)
    kinds = [row["class_name"] for row in read["rows"]]
    assert kinds == ["InputLayer", "BatchNormalization", "Dense"]
