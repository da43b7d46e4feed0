"""The table of layers: what each is in Keras's files and in PyTorch, without a Keras."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from torch_impl import KerasAdam, evaluate, fit, load_keras, load_keras_optimizer, save_keras
from torch_impl.keras.layers.activations import activation_module
from torch_impl.keras.layers.kinds import KINDS, kind_of, snake_case
from torch_impl.keras.layers.network import WEIGHTS, Layer, Network, trained
from torch_impl.keras.layers.normalization import KerasBatchNormalization
from torch_impl.keras.layers.regularizers import L1L2
from torch_impl.keras_files.config import model_config, network_of
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.modules import contents_of
from torch_impl.keras_files.reading import read_keras
from torch_impl.keras_network import KerasNetwork

LAYERS = (
    Layer("BatchNormalization", "n", epsilon=0.5, momentum=0.75, center=False),
    Layer("Dense", "a", 3, "tanh", use_bias=False),
    Layer("LeakyReLU", "leak", slope=0.25),
    Layer("LayerNormalization", "ln", epsilon=0.125, scale=False),
    Layer("ELU", "e", slope=0.5),
    Layer("PReLU", "p"),
    Layer("ReLU", "r"),
    Layer("Dropout", "d", rate=0.5, seed=3),
    Layer("BatchNormalization", "m", scale=False),
    Layer("Dense", "b", 2),
    Layer("Activation", "t", activation="silu"),
    Layer("Softmax", "s"),
    Layer("Rescaling", "by", options={"scale": [0.5, 2.0], "offset": -1.0}),
    Layer("Normalization", "nm", options={"invert": False}),
    Layer("Normalization", "to", options={"invert": True, "mean": [1.0, 2.0], "variance": 0.5}),
    Layer("GaussianNoise", "g", rate=0.25, seed=4),
    Layer("GaussianDropout", "gd", rate=0.25),
    Layer("AlphaDropout", "ad", rate=0.25, seed=5),
    Layer("Flatten", "f"),
    Layer("Reshape", "re", options={"target_shape": [2]}),
    Layer("Identity", "i"),
    Layer("ActivityRegularization", "ar", options={"l1": 0.0, "l2": 0.0}),
    Layer("ReLU", "rr", options={"max_value": 6.0, "negative_slope": 0.5, "threshold": 0.25}),
    Layer("Dense", "c", 3, Layer("LeakyReLU", "of_c", slope=0.125), regularizers={
        "kernel": L1L2(0.0, 0.5), "bias": L1L2(0.25, 0.0),
    }),
    Layer("Activation", "u", activation=Layer("ELU", "of_u", slope=0.75)),
)  # fmt: skip
NETWORK = Network(4, LAYERS, "net")


def network() -> KerasNetwork:
    """With numbers of its own everywhere."""
    model = KerasNetwork(NETWORK)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model.eval()


def test_every_kind_is_written_as_it_is_read() -> None:
    """With all of its options, none at its default."""
    assert {layer.kind for layer in LAYERS} == set(KINDS)
    assert network_of(model_config(NETWORK, "float32"), "file") == (NETWORK, ())


def test_each_kind_with_weights_has_as_many_names_in_pytorch() -> None:
    """One for each of Keras's."""
    assert {k for k, row in KINDS.items() if row.weights} == set(WEIGHTS)
    assert all(len(KINDS[kind].weights) == len(names) for kind, names in WEIGHTS.items())


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        ("Dense", "dense"), ("BatchNormalization", "batch_normalization"), ("ReLU", "re_lu"),
        ("LeakyReLU", "leaky_re_lu"), ("PReLU", "p_re_lu"), ("ELU", "elu"),
        ("InputLayer", "input_layer"), ("LayerNormalization", "layer_normalization"),
    ],
)  # fmt: skip
def test_groups_are_called_as_keras_calls_them(kind: str, group: str) -> None:
    """keras.src.utils.naming.to_snake_case."""
    assert snake_case(kind) == group


def test_weights_tell_what_layer_has_them() -> None:
    """The one with the fewest; weights of two kinds are of none."""
    for kind, names in WEIGHTS.items():
        assert kind_of(names) == kind
    assert kind_of(["kernel"]) == "Dense"
    assert kind_of(["beta"]) == "LayerNormalization"
    assert kind_of(["moving_mean", "moving_variance"]) == "BatchNormalization"
    assert kind_of(["kernel", "gamma"]) is None


def test_moving_statistics_are_not_trained() -> None:
    """An optimizer has no moments of them; they are no parameters of the module."""
    names = list(NETWORK.weight_shapes())
    moving = {f"{layer}/moving_{what}" for layer in "nm" for what in ("mean", "variance")}
    assert set(names) - set(trained(names)) == moving | {
        "nm/mean", "nm/variance", "nm/count",
    }  # fmt: skip
    assert len(list(network().parameters())) == len(trained(names))


