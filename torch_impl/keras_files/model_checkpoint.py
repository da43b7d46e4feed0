"""The callback that writes the model after an epoch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from torch import nn

from torch_impl.base.processes import processes
from torch_impl.base.replacing import replace_file
from torch_impl.keras.callbacks.watching import MonitorCallback
from torch_impl.keras_files.api import save_keras

__all__ = ["ModelCheckpoint"]

_ENDINGS = (".safetensors", ".keras", ".h5")


class ModelCheckpoint(MonitorCallback):
    """`keras.callbacks.ModelCheckpoint`: writes the model after each epoch, or each best one.

    A file that is there is replaced in one move. Folders on the way are made. The best so far is
    remembered over several runs, as Keras remembers it. To go on with a run that was interrupted,
    `fit(checkpoint=)` keeps more.

    Differs from Keras's:

    1. A `.safetensors` holds the `state_dict` of any module, under its own names; `.keras`,
       `.h5` and `.weights.h5` are what `save_keras` writes, of the modules that it takes.
    2. Without `save` the optimizer is not written. `save=lambda model, path: save_keras(model,
       path, optimizer)` writes it.
    3. It is written after epochs alone, and what is in the file is told by its name's ending:
       there is no `save_freq` and no `save_weights_only`.

    Source: keras/src/callbacks/model_checkpoint.py.

    Args:
        filepath: of the file. May hold `{epoch:02d}`, which counts from 1, and the keys of the
            logs, as in `{val_loss:.4f}`.
        monitor: a key of the history.
        save_best_only: whether only an epoch better than all before is written. Where what is
            monitored is not there, every epoch is, with a warning.
        mode: `"min"`, `"max"`, or `"auto"`, by what is monitored.
        initial_value_threshold: what the first epoch written must improve on.
        save: writes a module to a path; by the path's ending if None.

    Raises:
        ValueError: another ending, the mode is unknown, or `"auto"` cannot tell a direction.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: Literal["auto", "min", "max"] = "auto",
        initial_value_threshold: float | None = None,
        *,
        save: Callable[[nn.Module, str], None] | None = None,
    ) -> None:
        super().__init__(monitor, mode, best=initial_value_threshold)
        self.filepath = os.fspath(filepath)
        if save is None and not self.filepath.endswith(_ENDINGS):
            raise ValueError(
                f"ModelCheckpoint: filepath={self.filepath!r}; expected it to end in one of "
                f"{', '.join(_ENDINGS)}, or save="
            )
        self.save_best_only = save_best_only
        self.initial_value_threshold = initial_value_threshold
        self.save = save or _save

    def _options(self) -> dict[str, Any]:
        return {
            **super()._options(),
            "save_best_only": self.save_best_only,
            "initial_value_threshold": self.initial_value_threshold,
        }

    def on_epoch_end(self, epoch: int, logs: dict[str, float], model: nn.Module) -> None:
        """Writes the model, if it is to be; of several processes the first one does.

        Raises:
            ValueError: the path asks for what is not in the logs.
            OSError: it could not be written; what stood there stands there still.
        """
        known = {**logs, "epoch": epoch + 1}
        try:
            path = self.filepath.format(**known)
        except (KeyError, IndexError) as error:
            raise ValueError(
                f"ModelCheckpoint: filepath={self.filepath!r} asks for {error}; there are "
                f"{', '.join(known)}"
            ) from None
        if self._is_due(logs) and processes().first:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self.save(model, path)

    def _is_due(self, logs: dict[str, float]) -> bool:
        if not self.save_best_only:
            return True
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(self._missing("saving the best model by", logs), stacklevel=3)
            return True
        better = self._improves(current, self.best)
        if better:
            self.best = current
        return better


def _save(model: nn.Module, path: str) -> None:
    if path.endswith(".safetensors"):
        from safetensors.torch import save

        tensors = model.state_dict().items()
        plain = {name: value.detach().cpu().clone().contiguous() for name, value in tensors}
        replace_file(Path(path), save(plain))
    else:
        save_keras(model, path)
