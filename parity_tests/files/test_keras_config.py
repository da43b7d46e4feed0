"""A model's layers and its Adam as Keras writes them in JSON: taken over, noted or refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.config import (
    SUPPORTED,
    adam_of,
    compile_config,
    model_config,
    network_of,
    parsed_json,
)
from torch_impl.keras_files.contents import AdamState, KerasFileError


def row(kind: str, inbound: Any = None, **config: Any) -> dict[str, Any]:
    """A layer; `inbound` is the name of the layer before it in a functional model."""
    nodes = [[[inbound, 0, 0, {}]]] if isinstance(inbound, str) else inbound
    return {"class_name": kind, "config": config} | (
        {} if nodes is None else {"inbound_nodes": nodes}
    )


def dense(name: str = "a", inbound: Any = None, **config: Any) -> dict[str, Any]:
    return row("Dense", inbound, **({"name": name, "units": 3} | config))


def source(shape: Any = (None, 5), name: str = "x") -> dict[str, Any]:
    return row("InputLayer", batch_shape=list(shape), name=name)


def sequential(*rows: Any, **more: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"layers": list(rows)} | more}


def functional(*rows: Any, outputs: Any = None, kind: str = "Functional") -> dict[str, Any]:
    last = rows[-1]["config"]["name"] if outputs is None else None
    config = {"layers": list(rows), "output_layers": outputs or [[last, 0, 0]], "name": "graph"}
    return {"class_name": kind, "config": config}


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
        dense("b", units=1, activation=None),
        name="fraud",
    )
    layers = (
        Layer("Dense", "a", 3, "relu", use_bias=False),
        Layer("Dropout", "d", rate=1.0, seed=7),
        Layer("Dropout", "e", rate=0.25),
        Layer("Dropout", "f", rate=0.0),
        Layer("Activation", "r", activation="sigmoid"),
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


def cast_before(policy: Any, to: Any) -> dict[str, Any]:
    cast = {"class_name": "Cast", "name": "c", "config": {"dtype": to}, "module": "keras.src.ops"}
    return functional(
        source(), cast | {"inbound_nodes": [[["x", 0, 0, {}]]]}, dense("a", "c", dtype=policy)
    )


@pytest.mark.parametrize("to", ["float16", "bfloat16", "float32", "float64"])
def test_a_cast_to_what_the_next_layer_computes_in_is_left_out(to: str) -> None:
    """The layer does it anyway; a policy may be a name, an object, or of mixed dtypes."""
    for policy in (to, {"class_name": "DTypePolicy", "config": {"name": to}}, f"mixed_{to}"):
        assert read(cast_before(policy, to))[0].layers == (A,)


def test_a_cast_at_the_end_is_refused() -> None:
    """No layer comes after it that would do the same."""
    cast = {"class_name": "Cast", "name": "c", "config": {"dtype": "float32", "name": "c"}}
    with pytest.raises(KerasFileError) as caught:
        read(functional(source(), dense("a", "x"), cast | {"inbound_nodes": [[["a", 0, 0, {}]]]}))
    assert str(caught.value) == f"file: the layer 'c' is a Cast; {SUPPORTED}"


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


NO_MODEL = "expected Sequential or Functional, with its layers in its config"
NO_DENSE = "expected a positive number, and true or false"
NO_INPUT = "expected [null, features]"
LONG = "n" * 90
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another-class": (
        {"class_name": "MyModel", "config": {"layers": []}},
        f"the model is a 'MyModel'; {NO_MODEL}",
    ),
    "no-class": ({"config": {"layers": []}}, f"the model is a 'None'; {NO_MODEL}"),
    "a-long-class": (
        {"class_name": LONG, "config": {}}, f"the model is a '{LONG[:80]}'; {NO_MODEL}",
    ),
    "no-config": ({"class_name": "Sequential"}, f"the model is a 'Sequential'; {NO_MODEL}"),
    "no-layers": (
        {"class_name": "Functional", "config": {}}, f"the model is a 'Functional'; {NO_MODEL}",
    ),
    "layer-a-number": (sequential(7), "a layer is 7; expected an object"),
    "layer-without-config": (
        sequential({"class_name": "Dense"}),
        "a layer is {'class_name': 'Dense'}; expected an object",
    ),
    "layer-called-by-a-number": (sequential(dense(name=7)), "a layer is called 7"),
    "layer-without-name": (
        sequential(source(), row("Dense", units=3)), f"the layer 'None' is a Dense; {SUPPORTED}",
    ),
    "layer-of-an-empty-name": (
        sequential(source(), dense(name="")), f"a layer is called ''; {SUPPORTED}",
    ),
    "layer-with-a-path": (
        sequential(source(), dense(name="a/b")), f"a layer is called 'a/b'; {SUPPORTED}",
    ),
    "lambda": (
        sequential(source(), row("Lambda", name="f")), f"the layer 'f' is a Lambda; {SUPPORTED}",
    ),
    "foreign-module": (
        sequential(source(), dense() | {"module": "kerasx"}),
        f"the layer 'a' is a Dense; {SUPPORTED}",
    ),
    "registered": (
        sequential(source(), dense() | {"registered_name": "mine>Dense"}),
        f"the layer 'a' is a mine>Dense; {SUPPORTED}",
    ),
    "two-of-one-name": (
        sequential(source(), dense("b"), dense("b")),
        "two layers have one name; they are b, b",
    ),
    "rate-true": (
        sequential(source(), row("Dropout", name="d", rate=True)),
        f"'d' has the rate True; expected it in [0, 1]; {SUPPORTED}",
    ),
    "rate-text": (
        sequential(source(), row("Dropout", name="d", rate="0.5")),
        f"'d' has the rate 0.5; expected it in [0, 1]; {SUPPORTED}",
    ),
    "rate-above": (
        sequential(source(), row("Dropout", name="d", rate=1.0001)),
        f"'d' has the rate 1.0001; expected it in [0, 1]; {SUPPORTED}",
    ),
    "noise-shape": (
        sequential(source(), row("Dropout", name="d", rate=0.5, noise_shape=[1, 3])),
        f"'d' has a noise_shape, which is not supported; {SUPPORTED}",
    ),
    "an-activation-of-two-halves": (
        sequential(source(), dense(activation="glu")),
        f"'a' has the activation 'glu'; {SUPPORTED}",
    ),
    "normalized-across-rows": (
        sequential(source(), row("BatchNormalization", name="n", axis=0)),
        f"'n' is along axis 0; expected the last; {SUPPORTED}",
    ),
    "normalized-along-two-axes": (
        sequential(source(), row("LayerNormalization", name="n", axis=[0, 1])),
        f"'n' is along axis [0, 1]; expected the last; {SUPPORTED}",
    ),
    "momentum-above-1": (
        sequential(source(), row("BatchNormalization", name="n", axis=[1], momentum=1.01)),
        f"'n' has momentum=1.01; expected a number from 0 to 1; {SUPPORTED}",
    ),
    "epsilon-of-text": (
        sequential(source(), row("LayerNormalization", name="n", epsilon="0.1")),
        f"'n' has epsilon=0.1; expected a number from 0 to 1e+09; {SUPPORTED}",
    ),
    "center-of-text": (
        sequential(source(), row("BatchNormalization", name="n", center="no")),
        f"'n' has {{'center': 'no', 'scale': True}}; expected true or false; {SUPPORTED}",
    ),
    "scaled-by-the-root-mean-square": (
        sequential(source(), row("LayerNormalization", name="n", rms_scaling=True)),
        f"'n' has rms_scaling, which is not supported; {SUPPORTED}",
    ),
    "slope-below-0": (
        sequential(source(), row("LeakyReLU", name="r", alpha=-0.1)),
        f"'r' has alpha=-0.1; expected a number from 0 to 1e+09; {SUPPORTED}",
    ),
    "elu-of-nothing": (
        sequential(source(), row("ELU", name="r", alpha=None)),
        f"'r' has alpha=None; expected a number from 0 to 1e+09; {SUPPORTED}",
    ),
    "softmax-over-rows": (
        sequential(source(), row("Softmax", name="r", axis=0)),
        f"'r' is along axis 0; expected the last; {SUPPORTED}",
    ),
    "relu-with-a-top-below-0": (
        sequential(source(), row("ReLU", name="r", max_value=-1)),
        f"'r' has max_value=-1; expected a number from 0 to 1e+09; {SUPPORTED}",
    ),
    "relu-with-a-text-for-a-top": (
        sequential(source(), row("ReLU", name="r", max_value="6")),
        f"'r' has max_value=6; expected a number from 0 to 1e+09; {SUPPORTED}",
    ),
    "rescaling-of-another-width": (
        sequential(source(), row("Rescaling", name="r", scale=[1.0, 2.0])),
        "'r' has {'scale': [1.0, 2.0], 'offset': 0.0}; 5 features come in",
    ),
    "rescaling-without-a-scale": (
        sequential(source(), row("Rescaling", name="r")),
        f"'r' has scale=None; expected a number from -1e+30 to 1e+30; {SUPPORTED}",
    ),
    "rescaling-by-a-list-of-texts": (
        sequential(source(), row("Rescaling", name="r", scale=["1", 2, 3])),
        f"'r' has scale=1; expected a number from -1e+30 to 1e+30; {SUPPORTED}",
    ),
    "normalization-with-a-mean-alone": (
        sequential(source(), row("Normalization", name="n", mean=[1.0, 2.0, 3.0])),
        f"'n' has one of mean and variance; expected both, or neither; {SUPPORTED}",
    ),
    "normalization-along-another-axis": (
        sequential(source(), row("Normalization", name="n", axis=None)),
        f"'n' is along axis None; expected the last; {SUPPORTED}",
    ),
    "reshape-to-another-width": (
        sequential(source(), row("Reshape", name="r", target_shape=[2])),
        "'r' has {'target_shape': [2]}; 5 features come in",
    ),
    "reshape-to-two-axes": (
        sequential(source(), row("Reshape", name="r", target_shape=[3, 1])),
        f"'r' has target_shape=[3, 1]; expected one axis; {SUPPORTED}",
    ),
    "noise-without-a-deviation": (
        sequential(source(), row("GaussianNoise", name="n")),
        f"'n' has the stddev None; expected it in [0, 1]; {SUPPORTED}",
    ),
    "gaussian-dropout-of-everything": (
        sequential(source(), row("GaussianDropout", name="n", rate=1)),
        f"'n' has the rate 1; expected it below 1; {SUPPORTED}",
    ),
    "activation-with-weights": (
        sequential(source(), dense(activation={"class_name": "PReLU", "config": {}})),
        f"'a' has the activation \"{{'class_name': 'PReLU', 'config': {{}}}}\"; {SUPPORTED}",
    ),
    "activation-of-a-class-of-ones-own": (
        sequential(source(), row("Activation", name="x", activation={
            "module": None, "class_name": "ReLU", "config": {}, "registered_name": "ReLU",
        })),
        "'x' has the activation \"{'module': None, 'class_name': 'ReLU', 'config': {}, "
        f"'registered_name': 'ReLU'}}\"; {SUPPORTED}",
    ),
    "activation-of-a-function-of-ones-own": (
        sequential(source(), row("Activation", name="x", activation={
            "module": "builtins", "class_name": "function", "config": "swish",
            "registered_name": "function",
        })),
        "'x' has the activation \"{'module': 'builtins', 'class_name': 'function', 'config': "
        f"'swish', 'registered_\"; {SUPPORTED}",
    ),
    "prelu-of-shared-axes": (
        sequential(source(), row("PReLU", name="r", shared_axes=[1])),
        f"'r' has shared_axes, which is not supported; {SUPPORTED}",
    ),
    "activation-an-object": (
        sequential(source(), dense(activation={"module": "os"})),
        f"'a' has the activation \"{{'module': 'os'}}\"; {SUPPORTED}",
    ),
    "activation-with-options": (
        sequential(source(), dense(activation={"class_name": "ReLU", "config": {"threshold": -1}})),
        "'a' has the activation \"{'class_name': 'ReLU', 'config': {'threshold': -1}}\"; "
        f"{SUPPORTED}",
    ),
    "every-layer-that-is-not-supported": (
        sequential(
            source(), row("Conv2D", name="c"), dense(activation="glu"), row("Dropout", name="d"),
            dense("b"), row("Masking", name="n"),
        ),
        "the layer 'c' is a Conv2D; 'a' has the activation 'glu'; 'd' has the rate None; expected "
        f"it in [0, 1]; the layer 'n' is a Masking; {SUPPORTED}",
    ),
    "very-many-layers-that-are-not-supported": (
        sequential(source(), *(row("Conv2D", name=f"c{i}") for i in range(99))),
        f"{'; '.join(f'the layer {name!r} is a Conv2D' for name in [f'c{i}' for i in range(12)])}; "
        f"and 87 more; {SUPPORTED}",
    ),
    "units-0": (
        sequential(source(), dense(units=0)),
        f"'a' has units=0 and use_bias=True; {NO_DENSE}; {SUPPORTED}",
    ),
    "units-true": (
        sequential(source(), dense(units=True)),
        f"'a' has units=True and use_bias=True; {NO_DENSE}; {SUPPORTED}",
    ),
    "bias-of-text": (
        sequential(source(), dense(use_bias="no")),
        f"'a' has units=3 and use_bias=no; {NO_DENSE}; {SUPPORTED}",
    ),
    "no-input": (sequential(dense()), f"the input has shape None; {NO_INPUT}"),
    "input-of-three-axes": (
        sequential(source((None, 5, 1)), dense()), f"the input has shape [None, 5, 1]; {NO_INPUT}",
    ),
    "input-of-no-features": (
        sequential(source((None, 0)), dense()), f"the input has shape [None, 0]; {NO_INPUT}",
    ),
    "input-of-any-width": (
        sequential(source((None, None)), dense()), f"the input has shape [None, None]; {NO_INPUT}",
    ),
    "two-inputs": (
        functional(source(), source(name="y"), dense("a", "x")),
        "the model has 2 inputs; expected 1",
    ),
    "no-inputs": (functional(dense("a", "x")), "the model has 0 inputs; expected 1"),
    "two-layers-of-one-source": (
        functional(source(), dense("a", "x"), dense("b", "x")),
        f"the layer 'b' has not one input of its own; {SUPPORTED}",
    ),
    "two-sources": (
        functional(source(), dense("a", [[["x", 0, 0, {}], ["y", 0, 0, {}]]])),
        f"the layer 'a' has not one input of its own; {SUPPORTED}",
    ),
    "called-in-training": (
        functional(source(), dense("a", [{
            "args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["x", 0, 0]}}],
            "kwargs": {"training": True},
        }])),
        f"the layer 'a' has not one input of its own; {SUPPORTED}",
    ),
    "called-in-training-by-keras-2": (  # where `predict` does not override it
        functional(source(), dense("a", [[["x", 0, 0, {"training": True}]]])),
        f"the layer 'a' has not one input of its own; {SUPPORTED}",
    ),
    "another-output-of-its-source": (
        functional(source(), dense("a", [[["x", 0, 1, {}]]])),
        f"the layer 'a' has not one input of its own; {SUPPORTED}",
    ),
    "a-layer-apart": (
        functional(source(), dense("a", "x"), dense("b", "c"), outputs=[["a", 0, 0]]),
        f"the layers do not run from the input to one output 'a'; {SUPPORTED}",
    ),
    "an-output-within": (
        functional(source(), dense("a", "x"), dense("b", "a"), outputs=[["a", 0, 0]]),
        f"the layers do not run from the input to one output 'b'; {SUPPORTED}",
    ),
    "cast-to-less": (
        cast_before("float32", "float16"), f"the layer 'c' is a Cast; {SUPPORTED}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_config_is_refused_with_what_it_says_and_what_is_known(case: str) -> None:
    """Word for word."""
    root, message = REFUSED[case]
    with pytest.raises(KerasFileError) as caught:
        read(root)
    assert str(caught.value) == f"file: {message}"


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
@pytest.mark.parametrize("value", [True, "0.5", -1e-9, 1e9, 10**99, math.nan, [0.5]], ids=str)
def test_a_number_of_adam_that_is_none_is_refused(name: str, value: Any) -> None:
    """By its name, with its value."""
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


JSON: dict[str, tuple[str, str]] = {
    "a-list": ("[]", "is list; expected an object"),
    "a-number": ("7", "is int; expected an object"),
    "too-long": (" " * (1 << 20) + "{}", "is no JSON (1048578 characters)"),
    "empty": ("", "is no JSON (Expecting value: line 1 column 1 (char 0))"),
}


@pytest.mark.parametrize("case", JSON)
def test_a_text_that_is_no_object_is_refused(case: str) -> None:
    """With the parser's reason, or the kind of thing that it is."""
    text, message = JSON[case]
    with pytest.raises(KerasFileError) as caught:
        parsed_json(text, "file")
    assert str(caught.value) == f"file: {message}"


def test_the_longest_text_is_parsed() -> None:
    """Of 2²⁰ characters; and bytes as well."""
    assert parsed_json(" " * ((1 << 20) - 2) + "{}", "file") == {}
    assert parsed_json(b'{"a": 1}', "file") == {"a": 1}


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
