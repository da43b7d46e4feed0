"""The compiled training epoch: `native_epoch.cpp`, built by the system's compiler at first use.

One call runs a whole epoch, so that neither Python nor a framework's dispatch stands between
the steps. It computes what the eager path computes, masks included, in Keras's order.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import platform
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torch_impl.keras.layers.dropout import KerasDropout
from torch_impl.keras.optimizers.adam import KerasAdam
from torch_impl.keras.random import stream_start
from torch_impl.model import FraudClassifier

__all__ = ["NativeEpoch"]

_SOURCE = Path(__file__).with_name("native_epoch.cpp")

# Never -ffast-math: it reorders sums and drops NaN. The last two only forget errno and
# floating-point traps, without which the loops do not vectorise.
_FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-shared", "-fPIC",
    "-fno-math-errno", "-fno-trapping-math",
)  # fmt: skip

TOTALS = np.dtype(
    [("loss", "f8"), ("weighted_loss", "f8"), ("squared_error", "f8")]
    + [(name, "i8") for name in ("tp", "fp", "tn", "fn")]
    + [("buckets", "i8", (2, 199))]
)
"""`struct Totals` of the C++ source."""

_REALS = {torch.float32: ("float", ctypes.c_float), torch.float64: ("double", ctypes.c_double)}
"""What the source may be built for: C++'s name, and its type."""


