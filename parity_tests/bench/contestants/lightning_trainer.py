"""Lightning's Trainer, without what it would print or write."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from parity_tests.bench.contestants.plain_network import eleven, loaders, network, update

__all__ = ["epoch_seconds"]


class _Classifier(lightning.LightningModule):
    def __init__(self, output_bias: float, full: bool) -> None:
        super().__init__()
        self.network, self.criterion = network(output_bias), nn.BCEWithLogitsLoss()
        self.metrics = nn.ModuleList([eleven(), eleven()] if full else [])

    def training_step(self, batch: Any, index: int) -> Tensor:
        return self._step(batch, 0)

    def validation_step(self, batch: Any, index: int) -> Tensor:
        return self._step(batch, 1)

    def _step(self, batch: Any, which: int) -> Tensor:
        x, y = batch
        logits = self.network(x)
        loss: Tensor = self.criterion(logits, y)
        self.log(("loss", "val_loss")[which], loss, on_step=False, on_epoch=True)
        if self.metrics:
            update(self.metrics[which], loss, logits, y)
        return loss

    def on_train_epoch_end(self) -> None:
        self._told(0)

    def on_validation_epoch_end(self) -> None:
        self._told(1)

    def _told(self, which: int) -> None:
        if self.metrics:
            self.metrics[which].compute()
            self.metrics[which].reset()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class _Stamps(lightning.Callback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.times.append(time.perf_counter())

    def on_train_end(self, trainer: Any, module: Any) -> None:
        self.times.append(time.perf_counter())


def epoch_seconds(features: Path, batch_size: int, epochs: int, full: bool) -> list[float]:
    """Of each epoch (arguments as the plain loop's)."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    train, validation, bias = loaders(features, batch_size)
    stamps = _Stamps()
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, callbacks=[stamps], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(_Classifier(bias, full), train, validation if full else None)
    return [after - before for before, after in zip(stamps.times, stamps.times[1:], strict=False)]
