"""Which Keras the suite asks, and what a test demands of it.

A test that not every reference can answer says so by the marker `reference`, with what it
needs and why; what the reference is not, is left out of the run and counted by that reason.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from parity_tests.reference.keras_process import PYTHON

__all__ = [
    "ADAM_IN_CHECKPOINTS",
    "BEST_WEIGHTS",
    "CLIPPED_LOSS",
    "EPOCH_LOSS",
    "EXPORT_DTYPE",
    "FLOAT64",
    "FLOAT64_MEANS",
    "FLOAT64_OF_TENSORFLOW",
    "KERAS_3_FILES",
    "LOGITS",
    "NARROW_COMPARISON",
    "NEIGHBOURS",
    "OF_TODAY",
    "ON_TENSORFLOW",
    "OPTIMIZER_IN_CHECKPOINTS",
    "OWN_NAMES",
    "RANDOM_STREAM",
    "RATE_ONE",
    "STEPS_PER_EPOCH",
    "TENSORFLOW_FILES",
    "WHOLE_REPORT",
    "WIDE_SEEDS",
    "ZERO_SEED",
    "Reference",
    "reference",
    "since",
    "unmet",
]

ON_TENSORFLOW = pytest.mark.reference("the stream is TensorFlow's", backend="tensorflow")
RANDOM_STREAM = pytest.mark.reference(
    "random numbers are those of Keras 3 on TensorFlow", keras=">=3", backend="tensorflow"
)
TENSORFLOW_FILES = pytest.mark.reference(
    "SavedModels and checkpoints are those of Keras 3 on TensorFlow",
    keras=">=3", backend="tensorflow",
)  # fmt: skip
# What differs between versions; `test_keras_versions.py` has a test of each, on both sides.
ZERO_SEED = pytest.mark.reference("an initializer's seed 0 was no seed", keras=">=3.2")
WIDE_SEEDS = pytest.mark.reference(
    "a seed or count outside 0 … 2**31 - 3 meant another", keras=">=3.5"
)
OWN_NAMES = pytest.mark.reference("a .weights.h5 did not tell the layers' names", keras=">=3.6")
ADAM_IN_CHECKPOINTS = pytest.mark.reference(
    "a checkpoint did not say which of its variables are Adam's moments", keras=">=3.10"
)
EXPORT_DTYPE = pytest.mark.reference(
    "an exported functional model took its input in its layers' dtype", keras=">=3.5"
)
OPTIMIZER_IN_CHECKPOINTS = pytest.mark.reference(
    "a checkpoint held no optimizer, or not its count of steps by its name", keras=">=3.5"
)
CLIPPED_LOSS = pytest.mark.reference(
    "Keras 2 adds 1e-7 to a probability that it has clipped", keras=">=3"
)
KERAS_3_FILES = pytest.mark.reference("a whole model is written as Keras 3 writes it", keras=">=3")
BEST_WEIGHTS = pytest.mark.reference(
    "Keras 2 restores the best weights where it stops early alone", keras=">=3"
)
NARROW_COMPARISON = pytest.mark.reference(
    "Keras 2 compares what early stopping monitors as Python's numbers", keras=">=3"
)
LOGITS = pytest.mark.reference(
    "cross-entropy after a sigmoid layer is taken from the logits on TensorFlow alone",
    backend="tensorflow",
)
FLOAT64_OF_TENSORFLOW = pytest.mark.reference(
    "which numbers of a layer are float32 in float64 too is TensorFlow's", backend="tensorflow"
)
FLOAT64 = pytest.mark.reference("JAX holds no float64", backend=("tensorflow", "torch"))
FLOAT64_MEANS = pytest.mark.reference(
    "a loss in float64 is a mean in float32 on JAX and torch", backend="tensorflow"
)
OF_TODAY = pytest.mark.reference(
    "is about files of Keras 3.15", keras=">=3.15", backend="tensorflow"
)
NEIGHBOURS = pytest.mark.reference(
    "the neighbours of the network are those of Keras 3.15", keras=">=3.15", backend="tensorflow"
)
RATE_ONE = pytest.mark.reference("training with Dropout(1) raised", keras=">=3.14")
EPOCH_LOSS = pytest.mark.reference("an epoch's loss was the mean of its batches'", keras=">=3.2")
STEPS_PER_EPOCH = pytest.mark.reference(
    "steps_per_epoch gave up where the rows ran out", keras=">=3.7"
)
# Every stage at once, in batches that do not divide the rows.
WHOLE_REPORT = (RANDOM_STREAM, EPOCH_LOSS)

# Distributions that bring a backend, the first that is installed.
_DISTRIBUTIONS = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-intel"),
    "jax": ("jax",),
    "torch": ("torch",),
}
_LIST_INSTALLED = (
    "import importlib.metadata, json;"
    "print(json.dumps({d.metadata['Name']: d.version for d in importlib.metadata.distributions()}))"
)


class Reference(NamedTuple):
    """The Keras that is asked; a version is None where it is not installed."""

    keras: str | None
    backend: str
    backend_version: str | None

    @property
    def missing(self) -> list[str]:
        """What is not installed of it."""
        parts = {"keras": self.keras, self.backend: self.backend_version}
        return sorted(name for name, version in parts.items() if version is None)

    def __str__(self) -> str:
        return f"keras {self.keras} / {self.backend} {self.backend_version}"


@cache
def reference() -> Reference:
    """Read off what is installed where Keras will run; nothing is imported there.

    As `parity_tests.reference.keras_process` has it: `PARITY_KERAS_PYTHON` names the environment,
    `KERAS_BACKEND` the backend.
    """
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend not in _DISTRIBUTIONS:
        raise pytest.UsageError(
            f"KERAS_BACKEND is {backend!r}; expected one of {', '.join(_DISTRIBUTIONS)}"
        )
    python = os.environ.get(PYTHON)
    if python:
        try:
            answer = subprocess.run(
                [python, "-I", "-c", _LIST_INSTALLED], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise pytest.UsageError(
                f"{PYTHON} is {python!r}, which does not run: {error}"
            ) from error
        installed = json.loads(answer.stdout)
    else:
        installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    found = {name.lower().replace("_", "-"): version for name, version in installed.items()}
    versions = [found[name] for name in _DISTRIBUTIONS[backend] if name in found]
    # torch says 2.13.0+cpu of its CPU build
    parts = {
        "keras": found.get("keras"),
        backend: versions[0].partition("+")[0] if versions else None,
    }
    if not python:  # what is installed here may still be hidden from imports
        parts = {name: version if find_spec(name) else None for name, version in parts.items()}
    return Reference(parts["keras"], backend, parts[backend])


def unmet(marker: pytest.Mark, asked: Reference) -> str | None:
    """Why a reference is not what a marker `reference` demands, in one line; None if it is.

    Raises:
        pytest.UsageError: the marker is not `reference(why, keras=…, backend=…)`.
    """
    demands = dict(marker.kwargs)
    backends, keras = demands.pop("backend", ()), demands.pop("keras", "")
    backends = (backends,) if isinstance(backends, str) else backends
    if demands or len(marker.args) != 1 or not (backends or keras):
        raise pytest.UsageError(
            f"reference{marker.args}{marker.kwargs}: expected a reason, and keras= or backend="
        )
    assert asked.keras is not None
    right_backend = not backends or asked.backend in backends
    if right_backend and SpecifierSet(keras).contains(asked.keras, prereleases=True):
        return None
    wanted = " on ".join(filter(None, (keras and f"keras{keras}", " or ".join(backends))))
    return f"{marker.args[0]} (needs {wanted}, asked is {asked})"


def since(version: str) -> bool:
    """Whether the Keras asked is this version or a later one."""
    keras = reference().keras
    return keras is not None and Version(keras) >= Version(version)
