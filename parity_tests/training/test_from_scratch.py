"""Networks built in PyTorch from a seed: they start and learn as Keras's of the same seed."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parity_tests.judge.agreement import no_farther, ulp_off
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import NEIGHBOURS
from torch_impl import KerasNetwork, fit, initializers, layers
from torch_impl.keras.layers.dropout import KerasDropout
from torch_impl.keras.layers.noise import KerasGaussianNoise
from torch_impl.keras_files.modules import contents_of

RNG = np.random.default_rng(5)
X = RNG.normal(size=(250, 6)).astype("f4")
Y = (X[:, :1] + RNG.normal(size=(250, 1)) > 0.5).astype("f4")
SEED = 41

# No bias before a normalization: it would have no gradient but the noise of rounding.
CHAIN: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Dense", [7], {"use_bias": False, "kernel_initializer": "he_uniform"}),
    ("BatchNormalization", [], {"momentum": 0.9}),
    ("LeakyReLU", [], {"negative_slope": 0.1}),
    ("Dense", [5, "tanh"], {"kernel_regularizer": "l2", "bias_initializer": "random_uniform"}),
    (
        "LayerNormalization",
        [],
        {
            "beta_initializer": "random_uniform",
            "gamma_initializer": "random_normal",
        },
    ),
    ("Dense", [1], {"activation": "sigmoid"}),
]


def built(chain: list[tuple[str, list[Any], dict[str, Any]]], **options: Any) -> KerasNetwork:
    made = [getattr(layers, kind)(*values, **more) for kind, values, more in chain]
    return KerasNetwork.build(X.shape[1], made, **options)


@NEIGHBOURS
def test_a_network_starts_and_learns_from_its_seed_as_keras_does(keras: KerasProcess) -> None:
    """Weights bit for bit at the start; in double after 40 steps of Adam, shuffled."""
    options: dict[str, Any] = {"epochs": 5, "batch_size": 32}
    theirs = keras.call("family.fit_from_seed", CHAIN, X, Y, SEED, **options)
    model = built(CHAIN, seed=SEED)
    start = contents_of(model).weights
    assert list(start) == list(theirs["start"])
    for name, array in theirs["start"].items():
        np.testing.assert_array_equal(start[name].numpy(), array, strict=True)
    model = model.double()
    fit(model, X, Y, seed=SEED, progress=False, **options)
    narrow, wide = theirs["float32"], theirs["float64"]
    off = max(ulp_off(narrow[name], wide[name]) for name in wide)
    for name, tensor in contents_of(model).weights.items():
        result = no_farther(name, "double", tensor.numpy(), wide[name], off, 32)
        assert result.agree, (name, result.detail)


def test_layers_take_their_seeds_in_keras_order() -> None:
    """Each initializer and each layer that draws: the next number of Python's generator."""
    chain: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("GaussianNoise", [0.5], {}), ("Dense", [4], {"bias_initializer": "random_normal"}),
        ("Dropout", [0.0], {}), ("Dropout", [0.5], {}), ("Dropout", [0.5], {"seed": 9}),
        ("Dense", [1], {"kernel_initializer": "zeros"}),
    ]  # fmt: skip
    draws = random.Random(SEED)
    expected = [draws.randint(1, 10**9) for _ in range(4)]
    model = built(chain, seed=SEED)
    noise, drops = model.layers[0][0], [model.layers[i][0] for i in (3, 4)]
    assert isinstance(noise, KerasGaussianNoise)
    assert all(isinstance(drop, KerasDropout) for drop in drops)
    assert [noise.seed, drops[0].seed, drops[1].seed] == [expected[0], expected[3], 9]
    other = built([("Dense", [4], {})], seed=SEED).layers[0][0].weight  # its first is the noise's
    assert not torch.equal(model.layers[1][0].weight, other)
    assert torch.count_nonzero(model.layers[5][0].weight) == 0


def test_arguments_may_be_numpys_and_nothing_may_be_none() -> None:
    """As Keras takes them."""
    statistics = {"mean": np.arange(6.0), "variance": np.ones(6)}
    told = [
        layers.Normalization(**statistics), layers.Rescaling(np.float32(2.0), offset=np.zeros(6)),
        layers.Dense(4, kernel_constraint=None, activity_regularizer=None),
        layers.PReLU("zeros"), layers.BatchNormalization(axis=(1,)),
        layers.Dropout(np.float32(0.5)),
    ]  # fmt: skip
    model = KerasNetwork.build(6, told, seed=SEED).eval()
    assert torch.equal(model.layers[0][0].mean, torch.arange(6.0))
    assert torch.equal(model.layers[1](torch.ones(2, 6)), torch.full((2, 6), 2.0))
    assert torch.count_nonzero(model.layers[3][0].weight) == 0
    with pytest.raises(
        ValueError, match=r"^KerasNetwork: features came as \(2, 5\); expected \(N, 6"
    ):
        model(torch.ones(2, 5))


