"""Modules from what a Keras file says, and what a file would say of a module."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parity_tests.files.committed import KERAS_3, bits
from torch_impl import (
    FraudClassifier,
    KerasAdam,
    KerasDropout,
    KerasFileError,
    KerasNetwork,
    load_keras,
    load_keras_optimizer,
    save_keras,
)
from torch_impl.keras.layers.network import Layer, Network
from torch_impl.keras_files.config import model_config, network_of
from torch_impl.keras_files.contents import AdamState, Contents
from torch_impl.keras_files.modules import (
    contents_of,
    module_from,
    network_of_module,
    with_config,
    with_network,
)
from torch_impl.keras_files.writing import write_keras

DENSE = Layer("Dense", "a", 3)
HIDDEN = replace(DENSE, activation="relu")
SCORE = Layer("Dense", "b", 1, "sigmoid")
DROP = Layer("Dropout", "d", rate=0.25, seed=7)
RELU = Layer("Activation", "r", activation="relu")
SIGMOID = Layer("Activation", "s", activation="sigmoid")
LINEAR = Layer("Activation", "l")


def contents(*layers: Layer, in_features: int = 2, dtype: torch.dtype = torch.float64) -> Contents:
    """A network whose weights are all different, in sixty-fourths: sums of products are exact."""
    network = Network(in_features, layers, "chain")
    numbers = iter((torch.randperm(512, generator=torch.Generator().manual_seed(3)) - 256) / 64)
    return Contents(
        {
            name: torch.stack([next(numbers) for _ in range(math.prod(shape))])
            .reshape(shape)
            .to(dtype)
            for name, shape in network.weight_shapes().items()
        },
        network,
    )


def by_hand(held: Contents, x: Tensor) -> Tensor:
    """The chain's last numbers, no unit dropped."""
    assert held.network is not None
    for layer in held.network.layers:
        if layer.kind == "Dense":
            kernel = held.weights[f"{layer.name}/kernel"].T.contiguous()
            x = nn.functional.linear(x, kernel, held.weights.get(f"{layer.name}/bias"))
        x = {"relu": torch.relu, "sigmoid": torch.sigmoid, "linear": Tensor.double}[
            layer.activation
        ](x)
    return x


X = torch.tensor([[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]], dtype=torch.float64)
CHAINS: dict[str, tuple[list[Layer], bool]] = {
    "tutorial": ([HIDDEN, DROP, SCORE], True),
    "no-dropout": ([HIDDEN, SCORE], True),
    "dropout-before-relu": ([DENSE, DROP, RELU, SCORE], True),
    "activations-apart": ([DENSE, RELU, DROP, replace(SCORE, activation="linear"), SIGMOID], True),
    "linear-behind": ([HIDDEN, SCORE, LINEAR], True),
    "two-scores": ([HIDDEN, DROP, replace(SCORE, units=2)], False),
    "hidden-without-bias": ([replace(HIDDEN, use_bias=False), DROP, SCORE], False),
    "score-without-bias": ([HIDDEN, DROP, replace(SCORE, use_bias=False)], False),
    "no-relu": ([DENSE, DROP, SCORE], False),
    "two-relus": ([HIDDEN, RELU, SCORE], False),
    "dropped-twice": ([DROP, HIDDEN, replace(DROP, name="e"), SCORE], False),
    "dropout-behind": ([HIDDEN, SCORE, DROP], False),
    "sigmoid-within": ([replace(HIDDEN, activation="sigmoid"), SCORE], False),
    "linear-end": ([HIDDEN, DROP, replace(SCORE, activation="linear")], False),
    "relu-end": ([HIDDEN, DROP, replace(SCORE, activation="relu")], False),
    "logistic-regression": ([SCORE], False),
    "three-dense": ([HIDDEN, Layer("Dense", "m", 4, use_bias=False), RELU, DROP, SCORE], False),
}


WIDTHS = pytest.mark.parametrize("width", [2, 3], ids=["oblong", "square"])
"""Of the rows; the first layer has three units."""


