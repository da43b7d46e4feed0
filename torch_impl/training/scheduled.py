"""A learning-rate scheduler of a run as one of its callbacks, so that a checkpoint keeps it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim import lr_scheduler as torchs

from torch_impl.keras.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from torch_impl.keras.callbacks.schedules import LearningRateSchedule
from torch_impl.keras.callbacks.watching import Callback

__all__ = ["Scheduled"]


class Scheduled(Callback):
    """The state of a scheduler, Keras's or torch's, which `fit` steps after each batch.

    Args:
        scheduler: of the optimizer.
        optimizer: of the run.
        others: the run's other callbacks.

    Raises:
        ValueError: the scheduler is another optimizer's or must be told what to judge by, or
            others set the rate that a schedule of Keras's sets.
    """

    def __init__(
        self, scheduler: torchs.LRScheduler, optimizer: Optimizer, others: Sequence[Callback]
    ) -> None:
        name = type(scheduler).__name__
        if isinstance(scheduler, torchs.ReduceLROnPlateau):
            raise ValueError(
                f"fit: scheduler={name}, which is stepped with a number; expected one stepped "
                "after each batch, or torch_impl's ReduceLROnPlateau among the callbacks"
            )
        if scheduler.optimizer is not optimizer:
            raise ValueError(
                f"fit: scheduler={name} of another optimizer; expected optimizer= to be its own"
            )
        setters = [
            type(other).__name__
            for other in others
            if isinstance(other, LearningRateScheduler | ReduceLROnPlateau)
            and other.optimizer is optimizer
        ]
        if setters and isinstance(scheduler, LearningRateSchedule):
            raise ValueError(
                f"fit: {', '.join(setters)} beside scheduler={name}, which sets the rate anew at "
                "each step; expected one of them"
            )
        self.scheduler = scheduler
        self._kind = _told(scheduler)

    @property
    def kind(self) -> str:
        """The scheduler as it was at the start."""
        return self._kind

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's, but for tables of milestones: JSON holds none, and they stay."""
        return {"scheduler": _plain(self.scheduler.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken; the optimizer has its rates back already."""
        self.scheduler.load_state_dict(dict(state["scheduler"]))


def _told(scheduler: torchs.LRScheduler) -> str:
    """Class and options, those of schedulers within it too."""
    state = scheduler.state_dict()
    options = [f"{name}={value!r}" for name, value in state.items() if not name.startswith("_")]
    parts = [_told(part) for part in getattr(scheduler, "_schedulers", ())]
    return f"{type(scheduler).__name__}({', '.join(options + parts)})"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items() if not isinstance(v, Counter)}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
