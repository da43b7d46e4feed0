"""Weights cross between the frameworks by name, bit for bit, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parity_tests.reference.keras_process import KerasProcess
from torch_impl import (
    KERAS_WEIGHT_MAP,
    FraudClassifier,
    WeightRow,
    load_keras_weights,
    to_keras_weights,
)


def random_weights(in_features: int, hidden_units: int) -> dict[str, np.ndarray]:
    """Distinct numbers everywhere, subnormal, huge and non-finite ones among them."""
    rng = np.random.default_rng(in_features * 1000 + hidden_units)
    shapes = {
        "dense/kernel": (in_features, hidden_units),
        "dense/bias": (hidden_units,),
        "dense_1/kernel": (hidden_units, 1),
        "dense_1/bias": (1,),
    }
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    special = np.float32([1e-45, -0.0, np.finfo(np.float32).max, np.inf, np.nan])
    flat = weights["dense/kernel"].reshape(-1)
    flat[: len(special)] = special[: len(flat)]
    return weights


def bits(weights: dict[str, np.ndarray]) -> dict[str, list[object]]:
    """Shapes and raw bits, so that NaN payloads and signs of zero count too."""
    return {k: [v.dtype.name, v.shape, v.tobytes()] for k, v in weights.items()}


SIZES = pytest.mark.parametrize(
    "sizes", [(29, 16), (16, 16), (1, 1), (5, 33)], ids=["tutorial", "square", "scalar", "wide"]
)


@SIZES
def test_weights_survive_keras_torch_keras(sizes: tuple[int, int], keras: KerasProcess) -> None:
    """Through a torch module, into a live Keras model and out again: the same bits."""
    weights = random_weights(*sizes)
    model = FraudClassifier(*sizes)
    load_keras_weights(model, weights)
    assert bits(keras.call("model.copy_through", to_keras_weights(model))) == bits(weights)


@SIZES
def test_kernels_are_transposed_and_biases_are_not(sizes: tuple[int, int]) -> None:
    """Entry [i, j] of a kernel is entry [j, i] of the weight, in the square case too."""
    weights = random_weights(*sizes)
    model = FraudClassifier(*sizes)
    load_keras_weights(model, weights)
    ours = {name: p.detach().numpy() for name, p in model.named_parameters()}
    for i, j in np.ndindex(*sizes):
        np.testing.assert_array_equal(ours["hidden.weight"][j, i], weights["dense/kernel"][i, j])
    for j in range(sizes[1]):
        assert ours["output.weight"][0, j] == weights["dense_1/kernel"][j, 0]
    np.testing.assert_array_equal(ours["hidden.bias"], weights["dense/bias"])
    np.testing.assert_array_equal(ours["output.bias"], weights["dense_1/bias"])


def test_arrays_are_copies_on_both_ways() -> None:
    """Training one side afterwards does not change the other."""
    weights = random_weights(29, 16)
    model = FraudClassifier()
    load_keras_weights(model, weights)
    out = to_keras_weights(model)
    before = bits(out)
    weights["dense/bias"][:] = 7
    with torch.no_grad():
        model.hidden.bias.fill_(9)
        model.hidden.weight.fill_(9)
    assert bits(out) == before
    assert not (model.hidden.bias == 7).any()


def test_every_fault_is_named_at_once_and_nothing_is_copied() -> None:
    """One error lists missing, unexpected, misshapen and too precise entries."""
    weights = random_weights(29, 16)
    weights["dense/kernel"] = weights["dense/kernel"].T
    weights["dense/bias"] = weights["dense/bias"].astype(np.float64)
    del weights["dense_1/bias"]
    weights["dense_2/kernel"] = np.zeros((3, 1), np.float32)
    model = FraudClassifier()
    before = bits(to_keras_weights(model))
    with pytest.raises(ValueError, match="do not fit") as caught:
        load_keras_weights(model, weights)
    message = str(caught.value)
    for part in (
        "dense_1/bias is missing",
        "dense_2/kernel is unexpected",
        "dense/kernel has shape (16, 29), expected (29, 16) (hidden.weight)",
        "dense/bias is float64",
    ):
        assert part in message
    assert "\n" not in message
    assert bits(to_keras_weights(model)) == before


def test_keras_side_reports_the_same_faults(keras: KerasProcess) -> None:
    """The reference, too, refuses to set weights that do not fit, all named at once."""
    weights = random_weights(29, 16)
    del weights["dense_1/bias"]
    weights["extra/kernel"] = weights["dense_1/kernel"]
    weights["dense/bias"] = weights["dense/bias"].astype(np.float64)
    with pytest.raises(
        ValueError, match=r"dense_1/bias is missing; extra/kernel is unexpected; dense/bias came as"
    ):
        keras.call("model.copy_through", weights)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, np.complex64, np.bool_])
@pytest.mark.parametrize("target", [torch.float32, torch.float64, torch.float16])
def test_dtypes_are_widened_and_never_narrowed(dtype: type, target: torch.dtype) -> None:
    """A float goes into a parameter that holds it exactly; anything else is refused."""
    weights = {name: array.astype(dtype) for name, array in weights_for_dtypes().items()}
    model = FraudClassifier(3, 2, dtype=target)
    fits = (
        dtype
        in {
            torch.float16: {np.float16},
            torch.float32: {np.float16, np.float32},
            torch.float64: {np.float16, np.float32},
        }[target]
    )
    if fits:
        load_keras_weights(model, weights)
        for name, array in to_keras_weights(model).items():
            np.testing.assert_array_equal(array, weights[name])
    else:
        with pytest.raises(ValueError, match="holds exactly"):
            load_keras_weights(model, weights)


def weights_for_dtypes() -> dict[str, np.ndarray]:
    return to_keras_weights(FraudClassifier(3, 2, output_bias=1 / 3))


def test_layouts_and_byte_orders_do_not_matter() -> None:
    """Big-endian, Fortran-ordered, strided and read-only arrays give the same weights."""
    weights = random_weights(29, 16)
    odd = {k: np.asfortranarray(v).astype(v.dtype.newbyteorder(">")) for k, v in weights.items()}
    odd["dense/bias"] = np.repeat(weights["dense/bias"], 2)[::2]
    for array in odd.values():
        array.flags.writeable = False
    model = FraudClassifier()
    load_keras_weights(model, odd)
    assert bits(to_keras_weights(model)) == bits(weights)


def test_bfloat16_comes_back_as_float32() -> None:
    """NumPy has no bfloat16; float32 holds it exactly."""
    model = FraudClassifier(3, 2, output_bias=0.3, dtype=torch.bfloat16)
    bias = to_keras_weights(model)["dense_1/bias"]
    assert bias.dtype == np.float32
    assert bias.tolist() == model.output.bias.tolist()


def test_layers_of_other_names_are_mapped_by_name() -> None:
    """A map with other Keras names reads a model whose layers are called otherwise."""
    renamed = [
        WeightRow(row.keras.replace("dense_1", "score").replace("dense", "units"), *row[1:])
        for row in KERAS_WEIGHT_MAP
    ]
    weights = random_weights(29, 16)
    model = FraudClassifier()
    load_keras_weights(model, weights)
    other = to_keras_weights(model, renamed)
    assert list(other) == ["units/kernel", "units/bias", "score/kernel", "score/bias"]
    twin = FraudClassifier()
    load_keras_weights(twin, dict(reversed(other.items())), renamed)
    assert bits(to_keras_weights(twin)) == bits(weights)


def test_a_matrix_that_is_no_kernel_keeps_its_layout() -> None:
    """The map says which weights are transposed; an embedding's table is not."""
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    layer, rows = torch.nn.Embedding(2, 3), [WeightRow("embedding/embeddings", "weight", False)]
    load_keras_weights(layer, {"embedding/embeddings": table}, rows)
    np.testing.assert_array_equal(layer.weight.detach().numpy(), table)
    np.testing.assert_array_equal(to_keras_weights(layer, rows)["embedding/embeddings"], table)


def test_arrays_for_keras_are_contiguous() -> None:
    """A transposed view would be copied again by all that takes it."""
    assert all(a.flags.c_contiguous for a in to_keras_weights(FraudClassifier(3, 2)).values())