@WIDTHS
@pytest.mark.parametrize("case", CHAINS)
def test_a_module_computes_what_its_chain_says(case: str, width: int) -> None:
    """The tutorial's network becomes a FraudClassifier, all else a KerasNetwork; logits for both.

    Where the chain ends in a sigmoid, `forward` leaves it out and `predict_proba` has it.
    """
    layers, is_tutorial = CHAINS[case]
    held = contents(*layers, in_features=width)
    model = module_from(held)
    assert isinstance(model, FraudClassifier if is_tutorial else KerasNetwork)
    x = torch.cat([X, X], dim=1)[:, :width]
    p = model.predict_proba(x)
    assert torch.equal(p, by_hand(held, x))
    model.eval()
    y = model(x)
    ends_in_sigmoid = layers[-1] in (SIGMOID, LINEAR) or layers[-1].activation == "sigmoid"
    assert torch.equal(torch.sigmoid(y) if ends_in_sigmoid else y, p)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    again = contents_of(model)
    assert again.network == held.network
    assert again.format == "module"
    assert list(again.weights) == list(held.weights)
    for name, tensor in held.weights.items():
        assert bits(again.weights[name]) == bits(tensor)
        assert again.weights[name].is_contiguous()


@pytest.mark.parametrize("seed", [7, 0])
@pytest.mark.parametrize("case", ["tutorial", "three-dense"])
def test_dropout_keeps_its_rate_and_seed(case: str, seed: int) -> None:
    """With a seed in the file, be it 0, Keras's masks are drawn, without one PyTorch's."""
    layers = [replace(la, seed=seed) if la == DROP else la for la in CHAINS[case][0]]
    (drop,) = [m for m in module_from(contents(*layers)).modules() if isinstance(m, KerasDropout)]
    assert (drop.rate, drop.seed) == (0.25, seed)
    unseeded = [replace(layer, seed=None) for layer in layers]
    (own,) = [m for m in module_from(contents(*unseeded)).modules() if isinstance(m, nn.Dropout)]
    assert own.p == 0.25


def test_a_tutorials_network_without_dropout_drops_nothing() -> None:
    """In training too, and a file of it says so."""
    model = module_from(contents(HIDDEN, SCORE))
    model.train()
    assert torch.equal(torch.sigmoid(model(X)), model.predict_proba(X))
    model.keras_network = None  # type: ignore[assignment]
    rates = [la.rate for la in network_of_module(model).layers if la.kind == "Dropout"]
    assert rates == [0.0]


def test_predicting_leaves_every_modules_mode_as_it_was() -> None:
    """Also where an error comes out of it."""
    model = module_from(contents(*CHAINS["three-dense"][0]))
    model.train()
    model.get_submodule("layers.1").eval()
    modes = [module.training for module in model.modules()]
    assert set(modes) == {True, False}
    assert not model.predict_proba(X).requires_grad
    with pytest.raises(ValueError, match=r"features came as \(3, 1\); expected \(N, 2\)"):
        model.predict_proba(X[:, :1])
    assert [module.training for module in model.modules()] == modes


def test_a_fraud_classifier_is_told_under_kerass_default_names() -> None:
    """With its own sizes and its dropout's rate and seed, which may be 0."""
    model = FraudClassifier(5, 4)
    model.dropout = KerasDropout(0.3, 0)
    network = network_of_module(model)
    assert network == Network(
        5,
        (
            Layer("Dense", "dense", 4, "relu"),
            Layer("Dropout", "dropout", rate=0.3, seed=0),
            Layer("Dense", "dense_1", 1, "sigmoid"),
        ),
    )
    model.dropout = nn.Dropout(0.125)
    assert network_of_module(model).layers[1] == Layer("Dropout", "dropout", rate=0.125)
    model.dropout = nn.Identity()
    assert network_of_module(model).layers[1] == Layer("Dropout", "dropout", rate=0.0)


ADAM = {"lr": 0.003, "betas": (0.8, 0.99), "eps": 1e-5}


