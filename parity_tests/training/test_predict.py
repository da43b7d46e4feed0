"""`predict` and `evaluate`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from parity_tests.judge import bounds
from parity_tests.training.small_runs import FEATURES, ROWS, X, Y
from torch_impl import FraudClassifier, KerasNetwork, evaluate, fit, predict, to_keras_weights
from torch_impl.keras.layers.dropout import KerasDropout
from torch_impl.keras.layers.network import Layer, Network


def network_ending(activation: Any) -> Network:
    return Network(FEATURES, (Layer("Dense", "a", 4), Layer("Dense", "b", 3, activation)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [0.0, -20.0])
def test_predict_gives_probabilities_without_dropout_and_keeps_the_mode(
    bias: float, dtype: torch.dtype
) -> None:
    """In batches of any size, of no rows too; the smallest to their own last digits."""
    model = FraudClassifier(FEATURES, 8, 0.9, bias, seed=3, dtype=dtype).train()
    expected = bounds.forward(bounds.exactly(X), to_keras_weights(model))["probabilities"]
    # In float64 it is as much smaller, but that what is expected was computed in float64 itself.
    ratio = 1 if dtype == torch.float32 else 2 * bounds.U64 / bounds.U32
    ways = [predict(model, X, batch_size=batch_size) for batch_size in (1, 7, 300, 10_000)]
    for p in (*ways, model.predict_proba(torch.from_numpy(X).to(dtype))):
        assert (p.shape, p.dtype) == ((ROWS, 1), dtype)
        assert not p.requires_grad
        assert (np.abs(p.numpy() - expected.value) <= expected.allowance * ratio).all()
    assert predict(model, X[:0]).shape == (0, 1)
    assert model.training
    assert isinstance(model.dropout, KerasDropout)
    assert model.dropout.calls == 0


def test_evaluate_gives_what_fit_reports_for_validation() -> None:
    """The same keys without `val_`; of no rows numbers too."""
    model = FraudClassifier(FEATURES, 8, seed=3)
    history = fit(
        model, X, Y, batch_size=64, validation_data=(X, Y), progress=False, compiled=False
    )
    found = evaluate(model, X, Y, batch_size=64)
    assert {f"val_{name}": [value] for name, value in found.items()} == {
        name: values for name, values in history.history.items() if name.startswith("val_")
    }
    assert evaluate(model, X, Y, metrics=False) == {"loss": found["loss"]}
    assert evaluate(model, X[:0], Y[:0])["loss"] == 0


ENDS: dict[str, tuple[nn.Module, dict[str, bool], bool | None]] = {
    "classifier": (FraudClassifier(FEATURES, 8, seed=3), {}, True),
    "behind-others": (
        nn.Sequential(nn.Identity(), nn.Identity(), FraudClassifier(FEATURES, 8, seed=3)), {}, True,
    ),
    "copies-for-devices": (nn.DataParallel(FraudClassifier(FEATURES, 8, seed=3)), {}, True),
    "loaded-sigmoid": (KerasNetwork(network_ending("sigmoid")), {}, True),
    "loaded-linear": (KerasNetwork(network_ending("linear")), {}, False),
    "loaded-relu": (KerasNetwork(network_ending("relu")), {}, False),
    "said-to-be-logits": (nn.Linear(FEATURES, 2), {"from_logits": True}, True),
    "said-to-be-none": (nn.Linear(FEATURES, 2), {"from_logits": False}, False),
    "without-parameters": (nn.Tanh(), {"from_logits": False}, False),
    "said-otherwise": (FraudClassifier(FEATURES, 8, seed=3), {"from_logits": False}, False),
    "unsaid": (nn.Linear(FEATURES, 2), {}, None),
    "unsaid-behind-others": (nn.Sequential(nn.Linear(FEATURES, 2), nn.Sigmoid()), {}, None),
    "nothing": (nn.Sequential(), {}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
def test_predict_applies_the_end_that_the_module_leaves_out(case: str) -> None:
    """Its own as a file says, what the caller says, and never a guess."""
    model, options, sigmoid = ENDS[case]
    x = np.round(8 * X) / 8  # every sum fits float32: the same bits in any order
    with torch.no_grad():  # so that some outputs are below 0 and some above
        for i, parameter in enumerate(model.parameters()):
            numbers = torch.linspace(-1 - i, 1, parameter.numel()).view(parameter.shape)
            parameter.copy_((8 * numbers).round() / 8)
    if sigmoid is None:
        with pytest.raises(ValueError, match="does not say what its outputs are; expected from"):
            predict(model, x, **options)
        return
    with torch.no_grad():
        outputs = model.eval()(torch.from_numpy(x))
    expected = torch.sigmoid(outputs) if sigmoid else outputs
    assert torch.equal(predict(model, x, **options), expected)
    assert (outputs < 0).any() == (case != "loaded-relu"), "a sigmoid would show"
