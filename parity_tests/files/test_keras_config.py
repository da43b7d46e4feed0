"""A model's layers and its Adam as Keras writes them in JSON: taken over, noted or refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from parity_tests.files.config_rows import cast_before, dense, functional, row, sequential, source
from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.config import adam_of, compile_config, model_config, network_of
from torch_impl.keras_files.contents import AdamState, KerasFileError


def read(root: dict[str, Any]) -> tuple[Network, tuple[str, ...]]:
    return network_of(root, "file")


A = Layer("Dense", "a", 3)


def test_a_sequential_model_is_its_layers_in_order() -> None:
    """With what each says, and Keras's defaults for what it does not."""
    root = sequential(
        source(),
        dense(activation="relu", use_bias=False, dtype="float32", trainable=True),
        row("Dropout", name="d", rate=1, seed=7, noise_shape=None),
        row("Dropout", name="e", rate=0.25, seed=None),
        row("Dropout", name="f", rate=0.0, seed=7.5),
        row("Activation", name="r", activation="sigmoid"),
        row("ReLU", name="t", max_value=0),
        dense("b", units=1, activation=None),
        name="fraud",
    )
    layers = (
        Layer("Dense", "a", 3, "relu", use_bias=False),
        Layer("Dropout", "d", rate=1.0, seed=7),
        Layer("Dropout", "e", rate=0.25),
        Layer("Dropout", "f", rate=0.0),
        Layer("Activation", "r", activation="sigmoid"),
        Layer("ReLU", "t", options={"max_value": 0.0, "negative_slope": 0.0, "threshold": 0.0}),
        Layer("Dense", "b", 1),
    )
    assert read(root) == (Network(5, layers, "fraud"), ())


ROOTS: dict[str, dict[str, Any]] = {
    "of-the-input": sequential(source(), dense()),
    "of-the-first-layer": sequential(dense(batch_shape=[None, 5])),
    "as-keras-2-calls-it": sequential(dense(batch_input_shape=[None, 5])),
    "a-tuple": sequential(dense(batch_shape={"class_name": "__tuple__", "items": [None, 5]})),
    "in-the-build-config": sequential(dense()) | {"build_config": {"input_shape": [None, 5]}},
    "beside-the-config": sequential(dense()) | {"build_input_shape": [None, 5]},
    "in-the-config": sequential(dense(), build_input_shape=[None, 5]),
    "in-the-config-alone": sequential(dense(), build_input_shape=[None, 5])
    | {"build_config": {"input_shape": None}},
}


@pytest.mark.parametrize("case", ROOTS)
def test_the_width_of_the_input_is_found_wherever_keras_put_it(case: str) -> None:
    """And a model without a name is called as Keras would."""
    assert read(ROOTS[case]) == (Network(5, (A,), "sequential"), ())


def test_one_feature_is_enough() -> None:
    """And one unit."""
    network = read(sequential(source((None, 1)), dense(units=1)))[0]
    assert (network.in_features, network.layers[0].units) == (1, 1)


def test_a_shape_behind_the_first_layer_is_not_the_inputs() -> None:
    """A later layer may tell its own."""
    first = dense(batch_shape=[None, 5])
    assert read(sequential(first, dense("b", batch_shape=[None, 3])))[0].in_features == 5
    later = sequential(dense(), dense("b", batch_shape=[None, 3]), build_input_shape=[None, 5])
    assert read(later)[0].in_features == 5


@pytest.mark.parametrize("kind", ["Functional", "Model"])
def test_a_functional_model_is_followed_from_its_input(kind: str) -> None:
    """In whatever order its layers are listed, and whichever Keras wrote its edges."""
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["d", 0, 0]}}
    edges: list[Any] = [
        [{"args": [tensor], "kwargs": {}}],
        [{"args": [tensor], "kwargs": {"training": False}}],
        [{"args": [tensor], "kwargs": {"training": None}}],
        [{"args": [tensor], "kwargs": {"training": False, "mask": None}}],
        [[["d", 0, 0]]],
        [[["d", 0, 0, {"training": None}]]],
    ]
    for edge in edges:
        rows = dense("b", edge), row("Dropout", "a", name="d", rate=0.5), dense("a", "x"), source()
        root = functional(*rows, outputs=[["b", 0, 0]], kind=kind)
        assert read(root) == (
            Network(5, (A, Layer("Dropout", "d", rate=0.5), Layer("Dense", "b", 3)), "graph"), (),
        )  # fmt: skip
    root["config"]["output_layers"] = ["b", 0, 0]  # of Keras 3.10 and later
    assert len(read(root)[0].layers) == 3


