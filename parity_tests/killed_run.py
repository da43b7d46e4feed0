"""A run of `fit` to be killed: `python -m parity_tests.killed_run CHECKPOINT RESULT PATH`.

Prints a line when it starts to train, and one per epoch, so that the test can time its kill.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from torch_impl import Callback, EarlyStopping, FraudClassifier, fit

EPOCHS = 30


class _Announce(Callback):
    def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
        print(epoch, flush=True)


def run(checkpoint: str | None, path: str) -> tuple[nn.Module, dict[str, object]]:
    """Trains to the end, from the checkpoint if there is one."""
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
    return model, {
        "history": history.history,
        "epoch": history.epoch,
        "wait": stopping.wait,
        "best_epoch": stopping.best_epoch,
        "stopped_epoch": stopping.stopped_epoch,
        "dropout_calls": model.dropout.calls,
        "weights": {k: v.flatten().tolist() for k, v in model.state_dict().items()},
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("start", flush=True)
    _, facts = run(sys.argv[1], sys.argv[3])
    with open(sys.argv[2], "w", encoding="utf-8") as stream:
        json.dump(facts, stream)
