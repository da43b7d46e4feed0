"""Checkpoints of a run: one sealed safetensors file, replaced atomically, no pickle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torch_impl.base.processes import ALONE, Processes
from torch_impl.base.replacing import check_folder, replace_file
from torch_impl.base.sealed import sealed, unsealed
from torch_impl.keras.callbacks.watching import Callback
from torch_impl.keras.layers.dropout import KerasDropout
from torch_impl.training.history import History

__all__ = ["Checkpoint", "CheckpointError", "digest", "optimizer_text"]

_FORMAT = "torch_impl-fit-2"


class CheckpointError(ValueError):
    """A checkpoint is damaged, of another run, or in use; the file is left as it was."""


def optimizer_text(optimizer: torch.optim.Optimizer) -> str:
    """An optimizer and its groups' options as a checkpoint tells them."""
    groups = [
        f"{len(group['params'])} parameters, "
        + ", ".join(f"{name}={value!r}" for name, value in group.items() if name != "params")
        for group in optimizer.param_groups
    ]
    return f"{type(optimizer).__name__}({'; '.join(groups)})"


_PLACES, _ROWS_THERE = 8, 32
"""Where a memory-mapped file of rows is looked at, evenly spaced, and how many rows there."""


def digest(tensor: Tensor | None, mapped: bool = False) -> str | None:
    """Dtype, shape and the beginning of the SHA-256 of a tensor's numbers.

    Args:
        tensor: of any kind, or None.
        mapped: whether its rows lie in a file that is not to be read for this: some stand for all.
    """
    if tensor is None:
        return None
    looked_at = _PLACES * _ROWS_THERE
    if mapped and len(tensor) > looked_at:
        apart = (len(tensor) - _ROWS_THERE) // (_PLACES - 1)
        some = [tensor[at : at + _ROWS_THERE] for at in range(0, _PLACES * apart, apart)]
        return f"{len(tensor)} rows, {looked_at} of them {digest(torch.cat(some))}"
    plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    dtype = str(tensor.dtype).removeprefix("torch.")
    return f"{dtype}{list(tensor.shape)} {hashlib.sha256(plain.data).hexdigest()[:16]}"


class Checkpoint:
    """The state of a run of `fit` after an epoch, in one file.

    While it is open no other process can open it: `.NAME.lock` beside it is locked.

    Of several processes the first alone reads and writes it.

    Args:
        path: of the file.
        group: the processes of the run.

    Raises:
        NotADirectoryError: the file's folder is not there.
    """

    def __init__(self, path: str | os.PathLike[str], group: Processes = ALONE) -> None:
        self.path, self._group = Path(path), group
        group.from_first(lambda: check_folder(self.path))

    def __enter__(self) -> Checkpoint:
        from filelock import FileLock

        self._lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        self._group.from_first(self._locked)
        return self

    def _locked(self) -> None:
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise CheckpointError(
                f"{self.path}: another run is writing it; expected one at a time"
            ) from None

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def exists(self) -> bool:
        """Whether there is a run to go on with."""
        return self._group.from_first(self.path.exists)

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        callbacks: Sequence[Callback],
        history: History,
        run: Mapping[str, Any],
    ) -> None:
        """Replaces the file; a process killed at any moment leaves the old or the new one."""
        if not self._group.first:
            return
        tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in model.state_dict().items()}
        packed = optimizer.state_dict()
        for index, state in packed["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        states = []
        for position, callback in enumerate(callbacks):
            state = callback.state_dict()
            for name, value in state.pop("tensors", {}).items():
                tensors[f"callback.{position}.{name}"] = value
            states.append({"kind": callback.kind, **state})
        facts = {
            "format": _FORMAT,
            "run": dict(run),
            "epoch": history.epoch,
            "history": history.history,
            "param_groups": packed["param_groups"],
            "callbacks": states,
            "dropout": [layer.seed for layer in _dropouts(model)],
            "torch_rng": torch.get_rng_state().tolist(),
        }
        replace_file(self.path, sealed(facts, tensors))

    def restore(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        callbacks: Sequence[Callback],
        history: History,
        run: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Puts everything back.

        Returns:
            The `run` that was saved, whose `order` may be another than the one given: a run
            without a seed draws one.

        Raises:
            CheckpointError: the file is not a whole checkpoint of this very run; nothing
                is changed, in the file or in the model.
        """
        facts, tensors = self._group.from_first(
            lambda: unsealed(self.path, "checkpoint of fit", _FORMAT, CheckpointError)
        )
        saved: dict[str, Any] = facts["run"]
        faults = [
            f"{name} was {_shown(saved.get(name))}, now {_shown(value)}"
            for name, value in run.items()
            if name != "order" and saved.get(name) != value
        ]
        kinds = [state["kind"] for state in facts["callbacks"]]
        now = [callback.kind for callback in callbacks]
        if kinds != now:
            faults.append(
                f"the callbacks were {', '.join(kinds) or 'none'}, now {', '.join(now) or 'none'}"
            )
        weights = _below(tensors, "model.")
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        if shapes != {name: tuple(value.shape) for name, value in weights.items()}:
            faults.append("the model had other weights")
        if facts["dropout"] != [layer.seed for layer in _dropouts(model)]:
            faults.append("the model had another dropout seed")
        if faults:
            raise CheckpointError(
                f"{self.path}: is of another run (delete it to start anew): {'; '.join(faults)}"
            )
        model.load_state_dict(weights)
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": facts["param_groups"]})
        for position, (callback, kept) in enumerate(
            zip(callbacks, facts["callbacks"], strict=True)
        ):
            callback.load_state_dict({**kept, "tensors": _below(tensors, f"callback.{position}.")})
        torch.set_rng_state(torch.tensor(facts["torch_rng"], dtype=torch.uint8))
        history.epoch[:] = facts["epoch"]
        history.history.update(facts["history"])
        return saved


def _shown(value: Any) -> str:
    """As a person reads it."""
    return value if isinstance(value, str) else repr(value)


def _dropouts(model: nn.Module) -> list[KerasDropout]:
    return [module for module in model.modules() if isinstance(module, KerasDropout)]


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
