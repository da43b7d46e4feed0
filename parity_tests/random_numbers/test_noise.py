"""Layers that make noise in training: Keras's own, call after call."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from parity_tests.judge.agreement import exact, within
from parity_tests.random_numbers.test_initializers import box_muller
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import RANDOM_STREAM, WIDE_SEEDS
from torch_impl.keras.layers.noise import (
    KerasAlphaDropout,
    KerasGaussianDropout,
    KerasGaussianNoise,
)

SHAPE, CALLS, RATE = (31, 7), 3, 0.3
LARGEST = 2**31 - 2
"""TensorFlow gets a seed's remainder."""


@RANDOM_STREAM
@pytest.mark.parametrize("seed", [5, pytest.param(2**31 + 11, marks=WIDE_SEEDS)])
def test_gaussian_noise_is_keras(seed: int, keras: KerasProcess) -> None:
    """Each number within what its functions may err by, of zeros and of ones."""
    layers = {
        "GaussianNoise": (KerasGaussianNoise(RATE, seed), np.zeros(SHAPE, "f4"), RATE, 0.0),
        "GaussianDropout": (
            KerasGaussianDropout(RATE, seed), np.ones(SHAPE, "f4"),
            math.sqrt(RATE / (1 - RATE)), 1.0,
        ),
    }  # fmt: skip
    for kind, (layer, x, deviation, mean) in layers.items():
        theirs = keras.call("random.noise", kind, RATE, seed, x, CALLS)
        for call in range(CALLS):
            words = keras.call(
                "initializers.normals", (seed % LARGEST, call), math.prod(SHAPE), blocks=1
            )["words"]
            expected = box_muller(words).scaled(deviation, mean).shaped(SHAPE)
            ours = layer(torch.from_numpy(x)).numpy()
            result = within(f"{kind} {call}", "proven", ours, theirs[call], *expected)
            assert result.agree, (result.stage, result.detail)


@RANDOM_STREAM
@pytest.mark.parametrize("seed", [5, pytest.param(2**31 + 11, marks=WIDE_SEEDS)])
def test_alpha_dropout_drops_what_keras_drops(seed: int, keras: KerasProcess) -> None:
    """Bit for bit where every product is exact: of zeros."""
    x = np.zeros(SHAPE, "f4")
    theirs = keras.call("random.noise", "AlphaDropout", RATE, seed, x, CALLS)
    layer = KerasAlphaDropout(RATE, seed)
    ours = np.stack([layer(torch.from_numpy(x)).numpy() for _ in range(CALLS)])
    result = exact("alpha dropout", ours, theirs)
    assert result.agree, result.detail
    assert 0.2 < (ours < 0).mean() < 0.4


@pytest.mark.parametrize("kind", [KerasGaussianNoise, KerasGaussianDropout, KerasAlphaDropout])
def test_noise_is_made_in_training_alone_and_its_calls_are_kept(kind: type) -> None:
    """Nothing at a rate of 0; a state_dict goes on where the layer stood."""
    x = torch.linspace(-1, 1, 40).reshape(8, 5)
    layer, still = kind(0.5, 3), kind(0.0, 3)
    assert torch.equal(still(x), x)
    assert still.calls == 0
    assert torch.equal(layer.eval()(x), x)
    assert layer.calls == 0
    first, second = layer.train()(x), layer(x)
    assert not torch.equal(first, second)
    other = kind(0.5, 3)
    other.load_state_dict({"_extra_state": torch.tensor(1)})
    assert torch.equal(other(x), second)
    torch.manual_seed(1)
    free = kind(0.5)(x)
    torch.manual_seed(1)
    assert torch.equal(kind(0.5)(x), free)
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            kind(rate, 3)