def stepped(model: nn.Module, steps: int = 3, **options: Any) -> KerasAdam:
    """An Adam of the model after a few steps of some gradients."""
    optimizer = KerasAdam(model.parameters(), **(ADAM | options))
    for step in range(steps):
        for number, parameter in enumerate(model.parameters()):
            parameter.grad = torch.sin(torch.arange(parameter.numel()) + number + step).reshape(
                parameter.shape
            ).to(parameter.dtype)  # fmt: skip
        optimizer.step()
    return optimizer


@WIDTHS
@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5", ".safetensors"])
@pytest.mark.parametrize("case", ["tutorial", "three-dense"])
def test_a_model_and_its_optimizer_come_back_from_a_file(
    case: str, ending: str, width: int, tmp_path: Path
) -> None:
    """Weights, moments and steps bit for bit, rate, decays and epsilon; but from `.weights.h5`.

    That has no network, decays or epsilon.
    """
    model = module_from(contents(*CHAINS[case][0], in_features=width, dtype=torch.float32))
    optimizer = stepped(model)
    path = tmp_path / f"x{ending}"
    save_keras(model, path, optimizer)
    alone = ending == ".weights.h5"
    with pytest.warns(UserWarning, match="weights alone") if alone else nullcontext():
        loaded = load_keras(path)
    again = module_from(replace(contents_of(loaded), network=network_of_module(model)))
    resumed = load_keras_optimizer(path, again)
    (group,) = resumed.param_groups
    # Keras holds it in float32.
    assert group["lr"] == (0.003 if ending == ".safetensors" else torch.tensor(0.003).item())
    assert (group["betas"], group["eps"]) == (
        ((0.9, 0.999), 1e-7) if alone else (ADAM["betas"], ADAM["eps"])
    )
    others = dict(again.named_parameters())
    for name, parameter in model.named_parameters():
        assert bits(parameter.detach()) == bits(others[name].detach())
        came, told = resumed.state_of(others[name]), optimizer.state_of(parameter)
        assert int(came["step"]) == int(told["step"]) == 3
        for kind in ("momentum", "velocity"):
            assert bits(came[kind]) == bits(told[kind]), (name, kind)
            assert bool(told[kind].any())


def two_groups(model: nn.Module) -> KerasAdam:
    first, *rest = model.parameters()
    return KerasAdam([{"params": [first]}, {"params": rest}])


def one_step_more(model: nn.Module) -> KerasAdam:
    optimizer = stepped(model)
    optimizer.state_of(next(model.parameters()))["step"].fill_(7)
    return optimizer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (two_groups, "save_keras: the optimizer is not of this model's parameters alone"),
        (
            lambda model: KerasAdam([next(model.parameters())]),
            "save_keras: the optimizer is not of this model's parameters alone",
        ),
        (one_step_more, "save_keras: parameters took different numbers of steps: {3, 7}"),
    ],
    ids=["two-groups", "some-parameters", "steps"],
)
def test_an_optimizer_that_a_file_cannot_hold_is_refused(
    make: Callable[[nn.Module], KerasAdam], message: str
) -> None:
    """Keras has one group of parameters and one count of steps."""
    model = FraudClassifier(2, 3)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (word for word below)
        contents_of(model, make(model))
    assert str(caught.value) == message


def test_a_module_of_another_class_is_refused_by_its_class() -> None:
    """And the error says which are known."""
    with pytest.raises(ValueError, match="save_keras: the model is a Linear; expected") as caught:
        contents_of(nn.Linear(2, 1))
    assert str(caught.value).endswith("expected a FraudClassifier or a KerasNetwork")


