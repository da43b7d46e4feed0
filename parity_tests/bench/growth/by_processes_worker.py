"""`by_processes_worker FEATURES ROWS EXCHANGES BATCH …`: a process of those that share runs.

Prints JSON: whether they agree with Keras's recorded runs, what a step takes for each size of
batch, and how much of it the processes wait for each other's sums.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from parity_tests.bench.contestants.ours import Stamps
from parity_tests.bench.growth.launch import tell
from parity_tests.bench.race import seconds_of
from parity_tests.record.recorded import CASES
from parity_tests.reference.recording_file import FOLDER, digest, read
from parity_tests.sides.training_pair import torch_fits
from torch_impl import FraudClassifier, fit
from torch_impl.base.processes import Processes, processes
from torch_impl.training.native import NativeEpoch

PATHS: dict[str, dict[str, Any]] = {
    "compiled": {},
    "eager": {"compiled": False},
    "eager, same_bits": {"compiled": False, "same_bits": True},
}
"""Options of `fit`."""

_EPOCHS = 4
"""The first is not measured."""
_BYTES = tuple(8 * 4**power for power in range(9))


class _Clock:
    """What calls of a method take, and the largest tensor that they are given."""

    def __init__(self, owner: type, name: str) -> None:
        self.seconds: list[float] = []
        self.bytes = 0
        method = getattr(owner, name)

        def clocked(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*arguments, **options)
            finally:
                self.seconds.append(time.perf_counter() - start)
                sent = [a.nbytes for a in arguments if isinstance(a, Tensor)]
                self.bytes = max([self.bytes, *sent])

        self.patch = mock.patch.object(owner, name, clocked)


def step(
    held: Mapping[str, NDArray[Any]], rows: int, batch: int, path: str, threads: int
) -> dict[str, Any]:
    """Of `fit` without metrics.

    Args:
        held: rows and labels, which are repeated.
        rows: of an epoch, about; it has at least eight steps.
        batch: rows of a batch.
        path: of `PATHS`.
        threads: of each process.

    Returns:
        Seconds of a step, of it those of the exchange, and those outside of the compiled epoch
        (in which the rows are put in order); the bytes of an exchange, and the weights' digest.
    """
    torch.set_num_threads(threads)
    steps = max(8, rows // batch)
    x, y = (np.resize(held[name], (batch * steps, held[name].shape[1])) for name in ("x", "y"))
    model = FraudClassifier(output_bias=float(held["output_bias"]), seed=42)
    stamps = Stamps()
    with ExitStack() as clocked:
        exchange, inside = _Clock(Processes, "add_up"), _Clock(NativeEpoch, "train")
        for clock in (exchange, inside):
            clocked.enter_context(clock.patch)
        fit(
            model, x, y, batch_size=batch, epochs=_EPOCHS, seed=42, metrics=False,
            progress=False, callbacks=[stamps], **PATHS[path],
        )  # fmt: skip
    taken = np.diff(stamps.times)[1:]
    waited = exchange.seconds[len(exchange.seconds) // _EPOCHS :]
    outside = taken - inside.seconds[1:] if inside.seconds else taken * 0
    weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    return {
        "path": path,
        "batch": batch,
        "threads": threads,
        "seconds": float(taken.mean()) / steps,
        "exchange": sum(waited) / len(taken) / steps,
        "outside": float(outside.mean()) / steps,
        "bytes": exchange.bytes,
        "weights": hashlib.sha256(weights).hexdigest(),
    }


def exchanges(count: int) -> list[dict[str, Any]]:
    """Seconds in which processes add up so many bytes, and nothing else: what they are on average.

    A median would leave out what a run waits for: that the system lets a process go on.
    """
    found = []
    for size in _BYTES:
        numbers = torch.zeros(size // 8, dtype=torch.int64)
        taken = [seconds_of(lambda of=numbers: processes().add_up(of)) for _ in range(count)]
        found.append({"bytes": size, "seconds": statistics.mean(taken)})
    return found


def agreement() -> dict[str, Any]:
    """Of every recorded run of Keras with this group's, by the allowance of one process."""
    calls = {n: c for n, c in read(FOLDER).calls.items() if c.function == "training.fits"}
    stages, used, digests = [], 0.0, {}
    for name, call in calls.items():
        inputs = {key: value for key, value in call.inputs.items() if key != "sigmoid_ulp"}
        ours: Any = torch_fits(**inputs)
        for result in CASES[name].verdict(call, ours):
            stages.append(result.agree)
            if result.kind == "double" and result.allowance_used is not None:
                used = max(used, result.allowance_used)
        digests[name] = digest(ours)
    return {
        "stages": len(stages),
        "agree": sum(stages),
        "used": used,
        "digests": digests,
    }


def main(arguments: list[str]) -> None:
    """Does all, in the group that `torchrun` made if it did."""
    features, rows, count, *sizes = arguments
    batches = [int(size) for size in sizes]
    shared = distributed.is_torchelastic_launched()
    if shared:
        distributed.init_process_group("gloo")
    with np.load(features) as file:
        held = dict(file)
    own = (1,) if shared else (1, 2)
    runs = [("compiled", batch, threads) for batch in batches for threads in own]
    runs += [(path, batches[0], 1) for path in PATHS if path != "compiled"]
    found = {
        "agreement": agreement(),
        "exchanges": exchanges(int(count)) if shared else [],
        "steps": [step(held, int(rows), batch, path, threads) for path, batch, threads in runs],
    }
    tell(found)
    if shared:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