def test_batch_normalization_in_numbers() -> None:
    """Population variance in both places, and the share that is kept; exact in float64."""
    layer = KerasBatchNormalization(1, momentum=0.75, epsilon=12.0, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.fill_(3.0)
        layer.bias.fill_(10.0)
    x = torch.tensor([[1.0], [5.0]], dtype=torch.float64)  # mean 3, variance 4, and 12
    assert layer(x).tolist() == [[8.5], [11.5]]
    assert layer.running_mean.tolist() == [0.75 * 0 + 0.25 * 3]
    assert layer.running_var.tolist() == [0.75 * 1 + 0.25 * 4]
    layer.eval()
    layer.running_mean.fill_(1.0)
    layer.running_var.fill_(4.0)
    assert layer(x).tolist() == [[10.0], [13.0]]
    assert layer(x.reshape(1, 2, 1)).tolist() == [[[10.0], [13.0]]]
    assert layer.running_mean.tolist() == [1.0]
    assert set(layer.state_dict()) == {"weight", "bias", "running_mean", "running_var"}
    assert isinstance(layer, nn.BatchNorm1d)
    assert layer.momentum == 0.25  # the share taken, as PyTorch's is


def test_batch_normalization_takes_one_row_and_half_precision() -> None:
    """The last batch of an epoch may be one row, which is its own mean; halves are summed wider."""
    layer = KerasBatchNormalization(2)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([3.0, -5.0]))
    assert layer(torch.tensor([[7.0, 9.0]])).tolist() == [[3.0, -5.0]]
    assert layer.running_var.isfinite().all()
    narrow = KerasBatchNormalization(1, epsilon=0.0, dtype=torch.float16)
    x = torch.tensor([[300.0], [100.0]], dtype=torch.float16)  # whose squares are no float16
    assert narrow(x).tolist() == [[1.0], [-1.0]]
    assert narrow(x).dtype == torch.float16


@pytest.mark.parametrize(
    ("end", "name"),
    [
        ([Layer("Activation", "e", activation="tanh")], "tanh"),
        ([Layer("Softmax", "e"), Layer("Dropout", "d", rate=0.5)], "Softmax"),
        ([Layer("Activation", "e", activation="sigmoid"), Layer("Dropout", "d")], "sigmoid"),
        ([Layer("PReLU", "e"), Layer("Activation", "l")], "PReLU"),
        ([Layer("Activation", "e", activation="sigmoid")], None),
        ([Layer("BatchNormalization", "e")], None),
        ([], None),
    ],
    ids=lambda part: str(part) if isinstance(part, str) else None,
)
def test_outputs_that_are_no_logits_are_not_trained_on(end: list[Layer], name: str | None) -> None:
    """The loss of `fit` and `evaluate` would take them for logits with nothing said."""
    model = KerasNetwork(Network(3, (Layer("Dense", "a", 1), *end)))
    x, y = torch.randn(8, 3), torch.zeros(8, 1)
    for call in (lambda: fit(model, x, y, progress=False), lambda: evaluate(model, x, y)):
        if name is None:
            call()
        else:
            with pytest.raises(ValueError, match=f"the network ends in {name}; the loss is"):
                call()


def test_no_activation_of_another_name_is_made() -> None:
    """The names that there are, are told."""
    with pytest.raises(ValueError, match="activation is 'glu'; expected one of linear, relu"):
        activation_module("glu")


@pytest.mark.parametrize(
    ("ending", "dtype"),
    [
        (".keras", "bfloat16"), (".h5", "float16"), (".weights.h5", "float64"),
        (".safetensors", "float32"),
    ],
)  # fmt: skip
def test_a_file_of_every_kind_comes_back_whole(ending: str, dtype: str, tmp_path: Path) -> None:
    """Weights, Adam's state of what is trained, and the outputs; all bit for bit."""
    model = network().to(getattr(torch, dtype))
    optimizer = KerasAdam(model.parameters(), 0.25)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(2)).to(getattr(torch, dtype))
    model(x).square().sum().backward()
    optimizer.step()
    path = tmp_path / f"x{ending}"
    save_keras(model, path, optimizer)
    config = None if ending != ".weights.h5" else model_config(NETWORK, dtype)
    again = load_keras(path, config=config)
    assert torch.equal(again(x).nan_to_num(), model(x).nan_to_num())
    ours, theirs = contents_of(model), contents_of(again)
    assert list(theirs.weights) == list(NETWORK.weight_shapes())
    for name, weight in ours.weights.items():
        assert theirs.weights[name].dtype == weight.dtype
        assert torch.equal(theirs.weights[name], weight)
    resumed = load_keras_optimizer(path, again)
    for ours_p, theirs_p in zip(model.parameters(), again.parameters(), strict=True):
        for name in ("momentum", "velocity"):
            mine, other = optimizer.state_of(ours_p)[name], resumed.state_of(theirs_p)[name]
            assert torch.equal(mine, other)


