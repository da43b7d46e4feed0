"""The README's example of a new stage works, in a copy of the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parity_tests import ROOT
from parity_tests.project.readme import TEXT, blocks
from parity_tests.reference.markers import RANDOM_STREAM, reference

_, _, _SECTION = TEXT.partition("<!-- new-stage -->")
(EXAMPLE,) = blocks("diff", _SECTION)

# The stage is asked of weights that nobody has to train.
# A spawned child would import this program's file, and torch with it, which the reference
# refuses to run beside.
RUN_THE_STAGE = """
import json
import torch
from data import prepare, synthetic
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.report.stages import Comparison
with KerasProcess() as keras:
    rows = prepare(synthetic(rows=600, positives=60))
    comparison = Comparison(rows, keras, epochs=1)
    start = keras.call("model.initial_weights", seed=0)
    comparison.keras_runs = {"float32": {"final": start}}
    steps = {step.name: step for step in comparison.steps()}
    results = [result.as_json() for result in steps["squared errors"].run()]
    print(json.dumps([results, "torch" in keras.call("versions.loaded_modules")]))
"""


def apply(diff: str, folder: Path) -> list[str]:
    """Makes the change; each place must be in its file exactly once. Gives the files."""
    files = []
    for section in diff.split("--- ")[1:]:
        name, *hunks = section.split("\n@@\n")
        files.append(name)
        path = folder / name
        text = path.read_text(encoding="utf-8")
        for hunk in hunks:
            lines = hunk.rstrip("\n").split("\n")
            old = "\n".join(line[1:] for line in lines if line.startswith(" "))
            new = "\n".join(line[1:] for line in lines)
            assert text.count(f"\n{old}") == 1, f"{name}: {old!r} is not there once"
            text = text.replace(f"\n{old}", f"\n{new}")
        path.write_text(text, encoding="utf-8")
    return files


@RANDOM_STREAM
@pytest.mark.keras
@pytest.mark.slow
def test_example_of_a_new_stage_works(tmp_path: Path) -> None:
    """It agrees, within a bound that is neither unused nor empty, and is clean in style.

    In a program that imports torch, which Keras's process does not import with it; nothing is
    on standard error, where TensorFlow writes while it loads.
    """
    without = shutil.ignore_patterns("written_by_keras")
    for room in ("data", "keras_ref", "torch_impl", "parity_tests"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=without)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    files = apply(EXAMPLE, tmp_path)
    for tool in (["check"], ["format", "--check"]):
        answer = subprocess.run(
            [sys.executable, "-m", "ruff", *tool, *files], cwd=tmp_path, capture_output=True
        )
        assert answer.returncode == 0, answer.stdout.decode()
    program = tmp_path / "program.py"
    program.write_text(RUN_THE_STAGE)
    answer = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (answer.returncode, answer.stderr) == (0, "")
    (stage,), torch_in_keras = json.loads(answer.stdout)
    assert torch_in_keras == (reference().backend == "torch")
    assert (stage["stage"], stage["kind"], stage["agree"]) == ("squared errors", "proven", True)
    assert 0 < stage["allowance_used"] <= 1
