"""`python -m parity_tests.bench`: how much faster an epoch is than Keras's.

Medians of pairs measured alternately in one run, since machines are noisy: a ratio is worth
more than a time. Keras runs in its own process; both use their own defaults for threads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from data import Prepared, prepare, synthetic
from parity_tests.reference.keras_process import KerasProcess
from torch_impl import FraudClassifier, fit, prior_log_odds

BATCH_SIZE = 2048
KINDS = {"bare": False, "tutorial (11 metrics, validation)": True}


def torch_epoch_seconds(options: dict[str, Any], epochs: int, compiled: bool) -> list[float]:
    """Seconds of each epoch of `torch_impl.fit`, start-up (shuffle, build) left out."""
    from torch_impl import Callback

    stamps: list[float] = []

    class Stamp(Callback):
        def on_train_begin(self, model: torch.nn.Module) -> None:
            stamps.append(time.perf_counter())

        def on_epoch_end(self, epoch: int, logs: Any, model: torch.nn.Module) -> None:
            stamps.append(time.perf_counter())

    model = FraudClassifier(output_bias=options["output_bias"], seed=options["seed"])
    arguments = {k: v for k, v in options.items() if k != "output_bias"}
    fit(
        model, epochs=epochs, callbacks=[Stamp()], compiled=compiled, progress=False,
        x=arguments.pop("features"), y=arguments.pop("labels"), **arguments,
    )  # fmt: skip
    return list(np.diff(stamps))


def measure(prepared: Prepared, rounds: int, epochs: int) -> dict[str, Any]:
    """Pairs of Keras, compiled and eager epochs.

    Args:
        prepared: the data.
        rounds: how many pairs.
        epochs: per fit; the first is left out, since Keras traces its graph in it.

    Returns:
        For each kind of epoch the medians in milliseconds, and the ratios' median, smallest
        and largest.
    """
    found: dict[str, Any] = {}
    with KerasProcess() as keras:
        for kind, full in KINDS.items():
            options: dict[str, Any] = {
                "features": prepared.train.features,
                "labels": prepared.train.labels,
                "seed": 42,
                "output_bias": prior_log_odds(prepared.positives, prepared.negatives),
                "batch_size": BATCH_SIZE,
                "metrics": full,
            }
            if full:
                validation = prepared.validation
                options["validation_data"] = (validation.features, validation.labels)
            pairs: dict[str, list[float]] = {"keras": [], "compiled": [], "eager": []}
            for _ in range(rounds):
                theirs = keras.call("training.timed_fit", epochs=epochs, **options)
                pairs["keras"].append(statistics.median(theirs[1:]))
                for path in ("compiled", "eager"):
                    ours = torch_epoch_seconds(options, epochs, path == "compiled")
                    pairs[path].append(statistics.median(ours[1:]))
            found[kind] = {"keras_ms": 1e3 * statistics.median(pairs["keras"])}
            for path in ("compiled", "eager"):
                ratios = [k / t for k, t in zip(pairs["keras"], pairs[path], strict=True)]
                found[kind][path] = {
                    "ms": 1e3 * statistics.median(pairs[path]),
                    "ratio": statistics.median(ratios),
                    "smallest": min(ratios),
                    "largest": max(ratios),
                }
    return found


def floors(rows: int, features: int = 29, hidden_units: int = 16) -> dict[str, float]:
    """What the bytes, flops and random bits of a bare epoch alone would cost here, in ms.

    Each is measured with PyTorch on one thread: reading the rows once; the multiply-adds of
    forward and backward as plain matrix products of the batch's shape; and the dropout's
    words as xor and shift operations on integers of their number, 10 rounds each.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        x = torch.randn(rows, features)
        w = torch.randn(features, hidden_units)
        d = torch.randn(BATCH_SIZE, hidden_units)
        batches = x.split(BATCH_SIZE)[: rows // BATCH_SIZE]
        words = torch.randint(2**31, (BATCH_SIZE * hidden_units,), dtype=torch.int32)

        def products() -> None:
            for batch in batches:
                batch @ w
                batch.T @ d

        def bits() -> None:
            for _ in batches:
                for _ in range(10):
                    words.bitwise_xor_(words)

        return {
            "bytes": _milliseconds(lambda: x.sum()),
            "flops": _milliseconds(products),
            "random bits": _milliseconds(bits),
        }
    finally:
        torch.set_num_threads(threads)


def _milliseconds(function: Any, repeats: int = 7) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    """Measures, prints the table, and writes JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m parity_tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs (default 5)")
    parser.add_argument("--epochs", type=int, default=5, help="per run (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    options = parser.parse_args()
    if options.rounds < 1 or options.epochs < 2:
        parser.error("expected --rounds of at least 1 and --epochs of at least 2")
    prepared = prepare(synthetic())
    found = measure(prepared, options.rounds, options.epochs)
    floor = floors(len(prepared.train.features))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("epoch", "path", "ms", "× Keras", "smallest", "largest"):
        table.add_column(heading, justify="left" if heading in ("epoch", "path") else "right")
    for kind, figures in found.items():
        table.add_row(kind, "Keras", f"{figures['keras_ms']:.0f}", "1", "", "")
        for path in ("compiled", "eager"):
            f = figures[path]
            ratios = [f"{f[name]:.1f}" for name in ("ratio", "smallest", "largest")]
            table.add_row("", path, f"{f['ms']:.0f}", *ratios)
    for name, milliseconds in floor.items():
        table.add_row("alone", name, f"{milliseconds:.1f}", "", "", "")
    Console().print(table)
    if options.json:
        facts = {"epochs": found, "floors_ms": floor, "torch": torch.__version__}
        options.json.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