def test_moments_of_layers_of_unlike_kinds_are_not_guessed(tmp_path: Path) -> None:
    """A file of weights alone has their order from the network, or not at all."""
    model = KerasNetwork(Network(2, (Layer("BatchNormalization", "n"), Layer("Dense", "a", 2))))
    path = tmp_path / "x.weights.h5"
    save_keras(model, path, KerasAdam(model.parameters()))
    assert read_keras(path).optimizer is None
    assert "does not say in which order its layers" in read_keras(path).optimizer_notes[0]
    assert read_keras(path, model.keras_network).optimizer is not None


@pytest.mark.parametrize(("center", "scale"), [(False, False), (False, True), (True, False)])
def test_a_layer_normalization_has_the_weights_that_it_says(center: bool, scale: bool) -> None:
    """And allocates none that it has not, which a file would pay nothing for."""
    layer = Layer("LayerNormalization", "n", epsilon=12.0, center=center, scale=scale)
    model = KerasNetwork(Network(2, (layer,)))
    kept = {"gamma": scale, "beta": center}
    assert list(contents_of(model).weights) == [f"n/{name}" for name in kept if kept[name]]
    # Mean 3, variance 4, and 12: each step is exact.
    assert model.double()(torch.tensor([[1.0, 5.0]]).double()).tolist() == [[-0.5, 0.5]]


def test_a_normalization_goes_on_from_a_checkpoint_and_takes_plain_dicts(tmp_path: Path) -> None:
    """PyTorch's own would ask for a count of batches that Keras has not."""
    layers = (
        Layer("Dense", "a", 4, "relu"),
        Layer("BatchNormalization", "n"),
        Layer("Dense", "b", 1),
    )
    torch.manual_seed(1)
    start = KerasNetwork(Network(3, layers)).state_dict()
    x, y = torch.randn(33, 3), (torch.rand(33, 1) > 0.5).float()  # a last batch of one row

    def run(epochs: int, checkpoint: Path | None) -> dict[str, torch.Tensor]:
        model = KerasNetwork(Network(3, layers))
        model.load_state_dict(dict(start))
        fit(model, x, y, epochs=epochs, seed=1, progress=False, checkpoint=checkpoint)
        return model.state_dict()

    whole = run(3, None)
    run(1, tmp_path / "c.safetensors")
    resumed = run(3, tmp_path / "c.safetensors")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    theirs = nn.BatchNorm1d(4).state_dict()
    layer = KerasBatchNormalization(4)
    layer.load_state_dict(theirs)
    layer.running_mean.fill_(7)
    layer.reset_parameters()
    assert (layer.running_mean.tolist(), layer.running_var.tolist()) == ([0.0] * 4, [1.0] * 4)


def test_weights_alone_of_a_normalization_ask_for_the_architecture(tmp_path: Path) -> None:
    """Where it stands is not guessed; with an architecture under other names it is found."""
    path = tmp_path / "x.weights.h5"
    save_keras(network(), path)
    whole = Network(4, tuple(replace(la, center=True, scale=True) for la in LAYERS), "net")
    save_keras(KerasNetwork(whole), tmp_path / "whole.weights.h5")
    with pytest.raises(KerasFileError, match=r"weights of n \(BatchNormalization\).*--config"):
        load_keras(tmp_path / "whole.weights.h5")
    with pytest.raises(KerasFileError, match="layer 'n' has 3 weights"):
        load_keras(path)
    renamed = Network(4, tuple(replace(layer, name=f"{layer.name}2") for layer in LAYERS))
    found = load_keras(path, config=model_config(renamed, "float32"))
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(2))
    assert torch.equal(found(x), network()(x))


ODD: list[Any] = [
    None, True, -1, 1e400, float("nan"), 2**70, "x", "", [], [[]], {}, {"class_name": "__numpy__"},
    {"class_name": "function", "config": ["a"]}, {"class_name": ["ReLU"], "config": {}},
    {"class_name": "ReLU", "config": {"max_value": [1]}},
    {"class_name": "Activation", "config": {"activation": [1]}},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of everything in a JSON value, as keys from its root."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield (*path, key)
        if isinstance(value[key], (dict, list)):
            yield from places(value[key], (*path, key))


@pytest.mark.slow
def test_any_value_at_any_place_of_a_config_is_read_or_refused_in_one_line() -> None:
    """A type that JSON has where another was expected; nothing but a `KerasFileError` comes."""
    root = json.loads(json.dumps(model_config(NETWORK, "float32")))
    refused = 0
    for *above, last in list(places(root)):
        holder = functools.reduce(operator.getitem, above, root)
        right = holder[last]
        for odd in ODD:
            holder[last] = odd
            try:
                network_of(root, "file")
            except KerasFileError:
                refused += 1
        holder[last] = right
    assert network_of(root, "file") == (NETWORK, ())
    assert refused > 500
