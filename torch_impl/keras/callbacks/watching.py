"""What may watch a run of `fit`, and stop it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from torch_impl.base.arguments import whole
from torch_impl.keras.weights import weights_of

__all__ = ["Callback", "EarlyStopping", "MonitorCallback"]


class Callback:
    """Base class: override what is wanted.

    Attributes:
        stop_training: set it to end the run after the current epoch.
    """

    stop_training: bool = False

    def on_train_begin(self, model: nn.Module) -> None:
        """Before the first epoch, of a resumed run too."""

    def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
        """Before each epoch, from 0."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float], model: nn.Module) -> None:
        """After each epoch, from 0, with its losses and metrics under Keras's keys.

        What is added to them the callbacks behind this one see, and the history keeps.
        """

    def on_train_end(self, model: nn.Module) -> None:
        """After the last epoch."""

    @property
    def kind(self) -> str:
        """What a checkpoint tells it by: a run is continued with callbacks of the same kinds."""
        return type(self).__name__

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep: numbers, strings, None, and tensors under `tensors`."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave, after `on_train_begin`."""


# keras/src/callbacks/monitor_callback.py asks the metric object for its direction.
_DOWN = ("loss", "cross entropy", "Brier score")
_UP = ("accuracy", "precision", "recall", "auc", "prc")


class MonitorCallback(Callback):
    """Base class of what waits for an improvement of something in the logs.

    What is monitored is compared as float32 holds it, also where the model computes in float64.
    A NaN is the best where it comes first, and nothing improves on it.
    Source: keras/src/callbacks/monitor_callback.py.

    Args:
        monitor: a key of the history.
        mode: `"min"`, `"max"`, or `"auto"`, by what is monitored.
        min_delta: an improvement is more than this.
        best: to begin with; None for the first that comes.

    Raises:
        ValueError: the mode is unknown, or `"auto"` cannot tell a direction.
    """

    def __init__(
        self,
        monitor: str,
        mode: Literal["auto", "min", "max"],
        min_delta: float = 0.0,
        best: float | None = None,
    ) -> None:
        name, kind = monitor.removeprefix("val_"), type(self).__name__
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{kind}: mode={mode!r}; expected 'auto', 'min' or 'max'")
        if mode == "auto" and name not in _DOWN + _UP:
            raise ValueError(
                f"{kind}: monitor={monitor!r} has no direction of its own; "
                "expected mode='min' or mode='max'"
            )
        self.monitor = monitor
        self.min_delta = abs(min_delta)
        self.sign = -1.0 if mode == "min" or (mode == "auto" and name in _DOWN) else 1.0
        self.best = best

    def _options(self) -> dict[str, Any]:
        """By which a checkpoint tells it, beside its class and what it monitors."""
        return {"min_delta": self.min_delta, "mode": "min" if self.sign < 0 else "max"}

    @property
    def kind(self) -> str:
        """The class and how it judges."""
        options = ", ".join(f"{name}={value!r}" for name, value in self._options().items())
        return f"{type(self).__name__}({self.monitor!r}, {options})"

    def _missing(self, what: str, logs: Mapping[str, float]) -> str:
        return f"{what} {self.monitor!r}, which is not there; there are {', '.join(logs)}"

    def _improves(self, current: float, best: float | None) -> bool:
        if best is None:
            return True
        # Keras's `ops.less` makes tensors of both, and TensorFlow float32 of a Python number,
        # whatever the model computes in; the difference before it is the Python numbers'.
        least = np.float32(current - self.sign * self.min_delta)
        return bool(self.sign * least > self.sign * np.float32(best))

    def state_dict(self) -> dict[str, Any]:
        """The best so far, without a NaN, which JSON lacks."""
        nan = self.best is not None and math.isnan(self.best)
        return {"best": None if nan else self.best, "best_is_nan": nan}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        self.best = math.nan if state["best_is_nan"] else state["best"]


class EarlyStopping(MonitorCallback):
    """`keras.callbacks.EarlyStopping`, epoch for epoch.

    Stops when `wait >= patience`, never in the first epoch, which is the best so far; with
    `restore_best_weights` the best weights are restored at the end of the run, also where it
    was not stopped early (Keras 3; Keras 2 did so only on stopping). What is monitored is
    compared as float32 holds it, also where the model computes in float64.
    Source: keras/src/callbacks/early_stopping.py.

    Args:
        monitor: a key of the history.
        min_delta: an improvement is more than this.
        patience: epochs without one that are waited for.
        mode: `"min"`, `"max"`, or `"auto"`, by what is monitored.
        baseline: waiting starts anew only for what improves on this too.
        restore_best_weights: whether the run ends on its best weights.
        start_from_epoch: epochs at the start that are not looked at.

    Raises:
        ValueError: the mode is unknown, or `"auto"` cannot tell a direction.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: Literal["auto", "min", "max"] = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = whole("EarlyStopping: patience", patience, 0)
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = whole("EarlyStopping: start_from_epoch", start_from_epoch, 0)
        self._forget()

    def _forget(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] | None = None
        self.stop_training = False

    def _options(self) -> dict[str, Any]:
        return {
            "min_delta": self.min_delta,
            "patience": self.patience,
            "mode": "min" if self.sign < 0 else "max",
            "baseline": self.baseline,
            "restore_best_weights": self.restore_best_weights,
            "start_from_epoch": self.start_from_epoch,
        }

    def on_train_begin(self, model: nn.Module) -> None:
        """Forgets an earlier run."""
        self._forget()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
        """Judges the epoch."""
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(
                self._missing("early stopping on", logs),
                stacklevel=2,
            )
            return
        if epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep(model, epoch)
        self.wait += 1
        if self._improves(current, self.best):
            self.best = current
            self.best_epoch = epoch
            if self.restore_best_weights:
                self._keep(model, epoch)
            if self.baseline is None or self._improves(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience:
            self.stopped_epoch = epoch
            self.stop_training = True

    def on_train_end(self, model: nn.Module) -> None:
        """Restores the best weights, if asked to."""
        if self.restore_best_weights and self.best_weights is not None:
            model.load_state_dict(self.best_weights, strict=False)

    def _keep(self, model: nn.Module, epoch: int) -> None:
        self.best_epoch = epoch
        # Without dropout's count of calls, which Keras leaves where it is.
        self.best_weights = {k: v.detach().clone() for k, v in weights_of(model).items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epoch's verdict depends on."""
        return {
            **super().state_dict(),
            "wait": self.wait,
            "stopped_epoch": self.stopped_epoch,
            "best_epoch": self.best_epoch,
            "stop_training": self.stop_training,
            "tensors": self.best_weights or {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        super().load_state_dict(state)
        self.wait = state["wait"]
        self.stopped_epoch = state["stopped_epoch"]
        self.best_epoch = state["best_epoch"]
        self.stop_training = state["stop_training"]
        self.best_weights = dict(state["tensors"]) or None
