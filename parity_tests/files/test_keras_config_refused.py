"""What of a model's JSON is not supported is refused word for word, with what is known."""

from __future__ import annotations

from typing import Any

import pytest

from parity_tests.files.config_rows import (
    cast_before,
    chain,
    dense,
    functional,
    row,
    sequential,
    source,
)
from torch_impl.keras_files.config import SUPPORTED, network_of, parsed_json
from torch_impl.keras_files.contents import KerasFileError


def test_a_cast_at_the_end_is_refused() -> None:
    """No layer comes after it that would do the same."""
    cast = {"class_name": "Cast", "name": "c", "config": {"dtype": "float32", "name": "c"}}
    with pytest.raises(KerasFileError) as caught:
        network_of(
            functional(source(), dense("a", "x"), cast | {"inbound_nodes": [[["a", 0, 0, {}]]]}),
            "file",
        )
    assert str(caught.value) == f"file: the layer 'c' is a Cast; {SUPPORTED}"


NO_MODEL = "expected Sequential or Functional, with its layers in its config"
NO_DENSE = "expected a positive number, and true or false"
NO_INPUT = "expected [null, features]"
LONG = "n" * 90
NOT_SUPPORTED: dict[str, tuple[dict[str, Any], str]] = {
    "layer-without-name": (chain(row("Dense", units=3)), "the layer 'None' is a Dense"),
    "layer-of-an-empty-name": (chain(dense(name="")), "a layer is called ''"),
    "layer-with-a-path": (chain(dense(name="a/b")), "a layer is called 'a/b'"),
    "lambda": (chain(row("Lambda", name="f")), "the layer 'f' is a Lambda"),
    "foreign-module": (chain(dense() | {"module": "kerasx"}), "the layer 'a' is a Dense"),
    "registered": (
        chain(dense() | {"registered_name": "mine>Dense"}), "the layer 'a' is a mine>Dense",
    ),
    "rate-true": (
        chain(row("Dropout", name="d", rate=True)), "'d' has the rate True; expected it in [0, 1]",
    ),
    "rate-text": (
        chain(row("Dropout", name="d", rate="0.5")), "'d' has the rate 0.5; expected it in [0, 1]",
    ),
    "rate-above": (
        chain(row("Dropout", name="d", rate=1.0001)),
        "'d' has the rate 1.0001; expected it in [0, 1]",
    ),
    "noise-shape": (
        chain(row("Dropout", name="d", rate=0.5, noise_shape=[1, 3])),
        "'d' has a noise_shape, which is not supported",
    ),
    "an-activation-of-two-halves": (chain(dense(activation="glu")), "'a' has the activation 'glu'"),
    "normalized-across-rows": (
        chain(row("BatchNormalization", name="n", axis=0)),
        "'n' is along axis 0; expected the last",
    ),
    "normalized-along-two-axes": (
        chain(row("LayerNormalization", name="n", axis=[0, 1])),
        "'n' is along axis [0, 1]; expected the last",
    ),
    "momentum-above-1": (
        chain(row("BatchNormalization", name="n", axis=[1], momentum=1.01)),
        "'n' has momentum=1.01; expected a number from 0 to 1",
    ),
    "epsilon-of-text": (
        chain(row("LayerNormalization", name="n", epsilon="0.1")),
        "'n' has epsilon=0.1; expected a number from 0 to 1e+09",
    ),
    "center-of-text": (
        chain(row("BatchNormalization", name="n", center="no")),
        "'n' has {'center': 'no', 'scale': True}; expected true or false",
    ),
    "scaled-by-the-root-mean-square": (
        chain(row("LayerNormalization", name="n", rms_scaling=True)),
        "'n' has rms_scaling, which is not supported",
    ),
    "slope-below-0": (
        chain(row("LeakyReLU", name="r", alpha=-0.1)),
        "'r' has alpha=-0.1; expected a number from 0 to 1e+09",
    ),
    "elu-of-nothing": (
        chain(row("ELU", name="r", alpha=None)),
        "'r' has alpha=None; expected a number from 0 to 1e+09",
    ),
    "softmax-over-rows": (
        chain(row("Softmax", name="r", axis=0)), "'r' is along axis 0; expected the last",
    ),
    "relu-with-a-top-below-0": (
        chain(row("ReLU", name="r", max_value=-1)),
        "'r' has max_value=-1; expected a number from 0 to 1e+09",
    ),
    "relu-with-a-text-for-a-top": (
        chain(row("ReLU", name="r", max_value="6")),
        "'r' has max_value=6; expected a number from 0 to 1e+09",
    ),
    "rescaling-without-a-scale": (
        chain(row("Rescaling", name="r")),
        "'r' has scale=None; expected a number from -1e+30 to 1e+30",
    ),
    "rescaling-by-a-list-of-texts": (
        chain(row("Rescaling", name="r", scale=["1", 2, 3])),
        "'r' has scale=1; expected a number from -1e+30 to 1e+30",
    ),
    "normalization-with-a-mean-alone": (
        chain(row("Normalization", name="n", mean=[1.0, 2.0, 3.0])),
        "'n' has one of mean and variance; expected both, or neither",
    ),
    "normalization-along-another-axis": (
        chain(row("Normalization", name="n", axis=None)),
        "'n' is along axis None; expected the last",
    ),
    "reshape-to-two-axes": (
        chain(row("Reshape", name="r", target_shape=[3, 1])),
        "'r' has target_shape=[3, 1]; expected one axis",
    ),
    "noise-without-a-deviation": (
        chain(row("GaussianNoise", name="n")), "'n' has the stddev None; expected it in [0, 1]",
    ),
    "gaussian-dropout-of-everything": (
        chain(row("GaussianDropout", name="n", rate=1)), "'n' has the rate 1; expected it below 1",
    ),
    "activation-with-weights": (
        chain(dense(activation={"class_name": "PReLU", "config": {}})),
        "'a' has the activation \"{'class_name': 'PReLU', 'config': {}}\"",
    ),
    "activation-of-a-class-of-ones-own": (
        chain(row("Activation", name="x", activation={
            "module": None, "class_name": "ReLU", "config": {}, "registered_name": "ReLU",
        })),
        "'x' has the activation \"{'module': None, 'class_name': 'ReLU', 'config': {}, "
        "'registered_name': 'ReLU'}\"",
    ),
    "activation-of-a-function-of-ones-own": (
        chain(row("Activation", name="x", activation={
            "module": "builtins", "class_name": "function", "config": "swish",
            "registered_name": "function",
        })),
        "'x' has the activation \"{'module': 'builtins', 'class_name': 'function', 'config': "
        "'swish', 'registered_\"",
    ),
    "prelu-of-shared-axes": (
        chain(row("PReLU", name="r", shared_axes=[1])),
        "'r' has shared_axes, which is not supported",
    ),
    "activation-an-object": (
        chain(dense(activation={"module": "os"})), "'a' has the activation \"{'module': 'os'}\"",
    ),
    "activation-with-options": (
        chain(dense(activation={"class_name": "ReLU", "config": {"threshold": -1}})),
        "'a' has the activation \"{'class_name': 'ReLU', 'config': {'threshold': -1}}\"",
    ),
    "every-layer-that-is-not-supported": (
        chain(
            row("Conv2D", name="c"), dense(activation="glu"), row("Dropout", name="d"), dense("b"),
            row("Masking", name="n"),
        ),
        "the layer 'c' is a Conv2D; 'a' has the activation 'glu'; 'd' has the rate None; expected "
        "it in [0, 1]; the layer 'n' is a Masking",
    ),
    "very-many-layers-that-are-not-supported": (
        chain(*(row("Conv2D", name=f"c{i}") for i in range(99))),
        f"{'; '.join(f'the layer {name!r} is a Conv2D' for name in [f'c{i}' for i in range(12)])}; "
        "and 87 more",
    ),
    "units-0": (chain(dense(units=0)), f"'a' has units=0 and use_bias=True; {NO_DENSE}"),
    "units-true": (chain(dense(units=True)), f"'a' has units=True and use_bias=True; {NO_DENSE}"),
    "bias-of-text": (chain(dense(use_bias="no")), f"'a' has units=3 and use_bias=no; {NO_DENSE}"),
    "two-layers-of-one-source": (
        functional(source(), dense("a", "x"), dense("b", "x")),
        "the layer 'b' has not one input of its own",
    ),
    "two-sources": (
        functional(source(), dense("a", [[["x", 0, 0, {}], ["y", 0, 0, {}]]])),
        "the layer 'a' has not one input of its own",
    ),
    "called-in-training": (
        functional(source(), dense("a", [{
            "args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["x", 0, 0]}}],
            "kwargs": {"training": True},
        }])),
        "the layer 'a' has not one input of its own",
    ),
    "called-in-training-by-keras-2": (
        functional(source(), dense("a", [[["x", 0, 0, {"training": True}]]])),
        "the layer 'a' has not one input of its own",
    ),
    "another-output-of-its-source": (
        functional(source(), dense("a", [[["x", 0, 1, {}]]])),
        "the layer 'a' has not one input of its own",
    ),
    "a-layer-apart": (
        functional(source(), dense("a", "x"), dense("b", "c"), outputs=[["a", 0, 0]]),
        "the layers do not run from the input to one output 'a'",
    ),
    "an-output-within": (
        functional(source(), dense("a", "x"), dense("b", "a"), outputs=[["a", 0, 0]]),
        "the layers do not run from the input to one output 'b'",
    ),
    "cast-to-less": (cast_before("float32", "float16"), "the layer 'c' is a Cast"),
}  # fmt: skip
"""With what is supported behind it."""
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
    "two-of-one-name": (
        sequential(source(), dense("b"), dense("b")), "two layers have one name; they are b, b",
    ),
    "rescaling-of-another-width": (
        chain(row("Rescaling", name="r", scale=[1.0, 2.0])),
        "'r' has {'scale': [1.0, 2.0], 'offset': 0.0}; 5 features come in",
    ),
    "reshape-to-another-width": (
        chain(row("Reshape", name="r", target_shape=[2])),
        "'r' has {'target_shape': [2]}; 5 features come in",
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
}  # fmt: skip


@pytest.mark.parametrize("case", [*REFUSED, *NOT_SUPPORTED])
def test_a_config_is_refused_with_what_it_says_and_what_is_known(case: str) -> None:
    """Word for word."""
    known = {case: (root, f"{told}; {SUPPORTED}") for case, (root, told) in NOT_SUPPORTED.items()}
    root, message = (REFUSED | known)[case]
    with pytest.raises(KerasFileError) as caught:
        network_of(root, "file")
    assert str(caught.value) == f"file: {message}"


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
