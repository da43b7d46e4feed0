"""What the README shows works, and what it names is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache

import pytest

from parity_tests import ROOT
from parity_tests.files.committed import MANIFESTS
from parity_tests.project.readme import PAGES, README, TEXT, blocks, symbols, table_after

EXAMPLES = blocks("python")

_RUN_EACH = """
import json, os, sys, tempfile, traceback
faults = []
for example in json.load(sys.stdin):
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})
            faults.append(None)
        except Exception:
            faults.append(traceback.format_exc())
        os.chdir("/")
print(json.dumps(faults), file=sys.stderr)
"""


@cache
def faults_of_examples() -> list[str | None]:
    """What each raised, all run one after the other in one process that has nothing else."""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", _RUN_EACH], input=json.dumps(EXAMPLES),
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stderr.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", range(len(EXAMPLES)), ids=[example.split("\n")[-2] for example in EXAMPLES]
)
def test_python_example_runs(number: int) -> None:
    """As it stands, in names and a folder of its own."""
    fault = faults_of_examples()[number]
    assert fault is None, fault


@pytest.mark.parametrize("page", PAGES)
def test_every_named_file_is_there(page: str) -> None:
    """By its path or by the end of it."""
    named = set(re.findall(r"`([\w./]+\.(?:py|ipynb|cpp|h))`", PAGES[page]))
    rooms = [ROOT / room for room in ("data", "keras_ref", "torch_impl", "parity_tests")]
    paths = [*ROOT.glob("*.*"), *(path for room in rooms for path in room.rglob("*.*"))]
    files = [f"/{path.relative_to(ROOT).as_posix()}" for path in paths]
    assert [name for name in named if not any(f.endswith(f"/{name}") for f in files)] == []


def test_every_named_proof_exists() -> None:
    """A row of the migration table without its test proves nothing."""
    named = [test.split("::") for test in re.findall(r"`(parity_tests/[^`]*::[^`]*)`", TEXT)]
    assert len(named) > 50
    assert [name for path, name in named if name not in symbols(ROOT / path)] == []


@pytest.mark.parametrize("file", PAGES)
def test_every_link_leads_somewhere(file: str) -> None:
    """To a file of the checkout, to a heading in it, or to both."""
    here = ROOT / file
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", here.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        led_to = here.parent / path if path else here
        assert led_to.exists(), target
        if heading:
            text = re.sub(r"```.*?```", "", led_to.read_text(encoding="utf-8"), flags=re.DOTALL)
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings]
            assert heading in slugs, target


@pytest.mark.parametrize("marker", ["report-command", "test-command"])
def test_set_up_commands_stand_where_ci_finds_them(marker: str) -> None:
    """`.ci/run` runs the test command from the README itself."""
    assert re.search(rf"<!-- {marker} -->\n```bash\npython3 -m venv [^\n]*\n```", README)


FORMATS = {
    "`.keras`": "keras-zip",
    "`.weights.h5`": "weights-h5",
    "`.h5`, whole model": "legacy-h5",
    "`.h5`, weights alone": "legacy-weights-h5",
}


def test_each_tick_of_the_format_matrix_is_a_committed_file() -> None:
    """And each committed file has its tick."""
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table_after("format-matrix")
    ]
    ticked = {
        (FORMATS[row[0]], version)
        for row in rows
        if row[0] in FORMATS
        for version, cell in zip(head[1:-1], row[1:-1], strict=True)
        if cell == "✓"
    }
    committed = {
        (file["format"], version.rpartition(".")[0])
        for version, told in MANIFESTS.items()
        for file in told["files"].values()
    }
    assert ticked == committed
