"""A fault for the twins of tests: the PyTorch model's first weight is off by 1e-4 of itself."""

from __future__ import annotations

import pytest

from parity_tests.sides import torch_side

__all__ = ["make_one_weight_wrong"]


def make_one_weight_wrong(patch: pytest.MonkeyPatch) -> None:
    """Whatever weights are copied into a model of the report from now on."""
    healthy = torch_side.load_keras_weights

    def faulty(model, weights):
        healthy(model, weights)
        model.hidden.weight.data[0, 0] *= 1 + 1e-4

    patch.setattr(torch_side, "load_keras_weights", faulty)
