"""The two trees that Keras keeps weights in, by hand: read in order, or refused word for word."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from parity_tests.files import hostile
from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.config import SUPPORTED
from torch_impl.keras_files.contents import AdamState, KerasFileError
from torch_impl.keras_files.hdf5.legacy_h5 import read_legacy_h5
from torch_impl.keras_files.hdf5.reader import Dataset, Group
from torch_impl.keras_files.hdf5.weights_h5 import (
    adam_from,
    layer_groups,
    named_weights,
    optimizer_tensors,
)

W, B, V = torch.ones(2, 3), torch.full((3,), 2.0), torch.full((3, 1), 3.0)
Tree = Mapping[str, Any]


def grown(tree: Any, **attrs: Any) -> Any:
    """Groups from dicts, where `@name` is an attribute, and datasets from tensors."""
    if isinstance(tree, Tensor):
        data = memoryview(tree.contiguous().numpy().tobytes())
        return Dataset(tree.dtype, tuple(tree.shape), data, attrs)
    members = {name: grown(child) for name, child in tree.items() if not name.startswith("@")}
    return Group(members, {n[1:]: value for n, value in tree.items() if n.startswith("@")})


def layer(*tensors: Tensor, name: str | None = None) -> dict[str, Any]:
    held: dict[str, Any] = {str(i): tensor for i, tensor in enumerate(tensors)}
    return {"vars": held | ({} if name is None else {"@name": name})}


def dense(*rows: tuple[str | None, list[Tensor]]) -> list[Any]:
    return [("Dense", *row) for row in rows]


def refused(read: Callable[[], object], message: str) -> None:
    with pytest.raises(KerasFileError) as caught:
        read()
    assert str(caught.value) == f"file: {message}"


@pytest.mark.parametrize("root", ["layers", "_layer_checkpoint_dependencies"])
def test_dense_layers_come_in_the_order_of_their_numbers(root: str) -> None:
    """Wherever the tree has them, under whichever of the two names; others have no weights."""
    found = layer_groups(
        grown({root: {
            "dense_10": layer(V, name="last"), "dropout": {}, "activation_3": {"vars": {}},
            "input_layer": {}, "dense_1": layer(B), "dense": layer(W, B, name="first"),
        }}),
        "file",
    )  # fmt: skip
    assert {kind for kind, _, _ in found} == {"Dense"}
    assert [(name, [t.tolist() for t in tensors]) for _, name, tensors in found] == [
        ("first", [W.tolist(), B.tolist()]), (None, [B.tolist()]), ("last", [V.tolist()]),
    ]  # fmt: skip


def test_a_name_that_is_no_text_is_none() -> None:
    """HDF5 attributes may be anything."""
    for name in (None, ["x"]):
        tree = grown({"layers": {"dense": {"vars": {"@name": name}}}})
        assert layer_groups(tree, "file") == [("Dense", None, [])]
    assert layer_groups(grown({"layers": {"dense": {}}}), "") == [("Dense", None, [])]


EXPECTED = "expected datasets 0, 1, …"
TREES: dict[str, tuple[Tree, str]] = {
    "no-layers": ({"dense": layer(W)}, "no Keras weights; expected a group 'layers'"),
    "layers-a-dataset": ({"layers": W}, "no Keras weights; expected a group 'layers'"),
    "lambda": ({"layers": {"lambda": {}}}, f"holds a layer 'lambda'; {SUPPORTED}"),
    "behind-a-dense": ({"layers": {"dense_x": {}}}, f"holds a layer 'dense_x'; {SUPPORTED}"),
    "a-dataset": ({"layers": {"dense": W}}, f"holds a layer 'dense'; {SUPPORTED}"),
    "of-a-long-name": (
        {"layers": {"x" * 90: {}}}, f"holds a layer '{'x' * 80}'; {SUPPORTED}",
    ),
    "weights-of-a-dropout": (
        {"layers": {"dropout_1": layer(W)}}, "dropout_1 has weights; expected none",
    ),
    "weights-of-an-input": (
        {"layers": {"input_layer": layer(W)}}, "input_layer has weights; expected none",
    ),
    "more-in-a-layer": (
        {"layers": {"dense": layer(W) | {"z": {}, "lora": {}}}},
        f"dense holds 'lora' too; {SUPPORTED}",
    ),
    "a-gap": (
        {"layers": {"dense": {"vars": {"0": W, "2": B}}}},
        f"dense/vars holds ['0', '2']; {EXPECTED}",
    ),
    "a-group-for-numbers": (
        {"layers": {"dense": {"vars": {"0": {}}}}}, f"dense/vars holds ['0']; {EXPECTED}",
    ),
    "variables-a-dataset": (
        {"layers": {"dense": {"vars": W}}}, f"dense/vars holds []; {EXPECTED}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TREES)
def test_a_tree_of_other_things_is_refused(case: str) -> None:
    """By the name of what is in it."""
    tree, message = TREES[case]
    refused(lambda: layer_groups(grown(tree), "file"), message)


NETWORK = Network(2, (Layer("Dense", "a", 3), Layer("Dropout", "d"), Layer("Dense", "b", 1)))


def test_layers_without_a_name_get_the_networks_or_kerass_default() -> None:
    """In their order."""
    rows = dense((None, [W, B]), (None, [V]))
    for network, names in (
        (NETWORK, ["a/kernel", "a/bias", "b/kernel"]),
        (None, ["dense/kernel", "dense/bias", "dense_1/kernel"]),
    ):
        came = named_weights(rows, network, "file")
        assert list(came) == names
        assert list(came.values()) == [W, B, V] or all(
            one is other for one, other in zip(came.values(), (W, B, V), strict=True)
        )
    assert list(named_weights(dense(("x", [W]), ("y", [V])), None, "")) == ["x/kernel", "y/kernel"]
    assert list(named_weights(dense(("a", [W]), (None, [V])), NETWORK, "")) == [
        "a/kernel",
        "b/kernel",
    ]


def test_each_kind_of_layer_is_counted_by_itself() -> None:
    """A network says in which order they stand; one like it, which weights there are."""
    normalization = Layer("BatchNormalization", "n", scale=False)
    network = Network(2, (normalization, Layer("Dense", "a", 3)))
    rows = [("Dense", None, [W, B]), ("BatchNormalization", None, [V, B, W])]
    came = named_weights(rows, network, "file")
    assert list(came) == ["n/beta", "n/moving_mean", "n/moving_variance", "a/kernel", "a/bias"]
    assert came["n/moving_mean"] is B
    came = named_weights(rows, None, "file", network)
    # What the file does not name is the network's, in the network's order.
    assert list(came) == ["n/beta", "n/moving_mean", "n/moving_variance", "a/kernel", "a/bias"]
    named = [("Dense", "x", [W, B]), ("BatchNormalization", "y", [V, B, W])]
    came = named_weights(named, None, "file", network)
    assert list(came) == ["y/beta", "y/moving_mean", "y/moving_variance", "x/kernel", "x/bias"]
    whole = "expected gamma, beta, moving_mean, moving_variance"
    refused(
        lambda: named_weights(rows, None, "file"),
        "the BatchNormalization layer 'batch_normalization' has 3 weights, or its name stands "
        f"twice; {whole} (where some are left out, the architecture tells: config=, which "
        "model.to_json() wrote)",
    )


COUNT = "expected kernel, bias"
ROWS: dict[str, tuple[list[tuple[str | None, list[Tensor]]], Network | None, str]] = {
    "other-names": (
        [("b", [W]), ("a", [V])], NETWORK,
        "weights of 2 Dense layers b, a; the config has a, b",
    ),
    "one-too-few": (
        [("a", [W])], NETWORK, "weights of 1 Dense layers a; the config has a, b",
    ),
    "one-too-many": (
        [("a", [W]), ("b", [V]), ("c", [V])], NETWORK,
        "weights of 3 Dense layers a, b; the config has a, b",
    ),
    "three-weights": (
        [("a", [W, B, B])], None,
        f"the Dense layer 'a' has 3 weights, or its name stands twice; {COUNT}",
    ),
    "no-weights": (
        [("a", [])], None, f"the Dense layer 'a' has 0 weights, or its name stands twice; {COUNT}",
    ),
    "one-name-twice": (
        [("a", [W]), ("a", [V])], None,
        f"the Dense layer 'a' has 1 weights, or its name stands twice; {COUNT}",
    ),
    "a-path-for-a-name": (
        [("a/b", [W])], None,
        f"the Dense layer 'a/b' has 1 weights, or its name stands twice; {COUNT}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ROWS)
def test_layers_that_are_not_the_networks_are_refused(case: str) -> None:
    """With both lists, or with what the layer has."""
    rows, network, message = ROWS[case]
    refused(lambda: named_weights(dense(*rows), network, "file"), message)


WEIGHTS = {"a/kernel": W, "a/bias": B, "b/kernel": V}
SLOTS = [number * weight for weight in WEIGHTS.values() for number in (5, 7)]
STEPS, RATE = torch.tensor(3), torch.tensor(0.125)


@pytest.mark.parametrize("rate", [True, False], ids=["with-rate", "without-rate"])
def test_adams_variables_are_read_in_kerass_order(rate: bool) -> None:
    """Keras 2 keeps the learning rate in the config alone; a note says what was assumed."""
    tensors = [STEPS, *([RATE] if rate else []), *SLOTS]
    state, notes = adam_from(tensors, WEIGHTS, {})
    assert state is not None
    assert (state.iterations, state.learning_rate) == (3, 0.125 if rate else 0.001)
    assert notes == (() if rate else ("it has no learning rate: 0.001 was assumed",))
    assert (state.beta_1, state.beta_2, state.epsilon) == (0.9, 0.999, 1e-7)
    for held, number in ((state.momentum, 5), (state.velocity, 7)):
        assert {name: t.tolist() for name, t in held.items()} == {
            name: (number * weight).tolist() for name, weight in WEIGHTS.items()
        }
    numbers = {"learning_rate": 0.5, "beta_1": 0.75, "beta_2": 0.875, "epsilon": 1e-5}
    state, notes = adam_from(tensors, WEIGHTS, numbers)
    assert state is not None
    assert (state.learning_rate, notes) == (0.125 if rate else 0.5, ())
    assert (state.beta_1, state.beta_2, state.epsilon) == (0.75, 0.875, 1e-5)


@pytest.mark.parametrize(
    "tensors",
    [
        [STEPS, RATE, *SLOTS[:-1]],
        [STEPS, RATE, *SLOTS, B],
        [STEPS, RATE, *SLOTS[::-1]],
        [STEPS.float(), RATE, *SLOTS],
        [STEPS.reshape(1), RATE, *SLOTS],
        [STEPS, torch.tensor(1), *SLOTS],
        [STEPS],
    ],
    ids=["too-few", "too-many", "other-order", "steps-float", "steps-list", "rate-whole", "alone"],
)
def test_variables_of_another_optimizer_are_noted_and_left(tensors: list[Tensor]) -> None:
    """They are not Adam's, whatever it is called."""
    assert adam_from(tensors, WEIGHTS, {}) == (
        None, ("its optimizer's variables are not Adam's: not read",),
    )  # fmt: skip


