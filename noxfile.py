"""The suite in each supported environment, and against each supported Keras: `nox`.

Run it in the environment that the tests run in, which has torch: `pip install nox uv` there.
Keras is asked behind the process border, so that it needs no torch, and no test tool, beside it.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

import nox

nox.options.sessions = ["suite", "reference", "table"]

# TensorFlow's own CPU build, where there is one, is half the size.
CPU = "-cpu" if (sys.platform, platform.machine()) == ("linux", "x86_64") else ""
TALLIES = Path(".nox") / "tallies"

# Keras, its backend and the backend's version.
REFERENCES = [
    ("2.15.0", "tensorflow", "2.15.1"),
    ("3.0.5", "tensorflow", "2.16.2"),
    ("3.3.3", "tensorflow", "2.16.2"),
    ("3.5.0", "tensorflow", "2.17.1"),
    ("3.7.0", "tensorflow", "2.18.1"),
    ("3.10.0", "tensorflow", "2.19.1"),
    ("3.13.2", "tensorflow", "2.20.0"),
    ("3.15.1", "tensorflow", "2.21.0"),
    ("3.15.1", "jax", "0.10.2"),
    ("3.15.1", "torch", "2.13.0"),
]

# What is installed with the whole suite, and on which Python.
PINNED = ["-c", "constraints.txt"]
SUITES = {
    "lowest": ("3.10", ["--resolution", "lowest-direct"]),
    "newest": ("3.13", ["--resolution", "highest"]),
    "python-3.10": ("3.10", PINNED),
    "python-3.12": ("3.12", PINNED),
    "python-3.13": ("3.13", PINNED),
}


def tally_of(name: str) -> str:
    """The option that writes a run's tally, where the one before is gone."""
    TALLIES.mkdir(parents=True, exist_ok=True)
    path = TALLIES / f"{name}.json"
    path.unlink(missing_ok=True)
    return f"--tally={path}"


# uv can install the lowest versions that pyproject.toml names; the seed is pip, for the wheel test.
@nox.session(venv_backend="uv", venv_params=["--seed"])
@nox.parametrize(
    ("python", "name"),
    [nox.param(python, name, id=name) for name, (python, _) in SUITES.items()],
)
def suite(session: nox.Session, name: str) -> None:
    """Every test, live Keras among them, with packages of these versions."""
    _, versions = SUITES[name]
    session.install(*versions, "-e", ".[test]")
    session.run(
        "python", "-m", "pytest", "-n", "2", "--dist", "worksteal", tally_of(name), *session.posargs
    )


@nox.session(venv_backend="venv")
@nox.parametrize(
    ("keras", "backend", "version"),
    REFERENCES,
    ids=[f"keras-{keras}-{backend}-{version}" for keras, backend, version in REFERENCES],
)
def reference(session: nox.Session, keras: str, backend: str, version: str) -> None:
    """Every test that asks the live Keras, of one version."""
    distribution = backend + CPU if backend == "tensorflow" else backend
    # What the bench runs in Keras's process needs the last two.
    session.install(f"keras=={keras}", f"{distribution}=={version}", "scikit-learn", "pandas")
    session.run(
        sys.executable, "-m", "pytest", "-m", "keras", "-n", "2", "--dist", "worksteal",
        tally_of(f"keras-{keras}-{backend}-{version}"), *session.posargs,
        env={
            "PARITY_KERAS_PYTHON": shutil.which("python", path=session.bin) or "",
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.getcwd(),
        },
        external=True,
    )  # fmt: skip


@nox.session(python=False)
def table(session: nox.Session) -> None:
    """What the runs before gave, as `parity_tests/versions/README.md` has it."""
    session.run(sys.executable, "-m", "parity_tests.versions.matrix", str(TALLIES), external=True)
