"""Processes of torchrun: one output, one who tells, and nothing lost when one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from parity_tests import ROOT
from parity_tests.decisions.commands.sharing.small import launched, make_small, together
from parity_tests.decisions.commands.trained_models import ROWS, Table, Trained
from torch_impl.commands.sharing.kept import KeptParts

BOUND = 120
"""Seconds in which a run of a few thousand rows has ended, however it ends."""


def begun(count: int, *command: str, **environment: object) -> subprocess.Popen[str]:
    """Processes of torchrun's, which all have one thread as it sets them."""
    return subprocess.Popen(
        launched(count, *command), cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | {n: str(v) for n, v in environment.items()},
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
    """Status, standard output, and what the command said of an error, without torchrun's words."""
    try:
        out, error = process.communicate(timeout=BOUND)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    lines = error.splitlines()
    return process.returncode, out, [line for line in lines if line.startswith("error: ")]


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_run_and_loses_nothing(
    table: Table, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """By SIGKILL, when some parts are there; two go on with no compiler to what one writes.

    One of the two that are left tells, once.
    """
    source, out, one = (tmp_path / name for name in ("rows.csv", "out.csv", "one.csv"))
    table.frame.assign(row=np.arange(ROWS)).to_csv(source, index=False)

    def command(out: Path) -> list[str]:
        named = map(str, (trained["none"].model, source, out))
        return ["score", *named, "--keep", "row", "--json"]

    kept = KeptParts(out)
    process = begun(3, *command(out), PIDS=tmp_path, PAUSE=0.2)
    while len(list(kept.folder.glob("0*.json"))) < 4 and process.poll() is None:
        time.sleep(0.01)
    started = time.monotonic()
    os.kill(int((tmp_path / "1").read_text("utf-8")), signal.SIGKILL)
    status, told, errors = ended(process)
    assert time.monotonic() - started < BOUND / 2
    assert (status != 0, told, len(errors)) == (True, "", 1)
    assert errors[0].startswith("error: another process of the group is gone")
    assert errors[0].endswith("; the same command goes on from there")
    assert not out.exists()
    there = len(list(kept.folder.glob("0*.json")))
    assert 4 <= there < 19
    status, told, errors = ended(begun(2, *command(out), CXX="/no/such/compiler"))
    assert (status, errors) == (0, [])
    facts = json.loads(told)
    assert (facts["rows"], facts["processes"], facts["resumed"]) == (ROWS, 2, there)
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch.setattr)
        assert together(1, *command(one)) == [0]
    assert out.read_bytes() == one.read_bytes()
    np.testing.assert_array_equal(pd.read_csv(out)["row"], np.arange(ROWS))
    assert not kept.folder.exists()
