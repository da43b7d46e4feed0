"""What several processes must agree on before they train one model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from torch_impl.base.processes import Processes
from torch_impl.keras.callbacks.watching import Callback
from torch_impl.keras.layers.normalization import KerasBatchNormalization
from torch_impl.training.checkpoint import digest

__all__ = ["check_alike", "check_shareable", "whole_batches"]


def check_shareable(model: nn.Module, group: Processes, tiled: bool) -> None:
    """Refuses a module whose batches cannot be shared out.

    Args:
        model: to be trained.
        group: the processes.
        tiled: whether tile by tile.

    Raises:
        ValueError: a part of it looks at all rows of a batch, or adds gradients up itself.
    """
    for name, module in model.named_modules() if group.count > 1 or tiled else ():
        where = f"fit: {name or 'the module'} is a {type(module).__name__}"
        if isinstance(module, DistributedDataParallel):
            raise ValueError(f"{where}, which adds gradients up as fit does; expected its .module")
        if isinstance(module, KerasBatchNormalization) and tiled:
            raise ValueError(
                f"{where}, which takes all rows of a batch at once; expected same_bits=False"
            )
        if isinstance(module, _BatchNorm) and not isinstance(module, KerasBatchNormalization):
            raise ValueError(
                f"{where}, which would take one process's rows for the whole batch; "
                "expected KerasBatchNormalization"
            )


def check_alike(
    group: Processes,
    run: Mapping[str, Any],
    model: nn.Module,
    callbacks: Sequence[Callback],
    epochs: int,
    compiled: bool,
) -> None:
    """Compares by digests what every process was given with what the first one was given.

    Args:
        group: the processes.
        run: what makes it this very run.
        model: with its weights at the start.
        callbacks: of the run.
        epochs: how long it lasts.
        compiled: whether by the compiled epoch.

    Raises:
        ValueError: in all processes, if one differs.
    """
    if group.count == 1:
        return
    given = {
        **run,
        "epochs": epochs,
        "compiled": compiled,
        "callbacks": [callback.kind for callback in callbacks],
        "weights": {name: digest(value) for name, value in model.state_dict().items()},
        "code of torch_impl": _code(),
    }
    first, *others = group.of_all(given)
    for rank, theirs in enumerate(others, 1):
        faults = [
            f"{name}: {_shown(theirs.get(name))}, there {_shown(first.get(name))}"
            for name in {**first, **theirs}
            if theirs.get(name) != first.get(name)
        ]
        if faults:
            raise ValueError(
                f"fit: process {rank} was given other things than process 0: {'; '.join(faults)}"
            )


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


@cache
def _code() -> str:
    """The beginning of the SHA-256 of this package's sources."""
    folder = Path(__file__).parents[1]
    sources = sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".cpp", ".h"))
    content = b"".join(path.read_bytes() for path in sources)
    return hashlib.sha256(content).hexdigest()[:16]


@contextmanager
def whole_batches(model: nn.Module) -> Iterator[None]:
    """Lets every layer see whole batches again, also after an error."""
    try:
        yield
    finally:
        for module in model.modules():
            vars(module).pop("part", None)
