"""Tensors are made where and in what was asked for, whatever torch's own defaults are.

The device is `meta`, which every torch has: it keeps shapes, dtypes and devices, but no numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torch_impl import FeatureTransform, FraudClassifier, KerasAdam, KerasMetrics
from torch_impl.base.arrays import as_tensor
from torch_impl.keras.random import (
    dropout_mask,
    dropout_masks,
    glorot_uniform,
    random_bits,
    shuffle_permutation,
    uniform,
)

DRAWS: dict[str, tuple[Callable[..., Tensor], torch.dtype]] = {
    "bits": (partial(random_bits, (1, 2), 5), torch.int64),
    "uniform": (partial(uniform, (1, 2), (5,)), torch.float32),
    "kernel": (partial(glorot_uniform, 1, (2, 3)), torch.float32),
    "mask": (partial(dropout_mask, 1, 0, 0.5, range(4), 3), torch.bool),
    "masks": (partial(dropout_masks, 1, range(2), 0.5, range(4), 3), torch.bool),
}


@pytest.mark.parametrize("draw", DRAWS)
def test_draws_are_made_on_the_device_asked_for(draw: str) -> None:
    """Nothing is drawn elsewhere and moved."""
    make, dtype = DRAWS[draw]
    tensor = make(device="meta")
    assert (tensor.device.type, tensor.dtype) == ("meta", dtype)


@pytest.mark.parametrize("draw", DRAWS)
def test_draws_are_made_on_the_default_device_if_none_is_asked_for(draw: str) -> None:
    """Beside what is drawn on the CPU whatever the default is."""
    make, dtype = DRAWS[draw]
    with torch.device("meta"):
        tensor = make()
    assert (tensor.device.type, tensor.dtype) == ("meta", dtype)


def test_a_model_and_its_metrics_are_made_on_the_device_asked_for() -> None:
    """Both layers, and every sum."""
    model = FraudClassifier(4, 3, device="meta")
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert {t.device.type for t in vars(KerasMetrics("meta")).values()} == {"meta"}


def test_rows_follow_the_model_to_its_device_and_dtype() -> None:
    """As `fit` takes them."""
    rows = as_tensor(np.zeros((2, 3)), torch.empty(0, dtype=torch.float16, device="meta"))
    assert (rows.device.type, rows.dtype, rows.shape) == ("meta", torch.float16, (2, 3))


def test_statistics_follow_the_transform_to_its_device_and_stay_float64() -> None:
    """Also where a dtype is asked for in the same breath."""
    transform = FeatureTransform([1.0, 2.0], [3.0, 4.0]).to("meta", torch.float16)
    for statistic in (transform.mean, transform.scale):
        assert (statistic.device.type, statistic.dtype) == ("meta", torch.float64)


@pytest.fixture
def float64_default() -> Iterator[None]:
    """As a project may have it that sets torch's default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64_default")
def test_torchs_default_dtype_changes_nothing() -> None:
    """What is float32 in Keras is float32, and what is an integer stays one."""
    assert glorot_uniform(1, (2, 3)).dtype == torch.float32
    assert shuffle_permutation(1, 4).dtype == torch.int64
    rows = torch.ones(2, 2)
    assert rows.dtype == torch.float64
    assert FeatureTransform([1.0, 2.0], [3.0, 4.0])(rows).dtype == torch.float32
    w = nn.Parameter(torch.ones(1))
    assert KerasAdam([w]).state_of(w)["step"].dtype == torch.float32


def test_sums_are_kept_in_float64_and_counts_as_integers() -> None:
    """So that no epoch is too long for them."""
    kept = [tensor.dtype for tensor in vars(KerasMetrics()).values()]
    assert kept == [torch.float64, torch.int64]


def test_adams_step_size_is_computed_in_the_parameters_dtype() -> None:
    """Float16 gives what Keras gives in float16, not a rounded float32."""
    group = {"lr": 1e-3, "betas": (0.9, 0.999)}
    for dtype in (torch.float16, torch.float32, torch.float64):
        assert KerasAdam.alpha(3, group, dtype).dtype == dtype
    for step in (1, 2, 3, 10, 50):  # every line rounded to float16, by NumPy
        lr, t, *betas = np.float16([group["lr"], step, *group["betas"]])
        one1, one2 = (np.float16(1) - beta**t for beta in betas)
        assert KerasAdam.alpha(step, group, torch.float16).item() == lr * np.sqrt(one2) / one1
