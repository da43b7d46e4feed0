"""Where a report's numbers come from: command, data, versions and machine."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Origin", "command_line", "fingerprint", "machine", "versions"]


@dataclass(frozen=True)
class Origin:
    """What it takes to have the same numbers again, by name."""

    command: str
    """To be typed at a shell."""
    data: dict[str, str]
    versions: dict[str, str]
    machine: dict[str, str]


def command_line(arguments: Sequence[str]) -> str:
    """The command as it is typed at a shell, odd file names quoted."""
    return shlex.join(["python", "-m", "parity_tests", *arguments])


def fingerprint(frame: pd.DataFrame) -> str:
    """SHA-256 of all values as float64, row by row: equal for equal tables in any file format."""
    return hashlib.sha256(frame.to_numpy(dtype="<f8").tobytes()).hexdigest()


def versions() -> dict[str, str]:
    """Of what runs in this process."""
    import numpy as np
    import torch

    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


def machine() -> dict[str, str]:
    """What float32 rounding may depend on beside versions, the time, and the checkout's commit."""
    found = {
        "system": platform.platform(),
        "processor": _processor(),
        "processors": str(os.cpu_count()),
        "run at": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
    }
    commit = _commit()
    return found | ({"commit": commit} if commit else {})


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _commit() -> str:
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