@pytest.mark.parametrize("to", ["float16", "bfloat16", "float32", "float64"])
def test_a_cast_to_what_the_next_layer_computes_in_is_left_out(to: str) -> None:
    """The layer does it anyway; a policy may be a name, an object, or of mixed dtypes."""
    for policy in (to, {"class_name": "DTypePolicy", "config": {"name": to}}, f"mixed_{to}"):
        assert read(cast_before(policy, to))[0].layers == (A,)


NOTES: dict[str, tuple[dict[str, Any], str]] = {
    "mixed": ({"dtype": "mixed_float16"}, "its layers compute with the policy mixed_float16"),
    "mixed-as-an-object": (
        {"dtype": {"config": {"name": "mixed_bfloat16"}}},
        "its layers compute with the policy mixed_bfloat16",
    ),
    "kernel-regularizer": ({"kernel_regularizer": {}}, "the kernel_regularizer of 'a' is left out"),
    "bias-regularizer": ({"bias_regularizer": {}}, "the bias_regularizer of 'a' is left out"),
    "activity-regularizer": (
        {"activity_regularizer": {}}, "the activity_regularizer of 'a' is left out",
    ),
    "kernel-constraint": ({"kernel_constraint": {}}, "the kernel_constraint of 'a' is left out"),
    "bias-constraint": ({"bias_constraint": {}}, "the bias_constraint of 'a' is left out"),
    "frozen": ({"trainable": False}, "'a' is not trainable there"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTES)
def test_what_of_a_layer_is_not_taken_over_is_noted(case: str) -> None:
    """By the layer's name."""
    config, note = NOTES[case]
    assert read(sequential(source(), dense(**config))) == (Network(5, (A,)), (note,))


def test_a_note_of_two_layers_is_given_once() -> None:
    """Policies are the model's, not one layer's."""
    rows = source(), dense(dtype="mixed_float16"), dense("b", dtype="mixed_float16")
    assert read(sequential(*rows))[1] == ("its layers compute with the policy mixed_float16",)


@pytest.mark.parametrize(
    "policy", ["float32", {"config": {"name": "float64"}}, {"config": {}}, {"config": 7}, {}, None]
)
def test_a_plain_policy_or_none_is_no_news(policy: Any) -> None:
    """As a name, as an object, or not said."""
    assert read(sequential(source(), dense(dtype=policy)))[1] == ()


def adam(kind: Any = "Adam", **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": config}


NUMBERS = {"learning_rate": 0.5, "beta_1": 0, "beta_2": 0.75, "epsilon": 1e-5}
UNSUPPORTED = {"amsgrad": True, "weight_decay": 0.1, "use_ema": True, "decay": 1e-3}
ADAMS: dict[str, tuple[Any, tuple[dict[str, float] | None, tuple[str, ...]]]] = {
    "none": (None, (None, ())),
    "without-config": ({"class_name": "Adam"}, (None, ())),
    "config-a-list": ({"class_name": "Adam", "config": []}, (None, ())),
    "whole": (adam(**NUMBERS, amsgrad=False, weight_decay=None, name="x"), (NUMBERS, ())),
    "of-keras-2": (adam("Custom>Adam", epsilon=1e-5), ({"epsilon": 1e-5}, ())),
    "without-epsilon": (adam(beta_1=0.5, epsilon=None), ({"beta_1": 0.5}, ())),
    "sgd": (adam("SGD"), (None, ("its optimizer is SGD; only Adam's state is read",))),
    "adamw": (adam("AdamW"), (None, ("its optimizer is AdamW; only Adam's state is read",))),
    "schedule": (
        adam(learning_rate={"class_name": "ExponentialDecay"}),
        (None, ("its Adam has a learning-rate schedule: its state is not read",)),
    ),
} | {
    option: (
        adam(**{option: value}),
        (None, (f"its Adam has {option}, which is not supported: its state is not read",)),
    )
    for option, value in UNSUPPORTED.items()
}  # fmt: skip


@pytest.mark.parametrize("case", ADAMS)
def test_adams_numbers_are_taken_and_what_is_no_plain_adam_is_noted(case: str) -> None:
    """Whichever Keras serialized it."""
    config, expected = ADAMS[case]
    assert adam_of(config, "file") == expected


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_of_adam_that_is_none_is_refused(name: str) -> None:
    """By its name, with its value."""
    for value in (True, "0.5", -1e-9, 1e9, 10**99, math.nan, [0.5]):
        with pytest.raises(KerasFileError) as caught:
            adam_of(adam(**{name: value}), "file")
        assert str(caught.value) == f"file: Adam has {name}={str(value)[:80]}"


def test_a_decay_of_1_is_refused_and_a_rate_of_1_is_none() -> None:
    """Moments that never change are none; epsilon and rate may be anything to 1e9."""
    for name in ("beta_1", "beta_2"):
        with pytest.raises(KerasFileError, match=f"file: Adam has {name}=1"):
            adam_of(adam(**{name: 1}), "file")
    numbers = {"learning_rate": 1.0, "epsilon": 1.0}
    assert adam_of(adam(**numbers), "file") == (numbers, ())


def test_a_decay_that_is_an_object_is_refused() -> None:
    """A learning rate may be a schedule; nothing else may be an object."""
    with pytest.raises(KerasFileError) as caught:
        adam_of(adam(beta_1={"a": 1}), "file")
    assert str(caught.value) == "file: Adam has beta_1={'a': 1}"


CHAIN = Network(
    5,
    (
        Layer("Dense", "a", 3, "relu", use_bias=False),
        Layer("Dropout", "d", rate=0.25, seed=7),
        Layer("Dropout", "e", rate=0.5),
        Layer("Activation", "s", activation="sigmoid"),
    ),
    "fraud",
)


def test_what_is_written_of_a_network_is_what_keras_writes() -> None:
    """Word for word, and read back as it was."""
    config = model_config(CHAIN, "float64")
    common = {"trainable": True, "dtype": "float64"}

    def layer(kind: str, **config: Any) -> dict[str, Any]:
        return {
            "module": "keras.layers", "class_name": kind, "config": config, "registered_name": None,
        }  # fmt: skip

    assert config == {
        "module": "keras",
        "class_name": "Sequential",
        "config": {
            "name": "fraud",
            **common,
            "layers": [
                layer("InputLayer", batch_shape=[None, 5], dtype="float64"),
                layer("Dense", name="a", units=3, activation="relu", use_bias=False, **common),
                layer("Dropout", name="d", rate=0.25, seed=7, noise_shape=None, **common),
                layer("Dropout", name="e", rate=0.5, seed=None, noise_shape=None, **common),
                layer("Activation", name="s", activation="sigmoid", **common),
            ],
            "build_input_shape": [None, 5],
        },
        "registered_name": None,
        "build_config": {"input_shape": [None, 5]},
    }
    assert read(json.loads(json.dumps(config))) == (CHAIN, ())


def test_what_is_written_of_adam_compiles_the_tutorials_model() -> None:
    """Binary cross-entropy of probabilities, no metrics, and Adam's own numbers."""
    assert compile_config(AdamState(3, 0.5, {}, {}, 0.75, 0.875, 1e-5)) == {
        "optimizer": {
            "module": "keras.optimizers",
            "class_name": "Adam",
            "config": {
                "name": "adam", "learning_rate": 0.5, "beta_1": 0.75, "beta_2": 0.875,
                "epsilon": 1e-5, "amsgrad": False,
            },
            "registered_name": None,
        },
        "loss": {
            "module": "keras.losses",
            "class_name": "BinaryCrossentropy",
            "config": {"name": "binary_crossentropy", "from_logits": False},
            "registered_name": None,
        },
        "loss_weights": None,
        "metrics": [],
        "weighted_metrics": None,
        "run_eagerly": False,
        "steps_per_execution": 1,
        "jit_compile": False,
    }  # fmt: skip
