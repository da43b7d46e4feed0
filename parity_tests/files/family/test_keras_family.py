"""Layers beside those of the tutorial: what Keras predicts and learns of a file, PyTorch does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parity_tests.judge.agreement import no_farther, ulp_off
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import FLOAT64_OF_TENSORFLOW, NEIGHBOURS, OF_TODAY
from torch_impl import fit, load_keras, predict, save_keras
from torch_impl.keras.layers.activations import ACTIVATIONS, activation_module
from torch_impl.keras_files.modules import contents_of

RNG = np.random.default_rng(1)
# Every place of an activation where it bends, beside ordinary numbers.
X = np.concatenate([3 * RNG.normal(size=(4000, 5)), 6 * RNG.normal(size=(200, 5))]).astype("f4")
Y = RNG.integers(0, 2, (400, 1)).astype("f4")

Chain = list[tuple[str, list[Any], dict[str, Any]]]
DENSE: Chain = [("Dense", [4], {})]
END: Chain = [("Dense", [1], {"activation": "sigmoid"})]
CHAINS: dict[str, Chain] = {
    "normalizations": [
        ("BatchNormalization", [], {"epsilon": 0.5, "gamma_regularizer": "l1"}),
        ("Dense", [4], {"kernel_regularizer": "l2"}), ("BatchNormalization", [], {}),
        ("Dropout", [0.5], {}), *DENSE, ("BatchNormalization", [], {"center": False}), *DENSE,
        ("LayerNormalization", [], {}), *DENSE,
        ("LayerNormalization", [], {"center": False, "epsilon": 0.1}), *END,
    ],
    # A bias would have no gradient there but the noise of rounding, of which Adam makes steps.
    "batch-normalization-without-gamma": [
        ("Dense", [4], {"use_bias": False}),
        ("BatchNormalization", [], {"scale": False, "momentum": 0.5}), *END,
    ],
    "activations": [
        *DENSE, ("LeakyReLU", [0.3], {}), *DENSE, ("ELU", [0.7], {}), *DENSE, ("PReLU", [], {}),
        ("Dense", [4], {"activation": "tanh"}), ("Dense", [4], {"activation": "swish"}),
        ("Dense", [2], {"activation": "softmax"}),
    ],
    "what-does-nothing-in-inference-and-scaled": [
        ("Flatten", [], {}), ("GaussianNoise", [0.5], {}),
        ("Rescaling", [[0.1, 0.2, 0.3, 0.4, 0.7]], {"offset": 0.3}), ("Rescaling", [0.7], {}),
        ("Normalization", [], {}), *DENSE, ("GaussianDropout", [0.5], {}),
        ("Reshape", [(4,)], {}), ("AlphaDropout", [0.5], {"seed": 3}), ("Identity", [], {}),
        ("Normalization", [], {"mean": [0.1, 0.2, 0.3, 0.4], "variance": [0.1, 0.2, 0.3, 0.4]}),
        ("Normalization", [], {"mean": 0.3, "variance": 0.7, "invert": True}),
        ("ActivityRegularization", [], {}), *END,
    ],
    "relus": [
        *DENSE, ("ReLU", [0.7], {}), *DENSE, ("ReLU", [None, 0.1], {}), *DENSE,
        ("ReLU", [], {"threshold": 0.1}), *DENSE, ("ReLU", [0.9, 0.1, 0.3], {}), *DENSE,
        ("ReLU", [6], {}), *END,
    ],
    "activation-layers": [
        ("Dense", [4], {"activation": ("LeakyReLU", {"negative_slope": 0.1})}),
        ("Dense", [4], {"activation": ("ELU", {"alpha": 0.3})}),
        ("Dense", [4], {"activation": ("ReLU", {"max_value": 0.7})}), *END,
    ],
    "everything": [
        ("Normalization", [], {}), ("Rescaling", [0.7, 0.1], {}), ("Flatten", [], {}),
        ("BatchNormalization", [], {}), ("Dense", [6], {"use_bias": False}),
        ("LayerNormalization", [], {}), ("LeakyReLU", [0.3], {}), ("BatchNormalization", [], {}),
        ("Dense", [4], {"activation": "tanh"}), ("PReLU", [], {}), ("Dropout", [0.2], {}),
        ("GaussianNoise", [0.2], {}), ("Reshape", [(4,)], {}), ("AlphaDropout", [0.1], {}),
        ("Dense", [5], {}), ("ELU", [0.7], {}), ("Dense", [4], {}), ("ReLU", [], {}),
        ("BatchNormalization", [], {"scale": False}), *END,
    ],
    "activation-at-the-end": [*DENSE, ("Activation", ["tanh"], {})],
}  # fmt: skip

NEW = ("what-does-nothing-in-inference-and-scaled", "relus", "activation-layers", "everything")
"""Those with kinds that an older Keras lacks, or does otherwise."""


def agreed(model: torch.nn.Module, theirs: dict[str, np.ndarray], where: str) -> None:
    """Its predictions are Keras's, in double, where a wrong number shows by its last digits.

    float32 runs the same modules; how far rounding may take them is proven for the tutorial's.
    """
    wide = predict(model.double(), X[::5].astype(np.float64)).numpy()
    # Of more numbers than are judged, so that the largest of them is no matter of chance.
    off = ulp_off(theirs["float32"], theirs["float64"])
    result = no_farther(where, "double", wide, theirs["float64"][::5], off, 6)
    assert result.agree, (where, result.detail)


@OF_TODAY
def test_each_activation_is_keras_of_its_name(keras: KerasProcess) -> None:
    """In double, at 16,800 numbers from -60 to 60, where a constant in float32 shows."""
    x = np.linspace(-60, 60, 16800, dtype="f4").reshape(-1, 4)
    theirs = keras.call("family.activations", list(ACTIVATIONS), x)
    for name, answer in theirs.items():
        ours = activation_module(name)(torch.from_numpy(x).double()).numpy()
        off = ulp_off(answer["float32"], answer["float64"])
        result = no_farther(name, "double", ours, answer["float64"], off, 4)
        assert result.agree, (name, result.detail)


@OF_TODAY
def test_each_activation_has_keras_gradient(keras: KerasProcess) -> None:
    """In double, at its bends too; up to 4, before what is left of a tanh loses its digits."""
    bends = np.array([-6, -3, -1, -0.5, -0.0, 0, 0.5, 1, 3, 6, 2, -2], "f4")
    x = np.concatenate([bends, np.linspace(-4, 4, 23988, dtype="f4")]).reshape(-1, 4)
    above = RNG.normal(size=x.shape).astype("f4")
    theirs = keras.call("family.slopes", list(ACTIVATIONS), x, above)
    # Of more numbers than are judged, so that the largest of them is no matter of chance.
    judged = np.r_[0:3, 3 : len(x) : 5]
    for name, answer in theirs.items():
        given = torch.from_numpy(x[judged]).double().requires_grad_()
        outputs = activation_module(name)(given)
        (ours,) = torch.autograd.grad(outputs, given, torch.from_numpy(above[judged]).double())
        off = ulp_off(answer["float32"], answer["float64"])
        result = no_farther(name, "double", ours.numpy(), answer["float64"][judged], off, 4)
        assert result.agree, (name, result.detail)


@FLOAT64_OF_TENSORFLOW
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=NEIGHBOURS if name in NEW else ()) for name in CHAINS]
)
def test_a_file_predicts_what_keras_predicts(
    name: str, keras: KerasProcess, tmp_path: Path
) -> None:
    """From each format, weights bit for bit; also where weights and architecture lie apart."""
    stem = str(tmp_path / "x")
    endings = (".keras", ".h5", ".weights.h5", ".json")
    theirs = keras.call("family.write", stem, CHAINS[name], X, endings)
    for ending in (".keras", ".h5", ".weights.h5"):
        config = f"{stem}.json" if ending == ".weights.h5" else None
        model = load_keras(stem + ending, config=config)
        held = contents_of(model).weights
        assert list(held) == list(theirs["weights"])
        for weight, array in theirs["weights"].items():
            np.testing.assert_array_equal(held[weight].numpy(), array, strict=True)
        agreed(model, theirs, ending)


TWINS: Chain = [
    ("Dense", [5], {"activation": "ReLU"}), ("BatchNormalization", [], {}),
    ("Dense", [5], {"activation": "tanh"}), ("BatchNormalization", [], {}), ("Softmax", [], {}),
]  # fmt: skip
"""Pairs of equal shapes, which nothing but their order, or names, tells apart."""


@FLOAT64_OF_TENSORFLOW
def test_a_functional_model_is_read_whatever_its_layers_are_called(
    keras: KerasProcess, tmp_path: Path
) -> None:
    """Layers made from the last to the first, whose names run backwards; one has an object."""
    stem = str(tmp_path / "x")
    endings = (".keras", ".h5", ".weights.h5", ".json")
    theirs = keras.call("family.write", stem, TWINS, X, endings, functional=True)
    for ending in (".keras", ".h5", ".weights.h5"):
        config = f"{stem}.json" if ending == ".weights.h5" else None
        agreed(load_keras(stem + ending, config=config), theirs, ending)


@FLOAT64_OF_TENSORFLOW
@NEIGHBOURS
def test_a_written_file_is_the_same_model(keras: KerasProcess, tmp_path: Path) -> None:
    """Keras opens what it can open and predicts the same bits; we read all of them back."""
    stem = str(tmp_path / "x")
    theirs = keras.call("family.write", stem, CHAINS["everything"], X, (".keras", ".json"))
    original = keras.call("files.open_model", f"{stem}.keras", X[:64], X[:64])
    model = load_keras(f"{stem}.keras")
    for ending in (".keras", ".h5", ".weights.h5", ".safetensors"):
        ours = str(tmp_path / f"ours{ending}")
        save_keras(model, ours)
        again = load_keras(ours, config=f"{stem}.json" if ending == ".weights.h5" else None)
        for weight, tensor in contents_of(again).weights.items():
            np.testing.assert_array_equal(tensor.numpy(), theirs["weights"][weight], strict=True)
        agreed(again, theirs, ending)
        if ending in (".keras", ".h5"):
            read = keras.call("files.open_model", ours, X[:64], X[:64])
            for told in ("predictions", "weights"):
                np.testing.assert_equal(read[told], original[told], ending)


@NEIGHBOURS
@pytest.mark.parametrize("name", ["everything", "batch-normalization-without-gamma"])
def test_a_loaded_network_learns_as_keras_does(
    name: str, keras: KerasProcess, tmp_path: Path
) -> None:
    """Weights and moving statistics after 52 steps, in double."""
    # Noise is another one in float64. Of features scaled once more this very run makes a billion
    # times what rounding makes of it (Keras's float32 ends 0.07 off): test_own_model.py trains so.
    left_out = ("Dropout", "GaussianNoise", "AlphaDropout", "Normalization")
    chain = [layer for layer in CHAINS[name] if layer[0] not in left_out]
    stem, x, y = str(tmp_path / "x"), X[:400], Y
    keras.call("family.write", stem, chain, x, (".keras",))
    theirs = keras.call("family.train", f"{stem}.keras", x, y, epochs=4, batch_size=32)
    model = load_keras(f"{stem}.keras").double()
    plain = torch.optim.SGD(model.parameters(), 2**-7)
    fit(model, x, y, batch_size=32, epochs=4, shuffle=False, optimizer=plain, progress=False)
    ours = {
        name: tensor.numpy()
        for name, tensor in contents_of(model).weights.items()
        if tensor.is_floating_point()  # all but a count of rows
    }
    narrows, wides = theirs["float32"], theirs["float64"]
    # One number alone may be near by chance: each is off by what all are. Every row is a term of
    # the moving statistics.
    off = max(ulp_off(narrows[weight], wides[weight]) for weight in ours)
    for weight, wide in wides.items():
        if weight not in ours:  # the history, and a count
            continue
        result = no_farther(weight, "double", ours[weight], wide, off, len(x))
        assert result.agree, (result.stage, result.detail)
