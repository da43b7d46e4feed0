"""`KerasDropout` without a Keras: state, bits, gradients."""

from __future__ import annotations

import pytest
import torch

from torch_impl.keras.layers.dropout import KerasDropout
from torch_impl.keras.random import dropout_mask


def test_dropout_does_not_depend_on_what_was_asked_before() -> None:
    """Batches of changing size, another layer between, and a call after a jump."""
    layer, other = KerasDropout(0.4, seed=11), KerasDropout(0.4, seed=12)
    ones = torch.ones(3000, 7)
    for call, rows in enumerate([5, 5, 64, 1, 0, 65, 3000, *range(1, 30)]):
        other(ones)
        kept = layer(ones[:rows]) != 0
        assert torch.equal(kept, dropout_mask(11, call, 0.4, range(rows), 7)), (call, rows)
    layer.calls = 2**31
    assert torch.equal(layer(ones) != 0, dropout_mask(11, 2**31, 0.4, range(3000), 7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_dropout_is_where_bit_for_bit_forward_and_backward(dtype: torch.dtype) -> None:
    """As Keras writes it: what is dropped is +0, be it negative, infinite or NaN."""
    x = torch.tensor([1.5, -2.0, 0.0, -0.0, torch.inf, -torch.inf, torch.nan], dtype=dtype)
    x = torch.cat([x.repeat(40, 1), torch.arange(1, 281).reshape(40, 7).to(dtype) / 77])
    x.requires_grad_()
    gradient = x.detach().roll(1, dims=1)
    kept = dropout_mask(5, 0, 0.3, range(80), 7)
    scale = torch.full_like(x, 1 / (1 - 0.3))  # rounded to the dtype, as TensorFlow rounds it
    expected = torch.where(kept, x * scale, 0)
    came = KerasDropout(0.3, seed=5)(x)
    (expected_gradient,) = torch.autograd.grad(expected, x, gradient)
    (came_gradient,) = torch.autograd.grad(came, x, gradient)
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    for ours, where in ((came, expected), (came_gradient, expected_gradient)):
        assert torch.equal(ours.detach().view(integer), where.detach().view(integer))


def test_dropout_has_a_second_derivative() -> None:
    """Of its gradient, which is linear in what comes from above: scale where kept."""
    x = torch.ones(6, 4, requires_grad=True)
    above = torch.ones(6, 4, requires_grad=True)
    out = KerasDropout(0.5, seed=5)(x)
    (gradient,) = torch.autograd.grad(out, x, above, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), above)
    assert torch.equal(second, 2.0 * dropout_mask(5, 0, 0.5, range(6), 4))
