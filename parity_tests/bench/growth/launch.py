"""Workers of the growth: a process each, or as many as `torchrun` starts, which answer in JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from parity_tests import ROOT

__all__ = ["answers", "tell"]

_MARK = "found: "


def answers(worker: str, arguments: Sequence[object], processes: int = 1) -> list[dict[str, Any]]:
    """What each process of a worker prints last.

    Args:
        worker: a module of this folder.
        arguments: of each process.
        processes: how many; more than one are a group of `torchrun`'s.

    Raises:
        RuntimeError: one failed; its last line says why.
    """
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", f"--nproc-per-node={processes}", "-m"]
    answer = subprocess.run(
        [*command, f"{__package__}.{worker}", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    lines = [line for line in answer.stdout.splitlines() if line.startswith(_MARK)]
    if answer.returncode or len(lines) != processes:
        said = [line for line in answer.stderr.splitlines() if line.strip()] or ["it said nothing"]
        told = [line for line in said if re.match(r"(\[rank\d+\]: )?[\w.]*Error\b", line)]
        raise RuntimeError(f"{worker} {' '.join(map(str, arguments))}: {(told or said[-1:])[0]}")
    return [json.loads(line.removeprefix(_MARK)) for line in lines]


def tell(found: Mapping[str, Any]) -> None:
    """A worker's answer; in one piece, since all of a group's write to one stream."""
    sys.stdout.write(f"{_MARK}{json.dumps(found)}\n")
    sys.stdout.flush()
