"""What runs outside of the suite: the workflow of a forge, and the hooks before a commit."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from parity_tests import ROOT
from parity_tests.project.readme import blocks

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def jobs() -> dict[str, Any]:
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_workflow_runs_the_script_that_ci_runs_anywhere() -> None:
    """`.ci/run` alone, on a checkout, with the Pythons that the package says it supports."""
    job = jobs()["tests"]
    assert commands(job) == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    checkout, python, _ = job["steps"]
    assert checkout["uses"].startswith("actions/checkout@")
    assert python["with"]["python-version"] == "${{ matrix.python }}"
    assert python["with"]["cache"] == "pip"
    assert "3.11" in job["strategy"]["matrix"]["python"]


def test_workflow_starts_on_a_push_and_on_a_pull_request() -> None:
    """YAML 1.1 takes the key `on` for true."""
    text = WORKFLOW.read_text(encoding="utf-8")
    assert set(yaml.safe_load(text)[True]) == {"push", "pull_request"}


def test_workflow_runs_the_readmes_first_command_too() -> None:
    """Word for word."""
    assert commands(jobs()["report"]) == [blocks("bash")[0].strip()]


def test_script_takes_its_command_from_the_readme() -> None:
    """Its own lines of shell, run on this README, give the test command."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    function = script[script.index("command_after()") : script.index("rm -rf")]
    answer = subprocess.run(
        ["bash", "-euc", f"{function}\ncommand_after test-command"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout.strip() == blocks("bash")[1].strip()
    assert "\ntest_command=$(command_after test-command)\n" in script
    assert script.endswith('bash -euo pipefail -c "$test_command"\n')


def test_each_hook_before_a_commit_mends_what_it_finds(tmp_path: Path) -> None:
    """All of them, one after the other, on a file that is neither sorted nor formatted."""
    told = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repo in told["repos"] for hook in repo["hooks"]]
    assert [hook["language"] for hook in hooks] == ["system"] * 2
    untidy = tmp_path / "untidy.py"
    untidy.write_text('"""A file."""\nimport sys\nimport os\nprint( os,sys )\n')
    for hook in hooks:
        answer = subprocess.run(
            [sys.executable, "-m", *shlex.split(hook["entry"]), untidy],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert untidy.read_text() == '"""A file."""\n\nimport os\nimport sys\n\nprint(os, sys)\n'