def test_an_initializer_that_two_layers_share_starts_them_alike() -> None:
    """It draws one seed, where the first of them has it; another of the same name draws its own."""
    draws = random.Random(SEED)
    first, second = (draws.randint(1, 10**9) for _ in range(2))
    one = initializers.HeNormal()
    made = [
        layers.Dense(6, kernel_initializer=one), layers.Dense(6, kernel_initializer=one),
        layers.Dense(6, kernel_initializer="he_normal"),
    ]  # fmt: skip
    model = KerasNetwork.build(6, made, seed=SEED)
    kernels = [model.layers[i][0].weight for i in range(3)]
    assert torch.equal(kernels[0], kernels[1])
    for kernel, seed in ((kernels[0], first), (kernels[2], second)):
        expected = initializers.HeNormal(seed).value(0, (6, 6)).T
        assert torch.equal(kernel, expected)
    own = initializers.RandomUniform(-0.5, maxval=0.5, seed=3)
    assert (own.options, own.seed) == ({"minval": -0.5, "maxval": 0.5}, 3)


@pytest.mark.slow
def test_a_network_is_a_module_like_any_other(tmp_path: Path) -> None:
    """Printed, copied, saved and loaded, exported for any batch size, and hooked."""
    chain = [*CHAIN[:-1], ("PReLU", [], {}), ("Rescaling", [0.5], {}), ("GaussianNoise", [0.1], {}),
             ("Dropout", [0.5], {}), CHAIN[-1]]  # fmt: skip
    model = built(chain, seed=SEED).eval()
    x = torch.from_numpy(X)
    assert all(name in repr(model) for name in ("KerasBatchNormalization", "LayerNorm", "PReLU"))
    other = built(chain, seed=SEED + 1).eval()
    assert not torch.equal(other(x), model(x))
    torch.save(model.state_dict(), tmp_path / "x.pt")
    other.load_state_dict(torch.load(tmp_path / "x.pt"))
    assert torch.equal(other(x), model(x))
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: rows},))
    assert torch.equal(program.module()(x[:3]), model(x[:3]))
    seen: list[torch.Size] = []
    model.layers[0].register_forward_hook(lambda _m, _i, out: seen.append(out.shape))
    fit(model, X, Y, epochs=1, batch_size=125, validation_split=0.2, progress=False)
    assert seen == [(125, 7), (75, 7), (50, 7)]


def test_without_a_seed_torchs_generator_decides() -> None:
    """All of it: the same state, the same network, and then another."""
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(built(CHAIN).state_dict()["layers.0.0.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


BAD: dict[str, tuple[Any, str]] = {
    "option-unknown": (lambda: layers.Dense(4, wide=True), "Dense: wide is none of units, activ"),
    "option-twice": (lambda: layers.Dense(4, units=5), "Dense: units came twice"),
    "too-many": (lambda: layers.Dropout(0.5, None, 3, 4), "Dropout takes rate, noise_shape, seed"),
    "nothing-by-place": (lambda: layers.Flatten(3), "Flatten takes nothing but its name; 1 values"),
    "no-units": (lambda: layers.Dense(), "'Dense' has units=None and use_bias=True; expected"),
    "initializer": (
        lambda: layers.Dense(4, kernel_initializer="heNormal"), "initializer='heNormal'; expected",
    ),
    "initializer-of-nothing": (
        lambda: layers.Dense(4, bias_initializer=None), "Dense: bias_initializer=None; expected",
    ),
    "initializer-with-too-much": (
        lambda: initializers.HeNormal(1, 2), "HeNormal takes seed; 2 came",
    ),
    "initializer-twice": (
        lambda: initializers.Constant(1, value=2), "Constant: value came twice",
    ),
    "regularizer": (
        lambda: layers.Dense(4, kernel_regularizer="l3"), "regularizer=l3; expected l1, l2 or l1",
    ),
    "activation": (lambda: layers.Dense(4, "rleu"), "'Dense' has the activation 'rleu'"),
    "one-name": (
        lambda: KerasNetwork.build(3, [layers.Dense(4, name="a"), layers.Dense(2, name="a")]),
        "two layers are called a; expected names of their own",
    ),
    "width": (
        lambda: KerasNetwork.build(3, [layers.Dense(4), layers.Rescaling([1.0, 2.0])]),
        "rescaling has {'scale': [1.0, 2.0], 'offset': 0.0}; 4 features come in",
    ),
    "no-weights": (lambda: KerasNetwork.build(3, [layers.Flatten()]), "none of Flatten has weight"),
    "nothing": (lambda: KerasNetwork.build(3, []), "none of no layers has weights"),
    "no-features": (lambda: KerasNetwork.build(0, [layers.Dense(1)]), "in_features=0; expected"),
    "seed": (lambda: built(CHAIN, seed=2**32), "seed is 4294967296, expected 0 to 2**32 - 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_no_network_is_built_of_is_refused_in_one_line(case: str) -> None:
    """With what came and what was expected."""
    make, message = BAD[case]
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert str(caught.value).removeprefix("KerasNetwork: ").startswith(message)
    assert "\n" not in str(caught.value)
