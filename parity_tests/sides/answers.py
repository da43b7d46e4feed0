"""References that are not Keras's process itself: one asked once, one that echoes PyTorch."""

# ruff: noqa: D102 (what Echo answers is named as what it answers for)

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.recording_file import digest
from parity_tests.sides import torch_side
from parity_tests.sides.training_pair import torch_fits, torch_steps
from torch_impl import FraudClassifier, FraudPipeline, KerasDropout, to_keras_weights
from torch_impl.base.modes import inference
from torch_impl.keras.random import layer_seeds, shuffle_permutation

__all__ = ["Answers", "Echo", "run_here", "spoil"]

_STEPPED = ("tp", "fp", "tn", "fn", "accuracy", "precision", "recall", "auc", "prc")


class Answers:
    """What a Keras process answers. Some hundred twins ask the same and spoil one number of it."""

    def __init__(self, process: KerasProcess | Echo) -> None:
        self._process = process
        self._answers: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """As `KerasProcess.call`."""
        question = digest([name, list(args), kwargs])
        if question not in self._answers:
            self._answers[question] = self._process.call(name, *args, **kwargs)
        return self._answers[question]


class Echo:
    """In place of a Keras process: what agrees is known, whatever PyTorch computes."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self.asked.append((name, args, kwargs))
        return getattr(self, name.partition(".")[2])(*args, **kwargs)

    def start(self) -> dict[str, str]:
        return {"keras": "an echo"}

    def wait(self, answer: Any) -> Any:
        return answer

    def initial_weights(
        self, width: int, output_bias: float | None = None, seed: int | None = None
    ) -> dict[str, np.ndarray]:
        return to_keras_weights(FraudClassifier(width, output_bias=output_bias, seed=seed))

    def copy_through(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return copy.deepcopy(weights)

    def forward_stages(
        self, weights: dict[str, np.ndarray], features: np.ndarray
    ) -> dict[str, np.ndarray]:
        return torch_side.forward_stages(torch_side.classifier(weights), features)

    def fresh_model(self, seed: int) -> dict[str, int]:
        return {"dropout/seed": layer_seeds(seed, 3)[1]}

    def dropout(
        self, seed: int, rate: float, shape: tuple[int, int], first_call: int, calls: int
    ) -> tuple[np.ndarray, int]:
        layer = KerasDropout(rate, seed)
        layer.calls = first_call
        return torch.stack([layer(torch.ones(shape)) for _ in range(calls)]).numpy(), calls

    def fit_orders(self, seed: int, rows: int, epochs: int, batch_size: int) -> np.ndarray:
        return np.stack([shuffle_permutation(seed, rows).numpy()] * epochs)

    def one_step_in_both(self, *data: Any, seed: int) -> dict[str, Any]:
        kept, _ = self.dropout(layer_seeds(seed, 3)[1], 0.5, (len(data[1]), 16), 0, 1)
        return {**torch_steps(*data, seed=seed), "kept": kept[0] != 0}

    def fits(self, *data: Any, sigmoid_ulp: float, **options: Any) -> dict[str, Any]:
        runs: Any = torch_fits(*data, **options)
        for run in runs.values():
            run["batch"] = min(options["batch_size"], len(options["labels"]))
        history = runs["float32"]["history"]
        jumps = {
            name: [0.0] * options["epochs"]
            for name in history
            if name.removeprefix("val_") in _STEPPED
        }
        return {**runs, "edges": {**copy.deepcopy(runs["float32"]), "spread": jumps}}


def run_here(_: str, module: FraudClassifier | FraudPipeline, rows: np.ndarray) -> list[np.ndarray]:
    """What `run_exported` gives, without the seconds that exporting takes."""
    with inference(module):
        came = module(torch.from_numpy(rows))
    return [tensor.numpy() for tensor in (came if isinstance(came, tuple) else (came,))]


def spoil(part: Any, at: int, wrong: float) -> None:
    """Makes one number of an array, or of arrays or lists by name, wrong in place.

    Args:
        part: what holds the numbers.
        at: which of all of them.
        wrong: by how much, in parts of the largest in its array.
    """
    for leaf in part.values() if isinstance(part, dict) else [part]:
        if at >= np.size(leaf):
            at -= np.size(leaf)
            continue
        if isinstance(leaf, list):
            leaf[at] += wrong * (max(map(abs, leaf)) or 1)
        elif leaf.dtype.kind == "f":
            leaf.reshape(-1)[at] += leaf.dtype.type(wrong * (np.abs(leaf).max() or 1))
        else:
            leaf.reshape(-1)[at] += 1
        return
    raise IndexError(at)