def test_an_optimizer_of_another_model_is_refused_with_both_shapes(tmp_path: Path) -> None:
    """And a file without an Adam with the reason that the reader noted."""
    held = contents(HIDDEN, SCORE)
    model = module_from(held)
    path = tmp_path / "x.safetensors"
    save_keras(model, path, stepped(model, lr=0.5))
    assert load_keras_optimizer(path, model).param_groups[0]["lr"] == 0.5
    other = module_from(contents(HIDDEN, SCORE, in_features=4))
    with pytest.raises(KerasFileError) as caught:
        load_keras_optimizer(path, other)
    assert str(caught.value) == (
        f"{path}: its Adam is of weights {shapes_of(held)}; the model has {shapes_of(other)}"
    )
    write_keras(held, path)
    with pytest.raises(KerasFileError) as caught:
        load_keras_optimizer(path, model)
    assert str(caught.value) == f"{path}: holds no Adam"
    with pytest.raises(KerasFileError) as caught:
        load_keras_optimizer(KERAS_3 / "checkpoint_sgd", model)
    assert str(caught.value) == (
        f"{KERAS_3 / 'checkpoint_sgd'}: holds no Adam (its optimizer 'sgd' has made no step or is "
        "not Adam: not read)"
    )


def shapes_of(held: Contents | nn.Module) -> dict[str, tuple[int, ...]]:
    known = held if isinstance(held, Contents) else contents_of(held)
    return {name: tuple(tensor.shape) for name, tensor in known.weights.items()}


def alone(**shapes: tuple[int, ...]) -> Contents:
    """Weights without a network; a name's `__` is `/`."""
    return Contents({n.replace("__", "/"): torch.zeros(s) for n, s in shapes.items()}, notes=("x",))


def test_weights_alone_become_a_chain_of_their_shapes() -> None:
    """ReLU but at the end, Dropout where there is one hidden layer, and a note that says so."""
    two = with_network(alone(p__kernel=(2, 3), p__bias=(3,), q__kernel=(3, 1)), 0.125, "f")
    assert two.network == Network(
        2,
        (
            Layer("Dense", "p", 3, "relu"),
            Layer("Dropout", "dropout", rate=0.125),
            Layer("Dense", "q", 1, "sigmoid", use_bias=False),
        ),
    )
    taken = (
        "the file holds weights alone: taken for hidden layers with ReLU and a sigmoid at the end"
    )
    assert two.notes == ("x", f"{taken}, and Dropout(0.125) between")
    three = with_network(alone(p__kernel=(2, 3), q__kernel=(3, 4), r__kernel=(4, 1)), 0.5, "f")
    assert three.network is not None
    assert [(layer.name, layer.activation) for layer in three.network.layers] == [
        ("p", "relu"), ("q", "relu"), ("r", "sigmoid"),
    ]  # fmt: skip
    assert three.notes == ("x", taken)
    assert with_network(three, 0.5, "f") is three


@pytest.mark.parametrize(
    ("named", "layers", "told"),
    [
        ("p q", "p q", ""),
        ("p", "p dropout q", ", and Dropout(0.5) between"),
        ("p dropout_3 q", "p dropout_3 q", ", and Dropout(0.5) between"),
        ("dropout_3 p q p dropout", "dropout_3 p q dropout", ", and Dropout(0.5) for "
         "dropout_3, dropout"),
        ("input_1 p flatten dense_9 q", "p q", ""),
        ("x_1 p dropouts q y", "p q", "; what x_1, dropouts, y did is not known and left out"),
        ("p dropout q z", "p dropout q", ", and Dropout(0.5) between; what z did is not known and "
         "left out"),
    ],
    ids=["dense", "one-left-out", "tutorial", "two-dropouts", "no-weights", "unknown", "both"],
)  # fmt: skip
def test_weights_alone_are_taken_with_the_layers_that_their_file_names(
    named: str, layers: str, told: str
) -> None:
    """In their order; where it leaves one out, as the tutorial's."""
    held = alone(p__kernel=(2, 3), q__kernel=(3, 1))
    came = with_network(replace(held, layer_names=tuple(named.split())), 0.5, "f")
    assert came.network is not None
    assert [layer.name for layer in came.network.layers] == layers.split()
    assert came.notes[1].partition("a sigmoid at the end")[2] == told