def test_an_optimizer_without_variables_is_none() -> None:
    """The model was compiled and never trained, or never compiled."""
    assert adam_from([], WEIGHTS, {}) == (None, ())
    assert optimizer_tensors(grown({}), "file") == []
    (came,) = optimizer_tensors(grown({"optimizer": {"vars": {"0": B}}}), "file")
    assert came.tolist() == B.tolist()
    refused(
        lambda: optimizer_tensors(grown({"optimizer": {"vars": {"1": B}}}), "file"),
        f"optimizer/vars holds ['1']; {EXPECTED}",
    )


CONFIG = {
    "class_name": "Sequential",
    "config": {
        "layers": [
            {"class_name": "InputLayer", "config": {"batch_shape": [None, 2]}},
            {"class_name": "Dense", "config": {"name": "a", "units": 3, "trainable": False}},
            {"class_name": "Dense", "config": {"name": "b", "units": 1, "use_bias": False}},
        ],
    },
}
ADAM = {"class_name": "Adam", "config": {"learning_rate": 0.5, "beta_1": 0.75}}
GROUPS = {
    "@layer_names": ["d", "a", "b"],
    "d": {"@weight_names": ["seed_generator_1/seed_generator_state"]},
    "a": {
        "@weight_names": ["seed_generator_2/seed_generator_state:0", "m/a/kernel:0", "m/a/bias:0"],
        "m": {"a": {"kernel:0": W, "bias:0": B}},
    },
    "b": {"@weight_names": ["m/b/kernel:0"], "m": {"b": {"kernel:0": V}}},
}


