"""Runs of `fit` to be killed: `python -m parity_tests.killed_run CHECKPOINT RESULT PATH`.

For each line that it reads it forks a process, so that all of them find torch imported.
That one says its number and that it starts, then when an epoch is through; the parent, when it
is dead.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout

import numpy as np
import torch
from torch import nn

from torch_impl import Callback, EarlyStopping, FraudClassifier, fit

EPOCHS = 30


class _Announce(Callback):
    def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
        print(epoch, flush=True)


def run(checkpoint: str | None, path: str) -> dict[str, object]:
    """Trains to the end, from the checkpoint if there is one, and tells what it came to."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 29)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=900) > 1).astype(np.float32)
    model = FraudClassifier(output_bias=-1.0, seed=3)
    stopping = EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    history = fit(
        model,
        x[:700],
        y[:700],
        batch_size=64,
        epochs=EPOCHS,
        validation_data=(x[700:], y[700:]),
        seed=3,
        compiled=path == "compiled",
        callbacks=[stopping, _Announce()],
        checkpoint=checkpoint,
        progress=False,
    )
    return {
        "history": history.history,
        "epoch": history.epoch,
        "wait": stopping.wait,
        "best_epoch": stopping.best_epoch,
        "stopped_epoch": stopping.stopped_epoch,
        "dropout_calls": model.dropout.calls,
        "weights": {k: v.flatten().tolist() for k, v in model.state_dict().items()},
    }


def main(checkpoint: str, result: str, path: str) -> None:
    """Forks a run for each line on standard input; one that ends writes what it came to."""
    torch.set_num_threads(1)
    with redirect_stdout(None):
        run(None, path)  # what the first optimizer imports takes as long as torch itself
    for _ in sys.stdin:
        process = os.fork()
        if not process:
            print("start", os.getpid(), flush=True)
            facts = run(checkpoint, path)
            with open(result, "w", encoding="utf-8") as stream:
                json.dump(facts, stream)
            os._exit(0)
        os.waitpid(process, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