class NativeEpoch:
    """Epochs of one model, optimizer and shuffled data set.

    Reads and writes the module's parameters, the optimizer's state and the dropout's count,
    so that native and eager epochs may follow each other.

    Args:
        model: a seeded classifier in float32 or float64 on the CPU.
        optimizer: of its four parameters.
        library: built for the model's sizes and dtype.
    """

    def __init__(self, model: FraudClassifier, optimizer: KerasAdam, library: ctypes.CDLL) -> None:
        self._model, self._optimizer, self._library = model, optimizer, library

    @classmethod
    def create(
        cls, model: nn.Module, optimizer: torch.optim.Optimizer, rows: Tensor
    ) -> NativeEpoch | None:
        """The compiled epoch of this run.

        None where the run is not the plain recipe that the C++ source knows, and, with one
        warning, where it is but no compiler is there.
        """
        if not (type(model) is FraudClassifier and type(optimizer) is KerasAdam):
            return None
        parameters, drop = _parameters(model), model.dropout
        plain = (
            type(drop) is KerasDropout
            and drop.rate < 1
            and model.hidden_units % 8 == 0  # a row of the mask must be whole vectors
            and rows.device.type == "cpu"
            and rows.shape[1] == model.in_features
            and rows.dtype in _REALS
            and all(p.dtype == rows.dtype and p.requires_grad for p in parameters)
            and len(optimizer.param_groups) == 1
            and not optimizer.has_options()
            and {id(p) for p in optimizer.param_groups[0]["params"]} == {id(p) for p in parameters}
            and len({int(optimizer.state_of(p)["step"]) for p in parameters}) == 1
            and (type(model.activation), type(model.hidden)) == (nn.ReLU, nn.Linear)
            and type(model.output) is nn.Linear
            and not torch.is_autocast_enabled("cpu")
            and not _altered(model, optimizer)
        )
        if not plain:
            return None
        library = _build(model.in_features, model.hidden_units, _REALS[rows.dtype][0])
        return None if library is None else cls(model, optimizer, library)

    def train(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batch_size: int, metrics: bool
    ) -> NDArray[Any]:
        """Runs one epoch and gives its sums.

        Args:
            rows: (N, F) of the model's dtype, contiguous, in training order.
            labels: (N, 1), likewise.
            weights: (N, 1) or None, likewise.
            batch_size: rows per step.
            metrics: whether more than the loss is added up.

        Returns:
            A record of `TOTALS`.
        """
        model, drop = self._model, self._model.dropout
        assert isinstance(drop, KerasDropout)
        group = self._optimizer.param_groups[0]
        beta1, beta2 = group["betas"]
        real = _REALS[rows.dtype][1]
        # β as float32 holds it in the corrections of bias, as `KerasAdam.alpha` explains.
        powers = np.float32(beta1), np.float32(beta2)
        adam = np.array([group["lr"], *powers, 1 - beta1, 1 - beta2, group["eps"]], dtype=real)
        steps = -(-len(rows) // batch_size)
        parameters = _parameters(model)
        states = [self._optimizer.state_of(p) for p in parameters]
        done = int(states[0]["step"])
        w = _packed(parameters)
        m = _packed([state["momentum"] for state in states])
        v = _packed([state["velocity"] for state in states])
        streams = stream_start(drop.seed, drop.calls, steps).numpy().astype(np.uint32)
        totals = np.zeros((), TOTALS)
        self._library.train_epoch(
            _pointer(rows.numpy()),
            _pointer(labels.numpy()),
            None if weights is None else _pointer(weights.numpy()),
            ctypes.c_int64(len(rows)),
            ctypes.c_int64(batch_size),
            _pointer(w),
            _pointer(m),
            _pointer(v),
            ctypes.c_int64(done),
            _pointer(adam),
            _pointer(streams),
            0 if drop.conversion == "xla" else 9,
            ctypes.c_uint32(math.ceil(float(np.float32(drop.rate)) * 2**23)),
            real(1 / (1 - drop.rate)),
            int(metrics),
            _pointer(totals),
        )
        _unpack(w, parameters)
        _unpack(m, [state["momentum"] for state in states])
        _unpack(v, [state["velocity"] for state in states])
        for state in states:
            state["step"] += steps
        if drop.rate > 0:
            drop.calls += steps
        return totals

    def evaluate(self, rows: Tensor, labels: Tensor) -> NDArray[Any]:
        """Sums over rows without dropout, as a record of `TOTALS`."""
        totals, w = np.zeros((), TOTALS), _packed(_parameters(self._model))
        self._library.evaluate(
            _pointer(rows.numpy()),
            _pointer(labels.numpy()),
            ctypes.c_int64(len(rows)),
            _pointer(w),
            _pointer(totals),
        )
        return totals


def _parameters(model: FraudClassifier) -> list[Tensor]:
    return [model.hidden.weight, model.hidden.bias, model.output.weight, model.output.bias]


def _altered(model: nn.Module, optimizer: torch.optim.Optimizer) -> bool:
    """Whether a hook of any kind or a replaced method waits to be called.

    A kind of hook is known by torch's name for where it keeps them. A learning-rate scheduler
    replaces the optimizer's `step`, and warns where it is not called.
    """
    objects = [*model.modules(), optimizer]
    keepers: list[Mapping[str, Any]] = [vars(thing) for thing in objects]
    keepers += [vars(sys.modules[kind.__module__]) for kind in (nn.Module, torch.optim.Optimizer)]
    keepers += [
        {name: getattr(p, name, None) for name in _TENSOR_HOOKS} for p in model.parameters()
    ]
    hooked = any(
        # What waits for a registration is not called while a model is trained; a failed export of
        # torch 2.12 leaves such a one behind.
        name.endswith("_hooks") and "registration" not in name and kept
        for keeper in keepers
        for name, kept in keeper.items()
    )
    return hooked or any(
        callable(getattr(type(thing), name, None)) for thing in objects for name in vars(thing)
    )


_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def _packed(tensors: list[Tensor]) -> NDArray[Any]:
    """One vector in the source's order: kernels in Keras's layout, (in, out)."""
    return np.concatenate([t.detach().numpy().T.ravel() for t in tensors])


def _unpack(vector: NDArray[Any], tensors: list[Tensor]) -> None:
    at = 0
    with torch.no_grad():
        for tensor in tensors:
            part = torch.from_numpy(vector[at : at + tensor.numel()])
            tensor.copy_(part.reshape(tensor.shape[::-1]).T if tensor.ndim == 2 else part)
            at += tensor.numel()


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


@cache
def _build(features: int, hidden_units: int, real: str) -> ctypes.CDLL | None:
    shape = (f"-DFEATURES={features}", f"-DHIDDEN={hidden_units}", f"-DREAL={real}")
    command = [os.environ.get("CXX", "c++"), *_FLAGS, *shape]
    source = _SOURCE.read_bytes()
    key = hashlib.sha256(source + repr((command, _processor())).encode()).hexdigest()[:16]
    try:
        folder = _cache_folder()
        return ctypes.CDLL(str(_kept(folder, key) or _compiled(command, folder, key)))
    except (OSError, subprocess.CalledProcessError) as error:
        warnings.warn(
            f"fit runs its slower eager path: the compiled one could not be built with "
            f"{command[0]!r} ({type(error).__name__}); install a C++ compiler or set CXX",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _kept(folder: Path, key: str) -> Path | None:
    """A build whose content is the one that its name tells; others are taken away."""
    for path in folder.glob(f"epoch-{key}-*.so"):
        if path.name == _name(key, path.read_bytes()):
            return path
        path.unlink(missing_ok=True)
    return None


def _compiled(command: list[str], folder: Path, key: str) -> Path:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        built = Path(scratch) / "epoch.so"
        subprocess.run([*command, str(_SOURCE), "-o", str(built)], check=True, capture_output=True)
        target = folder / _name(key, built.read_bytes())
        built.replace(target)  # atomically: another process may be building it too
    return target


def _name(key: str, content: bytes) -> str:
    return f"epoch-{key}-{hashlib.sha256(content).hexdigest()[:16]}.so"


def _cache_folder() -> Path:
    """The user's cache if nobody else can write there, or a folder of this process alone."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch_impl"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.lstat()
        ours = not hasattr(os, "geteuid") or (
            status.st_uid == os.geteuid() and not status.st_mode & 0o022
        )
        if ours and stat.S_ISDIR(status.st_mode) and os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # no home folder, or one that takes nothing
        pass
    return Path(_own_folder().name)


@cache
def _own_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="torch_impl-")


def _processor() -> str:
    """What -march=native depends on: a home folder may be shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    kinds = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return "".join(sorted(kinds))