def legacy(optimizer: Any = None, **more: Any) -> dict[str, Any]:
    """A whole model, and an optimizer's variables by name."""
    tree: dict[str, Any] = {
        "@model_config": json.dumps(CONFIG), "model_weights": GROUPS | {"@keras_version": "2.9.0"},
    }  # fmt: skip
    if optimizer is not None:
        tree["@training_config"] = json.dumps({"optimizer_config": ADAM})
        tree["optimizer_weights"] = {"@weight_names": list(optimizer)}
        for path, tensor in optimizer.items():
            *folders, name = path.split("/")
            at = tree["optimizer_weights"]
            for folder in folders:
                at = at.setdefault(folder, {})
            at[name] = tensor
    return tree | more


def test_a_whole_legacy_model_is_read() -> None:
    """Weights in the network's order, notes of its layers, and who wrote it."""
    came = read_legacy_h5(grown(legacy()), "file")
    assert list(came.weights) == ["a/kernel", "a/bias", "b/kernel"]
    assert came.weights["a/bias"].tolist() == B.tolist()
    assert came.network is not None
    assert came.network.in_features == 2
    assert (came.format, came.keras_version) == ("legacy .h5 model", "2.9.0")
    assert (came.optimizer, came.notes) == (None, ("'a' is not trainable there",))


