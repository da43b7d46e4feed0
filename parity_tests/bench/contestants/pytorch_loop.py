"""A loop as PyTorch's own tutorials write it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from parity_tests.bench.contestants.plain_network import eleven, loaders, network, update

__all__ = ["epoch_seconds"]


def epoch_seconds(features: Path, batch_size: int, epochs: int, full: bool) -> list[float]:
    """Of each epoch.

    Args:
        features: the file.
        batch_size: rows a step.
        epochs: how many.
        full: whether with the eleven metrics and validation.
    """
    train, validation, bias = loaders(features, batch_size)
    model = network(bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.BCEWithLogitsLoss()
    measured = [eleven(), eleven()] if full else [None, None]
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        _train(model, train, optimizer, criterion, measured[0])
        if full:
            _evaluate(model, validation, criterion, measured[1])
        seconds.append(time.perf_counter() - start)
    return seconds


def _train(model: nn.Module, rows: Any, optimizer: Any, criterion: nn.Module, metrics: Any) -> None:
    model.train()
    total = 0.0
    for x, y in rows:
        optimizer.zero_grad()
        logits = model(x)
        loss = criterion(logits, y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
        if metrics is not None:
            update(metrics, loss, logits, y)
    if metrics is not None:
        metrics.compute()
        metrics.reset()


def _evaluate(model: nn.Module, rows: Any, criterion: nn.Module, metrics: Any) -> None:
    model.eval()
    with torch.no_grad():
        for x, y in rows:
            logits = model(x)
            update(metrics, criterion(logits, y), logits, y)
    metrics.compute()
    metrics.reset()
