"""What `fit` gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["History"]


@dataclass
class History:
    """What `fit` gives, under Keras's names.

    Args:
        epoch: numbers of the epochs run, from 0.
        history: `loss`, the metrics, and the same with `val_`: one value per epoch, as the
            model's dtype holds it.
    """

    epoch: list[int] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)

    def append(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Adds an epoch.

        Args:
            epoch: its number.
            logs: its losses and metrics.
        """
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