def test_legacy_weights_alone_are_read() -> None:
    """Their names are the layers'; long lists of names are split."""
    parts = {"@layer_names0": ["d", "a"], "@layer_names1": ["b"], "@layer_names3": ["no"]}
    groups = {key: value for key, value in GROUPS.items() if key != "@layer_names"}
    for tree in (GROUPS, groups | parts):
        came = read_legacy_h5(grown(tree), "file")
        assert list(came.weights) == ["a/kernel", "a/bias", "b/kernel"]
        assert (came.network, came.optimizer, came.notes) == (None, None, ())
        assert (came.format, came.keras_version) == ("legacy .h5 weights", None)
    versions = [read_legacy_h5(grown(GROUPS | {"@keras_version": v}), "") for v in ("2.9.0", None)]
    assert [came.keras_version for came in versions] == ["2.9.0", None]
    assert read_legacy_h5(grown(GROUPS | {"@keras_version": ["2"]}), "").keras_version is None
    empty = grown({"@layer_names": ["d"], "d": {"@weight_names": None}})
    assert read_legacy_h5(empty, "file").weights == {}


def test_legacy_weights_alone_come_in_the_order_in_which_their_layers_are_listed() -> None:
    """The tenth layer after the second, and not in the order of their names or of the tree's."""
    names = [f"dense_{number}" if number else "dense" for number in range(12)]
    rows = {
        name: {"@weight_names": [f"{name}/kernel:0"], name: {"kernel:0": number * W}}
        for number, name in enumerate(names)
    }
    for tree in (rows, dict(sorted(rows.items())), dict(reversed(rows.items()))):
        came = read_legacy_h5(grown({"@layer_names": names, **tree}), "file")
        assert list(came.weights) == [f"{name}/kernel" for name in names]
        assert [int(t[0, 0]) for t in came.weights.values()] == list(range(12))


KERAS_3 = {"adam/iteration": STEPS, "adam/learning_rate": RATE} | {
    f"adam/m_{name.replace('/', '_')}_{kind}": number * weight
    for name, weight in WEIGHTS.items()
    for kind, number in (("momentum", 5), ("velocity", 7))
}
KERAS_2_11 = {"Adam/iteration:0": STEPS} | {
    f"Adam/{kind}/m/{name}:0": number * weight
    for name, weight in WEIGHTS.items()
    for kind, number in (("m", 5), ("v", 7))
}
KERAS_2_10 = {"Adam/iter:0": STEPS} | {
    f"Adam/m/{name}/{kind}:0": number * weight
    for kind, number in (("m", 5), ("v", 7))
    for name, weight in WEIGHTS.items()
}


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [(KERAS_3, 0.125), (KERAS_2_11, 0.5)],
    ids=["keras-3", "keras-2.11"],
)
def test_adam_of_a_legacy_file_is_read(optimizer: dict[str, Tensor], rate: float) -> None:
    """Each version calls its variables otherwise; what is not among them is in the config."""
    state = read_legacy_h5(grown(legacy(optimizer)), "file").optimizer
    check_adam(state, rate)


def test_adam_of_keras_2_10_has_all_its_momenta_first() -> None:
    """Its slots are told by the end of their names."""
    named = {name.replace("Adam/m/", "Adam/"): tensor for name, tensor in KERAS_2_10.items()}
    check_adam(read_legacy_h5(grown(legacy(named)), "file").optimizer, 0.5)


def check_adam(state: AdamState | None, rate: float) -> None:
    assert state is not None
    assert (state.iterations, state.learning_rate, state.beta_1) == (3, rate, 0.75)
    for held, number in ((state.momentum, 5), (state.velocity, 7)):
        assert {name: t.tolist() for name, t in held.items()} == {
            name: (number * weight).tolist() for name, weight in WEIGHTS.items()
        }