def test_an_architecture_renames_the_weights_and_adams_moments_by_their_places() -> None:
    """Bit for bit, each to its own; what the architecture says and a module does not is noted."""
    held = alone(p__kernel=(2, 3), p__bias=(3,), q__kernel=(3, 1))
    slots = [{n: torch.full_like(w, k) for n, w in held.weights.items()} for k in (3.0, 7.0)]
    held = replace(held, optimizer=AdamState(5, 0.25, *slots, 0.5, 0.75, 0.125))
    network = Network(2, (Layer("Dense", "a", 3), Layer("Dense", "b", 1, use_bias=False)), "n")
    root = model_config(network, "float32")
    root["config"]["layers"][1]["config"]["trainable"] = False
    came = with_config(held, *network_of(root, "file"), "file")
    names = ["a/kernel", "a/bias", "b/kernel"]
    assert came.network == network
    assert came.notes == ("'a' is not trainable there",)
    adam = came.optimizer
    assert adam is not None
    assert (adam.iterations, adam.learning_rate) == (5, 0.25)
    for ours, theirs in (
        (came.weights, held.weights), (adam.momentum, slots[0]), (adam.velocity, slots[1]),
    ):  # fmt: skip
        assert list(ours) == names
        assert all(a is b for a, b in zip(ours.values(), theirs.values(), strict=True))


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        ({"a__kernel": (2, 3), "b__kernel": (3, 2)}, "{'b/kernel': (3, 2)}"),
        ({"a__kernel": (2, 3)}, "{'a/kernel': (2, 3)}"),
    ],
    ids=["unlike", "too-few"],
)
def test_an_architecture_of_other_weights_is_refused_with_those_that_differ(
    shapes: dict[str, tuple[int, ...]], told: str
) -> None:
    """Or with all, where each for itself is right."""
    layers = [Layer("Dense", name, units, use_bias=False) for name, units in (("a", 3), ("b", 1))]
    root = model_config(Network(2, tuple(layers)), "float32")
    with pytest.raises(KerasFileError) as caught:
        with_config(alone(**shapes), *network_of(root, "file"), "file")
    assert str(caught.value) == (
        "file: its layers have weights {'a/kernel': (2, 3), 'b/kernel': (3, 1)}; "
        f"the file has {told}"
    )


@pytest.mark.parametrize(
    ("held", "dropout", "message"),
    [
        (alone(p__kernel=(2, 1)), 1.5, "dropout is 1.5; expected a share from 0 to 1"),
        (alone(p__kernel=(2, 1)), -0.5, "dropout is -0.5; expected a share from 0 to 1"),
        (
            alone(p__kernel=(2, 3), q__kernel=(4, 1)), 0.5,
            "f: weights {'p/kernel': (2, 3), 'q/kernel': (4, 1)} are no chain of Dense layers",
        ),
        (
            alone(p__kernel=(2,)), 0.5,
            "f: weights {'p/kernel': (2,)} are no chain of Dense layers",
        ),
        (
            alone(p__kernel=()), 0.5,
            "f: weights {'p/kernel': ()} are no chain of Dense layers",
        ),
        (
            alone(p__bias=(3,)), 0.5,
            "f: weights {'p/bias': (3,)} are no chain of Dense layers",
        ),
        (
            alone(p__kernel=(2, 3, 1)), 0.5,
            "f: weights {'p/kernel': (2, 3, 1)} are no chain of Dense layers",
        ),
    ],
    ids=["dropout-above", "dropout-below", "widths", "one-axis", "no-axis", "no-kernel", "axes"],
)  # fmt: skip
def test_weights_alone_that_make_no_network_are_refused(
    held: Contents, dropout: float, message: str
) -> None:
    """With the value or the shapes that came."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (word for word below)
        with_network(held, dropout, "f")
    assert str(caught.value) == message


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_no_dropout_and_nothing_but_dropout_are_shares(dropout: float) -> None:
    """The ends of the range belong to it."""
    network = with_network(alone(p__kernel=(2, 3), q__kernel=(3, 1)), dropout, "f").network
    assert network is not None
    assert network.layers[1].rate == dropout
