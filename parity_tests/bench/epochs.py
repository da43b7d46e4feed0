"""One epoch of training: bare, and the tutorial's with eleven metrics and validation."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import numpy as np

from parity_tests.bench import floors
from parity_tests.bench.material import BATCH_SIZE, Material
from parity_tests.bench.processes import Processes
from parity_tests.bench.race import Comparison, Contestant, Rounds, race

__all__ = ["compare"]

_KERAS = {"keras-tensorflow": False, "keras-jax": False, "keras-torch": True}
"""Its backends, and whether they are slow."""

_OTHERS = {
    "pytorch-loop": ("pytorch_loop", ()),
    "skorch": ("skorch_net", ("skorch",)),
    "lightning": ("lightning_trainer", ("lightning",)),
}
"""Modules of those that take seconds, and what they need."""


def compare(
    material: Material, processes: Processes, rounds: Rounds, epochs: int
) -> Iterator[Comparison]:
    """Median epochs of runs, of which the first epoch is left out: graphs are traced in it."""
    train, validation = (
        len(material.prepared.train.labels),
        len(material.prepared.validation.labels),
    )
    for kind, full in (("bare", False), ("tutorial's", True)):
        contestants = [
            *_ours(material, processes, epochs, full),
            *(
                Contestant(key, _keras(key, material, processes, epochs, full), slow)
                for key, slow in _KERAS.items()
            ),
            *(
                Contestant(key, _other(key, material, processes, epochs, full), slow=True)
                for key in _OTHERS
            ),
        ]
        alone = floors.of_epoch(train, validation if full else 0)
        yield race(f"epoch, {kind}", contestants, rounds, alone, warm=False)


def _ours(
    material: Material, processes: Processes, epochs: int, full: bool
) -> Iterator[Contestant]:
    for key, compiled in (("torch_impl", True), ("torch_impl-eager", False)):
        arguments = (material.features, BATCH_SIZE, epochs, full, compiled)

        def start(arguments: tuple[object, ...] = arguments) -> Callable[[], float]:
            return lambda: _typical(processes.call("ours", "epoch_seconds", *arguments))

        yield Contestant(key, start)


def _keras(
    key: str, material: Material, processes: Processes, epochs: int, full: bool
) -> Callable[[], Callable[[], float]]:
    def start() -> Callable[[], float]:
        keras = processes.keras(key.removeprefix("keras-"))
        held = np.load(material.features)
        validation = (held["validation_x"], held["validation_y"]) if full else None
        arguments = {
            "features": held["x"],
            "labels": held["y"],
            "output_bias": float(held["output_bias"]),
        }
        return lambda: _typical(
            keras.call(
                "training.timed_fit", seed=42, batch_size=BATCH_SIZE, epochs=epochs, metrics=full,
                validation_data=validation, **arguments,
            )
        )  # fmt: skip

    return start


def _other(
    key: str, material: Material, processes: Processes, epochs: int, full: bool
) -> Callable[[], Callable[[], float]]:
    module, needs = _OTHERS[key]
    if full and key != "skorch":
        needs = (*needs, "torchmetrics")
    arguments = (material.features, BATCH_SIZE, epochs, full)

    def start() -> Callable[[], float]:
        processes.require(needs)
        return lambda: _typical(processes.call(module, "epoch_seconds", *arguments))

    return start


def _typical(seconds: list[float]) -> float:
    return statistics.median(seconds[1:])
