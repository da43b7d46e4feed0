"""Whole processes, started from nothing, with a clock around them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from parity_tests import ROOT
from parity_tests.bench import floors
from parity_tests.bench.material import Material
from parity_tests.bench.processes import Processes
from parity_tests.bench.race import Comparison, Contestant, MissingError, Rounds, race, seconds_of
from parity_tests.bench.scripts import SCRIPTS
from parity_tests.reference.keras_process import PYTHON

__all__ = ["compare"]


def compare(
    material: Material, processes: Processes, rounds: Rounds, epochs: int
) -> Iterator[Comparison]:
    """From a CSV to a file of probabilities; and the tutorial's run, compiling included."""
    cache = material.folder / "cache"
    keras = processes.pythons.get("tensorflow") or os.environ.get(PYTHON) or sys.executable

    def scored() -> Callable[[], float]:
        out = material.folder / "ours.csv"
        command = [
            sys.executable, "-m", "torch_impl", "score", material.pipeline, material.csv, out,
            "--json",
        ]  # fmt: skip
        return lambda: _seconds(command, out, cache)

    def keras_scored() -> Callable[[], float]:
        out = material.folder / "theirs.csv"
        files = [material.csv, material.pickled_scaler, material.keras_model, out]
        return lambda: _seconds([keras, SCRIPTS / "score_csv.py", *files], out, cache)

    contestants = [
        Contestant("torch_impl", scored),
        Contestant("keras-tensorflow", keras_scored, slow=True),
    ]
    alone = floors.of_probabilities(material.rows)
    alone = {"bytes": floors.of_reading(material.csv), "flops": alone["flops"]}
    yield race("process: CSV to probabilities", contestants, rounds, alone)

    def trained(python: str, script: str) -> Callable[[], Callable[[], float]]:
        def start() -> Callable[[], float]:
            out = material.folder / f"{script}.keras"
            command = [python, SCRIPTS / script, material.features, str(epochs), out]
            return lambda: _seconds(command, out)

        return start

    contestants = [
        Contestant("torch_impl", trained(sys.executable, "train_torch.py"), slow=True),
        Contestant("keras-tensorflow", trained(keras, "train_keras.py"), slow=True),
    ]
    prepared = material.prepared
    sizes = (len(part.labels) for part in (prepared.train, prepared.validation))
    alone = {name: epochs * seconds for name, seconds in floors.of_epoch(*sizes).items()}
    yield race(f"process: {epochs} epochs", contestants, rounds, alone, warm=False)


def _seconds(command: list[str | Path], out: Path, cache: Path | None = None) -> float:
    """Of a process that writes a file.

    Args:
        command: its.
        out: what it writes.
        cache: of what is compiled; an empty one if None.

    Raises:
        MissingError: it failed; its last line says why.
    """
    out.unlink(missing_ok=True)
    answers: list[subprocess.CompletedProcess[str]] = []
    with tempfile.TemporaryDirectory() as empty:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(cache or empty),
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

        def run() -> None:
            answers.append(subprocess.run(command, env=environment, capture_output=True, text=True))

        seconds = seconds_of(run)
    if answers[0].returncode or not out.exists():
        said = answers[0].stderr.strip().splitlines() or ["it wrote no file"]
        raise MissingError(f"{Path(command[1]).name}: {said[-1]}")
    return seconds
