"""Recorded cases of chance: bits, uniform numbers, weights, masks, orders, seeds, draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from parity_tests.record.recorded_case import Case, compare_exactly, rows_and_labels
from torch_impl import FraudClassifier, KerasDropout, oversample, to_keras_weights
from torch_impl.keras.random import glorot_uniform, random_bits, shuffle_permutation, uniform

__all__ = ["CASES"]

# Around both places where seeds wrap (2**31 - 2 in Keras, 2**31 - 1 in TensorFlow), and with
# halves that differ, so that no swap of words goes unseen.
_PAIRS = [(0, 0), (42, 7), (2**31, 2**32 - 1), (0x0123456789ABCDEF, 0x7EDCBA9876543210), (-1, 5)]
_LAYER_SEEDS = [0, 42, 2**31 - 2, 2**31 - 1, 2**32, 0x0123456789ABCDEF, -1]
_GLOBAL_SEEDS = [0, 42, 2**31 - 2, 2**31 - 1, 3_000_000_000]


def _conversion(mode: str) -> Any:
    return "xla" if mode == "xla" else "op"


def _bits(seed: tuple[int, int], count: int, device: str) -> np.ndarray:
    return random_bits(seed, count, device=device).cpu().numpy().astype(np.uint32)


def _uniform(seed: tuple[int, int], shape: tuple[int, ...], mode: str, device: str) -> np.ndarray:
    return uniform(seed, shape, conversion=_conversion(mode), device=device).cpu().numpy()


def _glorot(seed: int, shape: tuple[int, ...], device: str) -> np.ndarray:
    return glorot_uniform(seed, shape, device=device).cpu().numpy()


def _dropout(
    seed: int, rate: float, shape: tuple[int, int], first_call: int, calls: int, mode: str,
    device: str,
) -> tuple[np.ndarray, int]:  # fmt: skip
    layer = KerasDropout(rate, seed, _conversion(mode))
    layer.calls = first_call
    ones = torch.ones(shape, device=device)
    return np.stack([layer(ones).cpu().numpy() for _ in range(calls)]), layer.calls


def _orders(seed: int, rows: int, epochs: int, batch_size: int, device: str) -> np.ndarray:
    return np.tile(shuffle_permutation(seed, rows).numpy(), (epochs, 1))


def _fresh(seed: int, dropout: float, device: str) -> dict[str, Any]:
    model = FraudClassifier(dropout=dropout, seed=seed, device=device)
    drawn: dict[str, Any] = to_keras_weights(model)
    if dropout:
        drawn["dropout/seed"] = np.int64(model.seeds[1])
    return drawn


def _initial(seed: int, device: str, **options: Any) -> dict[str, np.ndarray]:
    return to_keras_weights(FraudClassifier(seed=seed, device=device, **options))


def _oversample(
    features: np.ndarray, labels: np.ndarray, *, seed: int, device: str
) -> tuple[np.ndarray, np.ndarray]:
    return oversample(features, labels, seed=seed)


def _case(function: str, ours: Any, **inputs: Any) -> Case:
    return Case(function, lambda _: inputs, ours, compare_exactly)


def _drops(seed: int, rate: float = 0.5, mode: str = "eager", first_call: int = 0) -> Case:
    # An odd number of units puts row borders inside Philox's blocks.
    shape, calls = (65, 13), 3
    return _case(
        "random.dropout", _dropout,
        seed=seed, rate=rate, shape=shape, first_call=first_call, calls=calls, mode=mode,
    )  # fmt: skip


def _oversampled(seed: int) -> Case:
    features, labels = rows_and_labels(5, 60)
    return Case(
        "training.oversample",
        lambda _: {"features": features, "labels": labels, "seed": seed},
        _oversample,
        compare_exactly,
    )


CASES: dict[str, Case] = {
    **{
        f"random bits of seed {seed}": _case("random.random_bits", _bits, seed=seed, count=103)
        for seed in _PAIRS
    },
    **{
        f"uniform numbers of seed {seed} in mode {mode}": _case(
            "random.uniform", _uniform, seed=seed, shape=(19, 11), mode=mode
        )
        for seed in _PAIRS
        for mode in ("eager", "graph", "xla")
    },
    **{
        f"Glorot-uniform {shape} of seed {seed}": _case(
            "random.glorot_uniform", _glorot, seed=seed, shape=shape
        )
        for seed in _LAYER_SEEDS
        for shape in ((29, 16), (16, 1), (7,), (11, 11))
    },
    **{f"dropout masks of seed {seed}": _drops(seed) for seed in _LAYER_SEEDS},
    **{
        f"dropout masks of rate {rate}": _drops(42, rate)
        for rate in (0.0, 0.1, 0.3, 2.0**-23 * 5_000_001, 0.9, 1.0)
    },
    # The first number that this stream draws, taken for the rate: that unit is kept.
    **{
        f"dropout of a unit whose number is the rate, in mode {mode}": _drops(
            42, float(uniform((42, 0), (1,), conversion=_conversion(mode))), mode
        )
        for mode in ("eager", "xla")
    },
    # As its own rate, and one above it by less than float32 can tell.
    "dropout of a unit whose number is the rate in float32": _drops(
        42, float(uniform((42, 0), (1,))) + 1e-12
    ),
    **{f"dropout masks in mode {mode}": _drops(2**31 - 2, 0.3, mode) for mode in ("graph", "xla")},
    **{
        f"dropout masks after {calls} calls": _drops(42, 0.5, "eager", calls)
        for calls in (14, 2**31 - 3, 2**32 + 5)
    },
    **{
        f"order of {rows} rows of seed {seed}": _case(
            "random.fit_orders", _orders, seed=seed, rows=rows, epochs=2, batch_size=64
        )
        for seed in _GLOBAL_SEEDS
        for rows in (1, 2, 300)
    },
    **{
        f"a new model of seed {seed}, dropout {rate}": _case(
            "random.fresh_model", _fresh, seed=seed, dropout=rate
        )
        for seed, rate in [*((seed, 0.5) for seed in _GLOBAL_SEEDS), (42, 0.0)]
    },
    "initial weights, zero bias": _case(
        "model.initial_weights", _initial, in_features=29, hidden_units=16, seed=5
    ),
    "initial weights, prior bias": _case(
        "model.initial_weights", _initial,
        in_features=29, hidden_units=16, seed=5, output_bias=-2.25,
    ),
    "initial weights, square kernel": _case(
        "model.initial_weights", _initial, in_features=12, hidden_units=12, seed=6, dropout=0.0
    ),
    "oversampled rows of seed 42": _oversampled(42),
    "oversampled rows of seed 2**32 - 1": _oversampled(2**32 - 1),
}  # fmt: skip
