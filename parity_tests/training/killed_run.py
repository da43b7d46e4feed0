"""Runs of `fit` to be killed: `python -m parity_tests.training.killed_run` forks them.

For each line that it reads, a list in JSON of the path, the kind, the checkpoint and the file for
the result, it forks a process, so that all of them find torch imported. That one says its number;
the parent, when it is dead. Of the kinds, `step` is a run that says when an epoch is through, and
waits until it is sent SIGUSR1; a number is a run that kills itself before so many lines of
restoring and saving the checkpoint have been run; `through` is neither.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn

from torch_impl import Callback, EarlyStopping, FraudClassifier, fit
from torch_impl.base.replacing import replace_file, replacement
from torch_impl.training.checkpoint import Checkpoint

EPOCHS = 25


def _silent(epoch: int) -> None:
    pass


class _Told(Callback):
    def __init__(self, tell: Callable[[int], object]) -> None:
        self.tell = tell

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
        self.tell(epoch)


def run(
    path: str, store: str | None = None, tell: Callable[[int], object] = _silent
) -> dict[str, object]:
    """Trains to the end, from the checkpoint if there is one, and gives what it came to."""
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
        callbacks=[stopping, _Told(tell)],
        checkpoint=store,
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


def _say(what: object) -> None:
    """In one piece: of two, a kill could leave the first alone, before the other's next line."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def _say_and_wait(epoch: int) -> None:
    _say(epoch)
    signal.sigwait([signal.SIGUSR1])


def _die_at_line(number: int) -> None:
    left = number
    saving = (Checkpoint.restore, Checkpoint.save, replace_file, inspect.unwrap(replacement))
    traced = {f.__code__ for f in saving}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code not in traced:
            return None
        left -= event == "line"
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def main() -> None:
    """Forks a run for each line on standard input; one that ends writes what it came to."""
    torch.set_num_threads(1)
    # Blocked, it cannot come too early for whoever waits for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    for path in ("compiled", "eager"):
        run(path)  # what the first optimizer imports takes as long as torch itself
    for line in sys.stdin:
        path, kind, store, result = json.loads(line)
        process = os.fork()
        if not process:
            _say(os.getpid())
            if kind.isdigit():
                _die_at_line(int(kind))
            facts = run(path, store, _say_and_wait if kind == "step" else _silent)
            with open(result, "w", encoding="utf-8") as stream:
                json.dump(facts, stream)
            os._exit(0)
        os.waitpid(process, 0)
        _say("dead")


if __name__ == "__main__":
    main()