@pytest.mark.parametrize("left_out", [-1, -2])
def test_a_slot_without_its_twin_is_noted_and_left(left_out: int) -> None:
    """A momentum without a velocity, or the other way round, is not Adam's."""
    name = list(KERAS_3)[left_out]
    slots = {key: tensor for key, tensor in KERAS_3.items() if key != name}
    came = read_legacy_h5(grown(legacy(slots)), "file")
    assert came.optimizer is None
    assert came.optimizer_notes == ("its optimizer's variables are not Adam's: not read",)


def test_a_legacy_file_of_another_optimizer_says_which() -> None:
    """Its weights are read all the same."""
    config = json.dumps({"optimizer_config": {"class_name": "SGD", "config": {}}})
    came = read_legacy_h5(grown(legacy(KERAS_3) | {"@training_config": config}), "file")
    assert came.optimizer is None
    assert came.optimizer_notes == ("its optimizer is SGD; only Adam's state is read",)


def without(tree: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key != name}


def with_groups(**changed: Any) -> dict[str, Any]:
    return legacy(model_weights=GROUPS | {n.replace("at_", "@"): v for n, v in changed.items()})


LEGACY: dict[str, tuple[dict[str, Any], str]] = {
    "no-config": (
        without(legacy(), "@model_config"), "has model_weights and no model_config",
    ),
    "config-no-text": (
        legacy() | {"@model_config": ["x"]}, "has model_weights and no model_config",
    ),
    "config-no-json": (
        legacy() | {"@model_config": ""},
        "model_config: is no JSON (Expecting value: line 1 column 1 (char 0))",
    ),
    "training-no-json": (
        legacy() | {"@training_config": "7"}, "training_config: is int; expected an object",
    ),
    "adam-of-text": (
        legacy() | {"@training_config": json.dumps(
            {"optimizer_config": {"class_name": "Adam", "config": {"beta_1": "x"}}})},
        "Adam has beta_1=x",
    ),
    "no-names": (
        legacy(model_weights=without(GROUPS, "@layer_names")),
        "an HDF5 group has no layer_names",
    ),
    "no-names-in-a-layer": (
        with_groups(b={"m": {}}), "an HDF5 group has no weight_names",
    ),
    "layer-missing": (
        with_groups(at_layer_names=["a", "c"]), "the layer 'c' is named and not there",
    ),
    "layer-a-dataset": (with_groups(b=V), "the layer 'b' is named and not there"),
    "weight-missing": (
        with_groups(b={"@weight_names": ["m/b/kernel:0"]}),
        "the weight 'm/b/kernel:0' is named and not there",
    ),
    "weight-a-group": (
        with_groups(b={"@weight_names": ["kernel"], "kernel": {}}),
        "the weight 'kernel' is named and not there",
    ),
    "another-weight": (
        with_groups(b={"@weight_names": ["m/delta:0"]}),
        f"the layer 'b' has a weight 'm/delta:0'; {SUPPORTED}",
    ),
    "a-weight-twice": (
        with_groups(b={"@weight_names": ["kernel", "m/kernel:0"], "kernel": V}),
        f"the layer 'b' has a weight 'm/kernel:0'; {SUPPORTED}",
    ),
    "a-layer-with-a-path": (
        {"@layer_names": ["a/b"], "a/b": {"@weight_names": ["kernel"], "kernel": V}},
        f"the layer 'a/b' has a weight 'kernel'; {SUPPORTED}",
    ),
    "weights-of-another-network": (
        with_groups(at_layer_names=["a"]),
        "holds the weights a/kernel, a/bias; the config has a/kernel, a/bias, b/kernel",
    ),
    "slots-without-names": (
        legacy(KERAS_3) | {"optimizer_weights": {}}, "an HDF5 group has no weight_names",
    ),
    "slot-missing": (
        legacy(KERAS_3) | {"optimizer_weights": {"@weight_names": ["x_momentum"]}},
        "the weight 'x_momentum' is named and not there",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LEGACY)
def test_a_legacy_file_that_contradicts_itself_is_refused(case: str) -> None:
    """Config, lists of names and groups have to agree."""
    tree, message = LEGACY[case]
    refused(lambda: read_legacy_h5(grown(tree), "file"), message)


def test_a_name_that_stands_twice_among_very_many_is_found_in_time() -> None:
    """Counted once, not once for each of them."""
    names = [f"{number:x}" for number in range(200_000)]
    root = grown({"@layer_names": [*names, "0"]})
    hostile.refused(lambda: read_legacy_h5(root, "file"), "layer_names has '0' twice")
    names[-1] = names[-2]
    root = grown({"@layer_names": names})
    hostile.refused(lambda: read_legacy_h5(root, "file"), "layer_names has '30d3e' twice")
