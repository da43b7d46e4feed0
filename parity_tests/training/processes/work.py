"""What the members of a group are asked to do."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from parity_tests.sides.training_pair import torch_fits
from parity_tests.training.small_runs import FEATURES, rows_and_labels
from torch_impl import Callback, FraudClassifier, KerasDropout, KerasSGD, fit, load_keras
from torch_impl.base.processes import processes
from torch_impl.keras.layers.noise import KerasAlphaDropout, KerasGaussianNoise
from torch_impl.keras_files.modules import contents_of
from torch_impl.training import together

__all__ = [
    "faults", "fit_of_file", "fit_of_map", "fit_of_other_code", "fits", "from_first", "slow_fit",
    "small_fit",
]  # fmt: skip


def fits(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`torch_fits` of each."""
    return {name: torch_fits(**options) for name, options in runs.items()}


def small_fit(**options: Any) -> tuple[dict[str, np.ndarray], dict[str, list[float]]]:
    """Weights and history of a run; `rows`, `model`, `weights_seed`, `dtype` say of what."""
    x, y = options.pop("data", None) or rows_and_labels(options.pop("rows", 300))
    model = MODELS[options.pop("model", "classifier")](options.pop("weights_seed", 3))
    model.to(options.pop("dtype", torch.float32))
    defaults = {"batch_size": 200, "epochs": 2, "seed": 3, "progress": False}
    history = fit(model, x, y, **(defaults | options))
    state = {k: v.numpy() for k, v in model.state_dict().items() if isinstance(v, torch.Tensor)}
    return state, history.history


def faults(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What `small_fit` says to each of these runs, one after the other; nothing if it trains."""
    told = []
    for options in runs:
        try:
            small_fit(**options)
        except ValueError as error:
            told.append(str(error))
        else:
            told.append("")
    return told


def fit_of_other_code(other: bool) -> Any:
    """`small_fit`, in this process by sources that hold something else."""
    if other:
        read = Path.read_bytes
        Path.read_bytes = lambda path: read(path) + b"#"  # type: ignore[method-assign]
    together._code.cache_clear()
    return small_fit()


def _of_layers(*middle: nn.Module, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(FEATURES, 8), *middle, nn.ReLU(), nn.Linear(8, 1))


MODELS = {
    "classifier": lambda seed: FraudClassifier(FEATURES, 8, seed=seed),
    "odd-width": lambda seed: FraudClassifier(FEATURES, 7, seed=seed),
    "noisy": lambda seed: _of_layers(
        KerasGaussianNoise(0.3, 5), KerasAlphaDropout(0.2, 6), KerasDropout(0.3, 7), seed=seed
    ),
    "parallel": lambda seed: DistributedDataParallel(FraudClassifier(FEATURES, 8, seed=seed)),
    "batch-norm": lambda seed: _of_layers(nn.BatchNorm1d(8), seed=seed),
}
"""From a seed, modules of five features."""


def fit_of_file(path: str, x: np.ndarray, y: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    """The weights of a file's model, by Keras's names, after a run by plain SGD in double."""
    model = load_keras(path).double()
    plain = KerasSGD(model.parameters(), 2**-7)
    fit(model, x, y, optimizer=plain, shuffle=False, progress=False, **options)
    weights = contents_of(model).weights.items()
    return {name: tensor.numpy() for name, tensor in weights if tensor.is_floating_point()}


def fit_of_map(path: str, rows: int, **options: Any) -> int:
    """How many bytes of a memory-mapped file of rows a process has in memory after a run."""
    x = np.memmap(path, np.float32, "r", shape=(rows, FEATURES))
    labels = (np.arange(rows) % 3 == 0).astype(np.float32)
    small_fit(data=(x, labels), shuffle=False, metrics=False, epochs=1, **options)
    lines = Path("/proc/self/smaps").read_text().splitlines()
    (start,) = (i for i, line in enumerate(lines) if line.endswith(path))
    resident = next(line for line in lines[start:] if line.startswith("Rss:"))
    return int(resident.split()[1]) * 1024


class _Slow(Callback):
    """So that a run of many short epochs can be killed on its way."""

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
        """A hundredth of a second."""
        time.sleep(0.01)


def slow_fit(**options: Any) -> Any:
    """`small_fit` whose epochs take a hundredth of a second."""
    return small_fit(callbacks=[_Slow()], **options)


def from_first(fault: str) -> tuple[int, int]:
    """What the first process says of itself, and this one's own number."""

    def work() -> int:
        if fault:
            raise OSError(fault)
        return os.getpid()

    return processes().from_first(work), os.getpid()
