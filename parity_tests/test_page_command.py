"""`python -m parity_tests --html`: the file it writes, and what it refuses before it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import parity_tests.__main__ as command
from data import synthetic
from parity_tests.walls import ROOT

NAME = "<script>alert(1)</script>".replace("/", "∕")  # a slash that a file name may hold


@pytest.mark.keras
@pytest.mark.slow
def test_command_writes_the_page_beside_the_report(tmp_path: Path) -> None:
    """One run gives the table, the JSON and the page, with the same verdict and numbers."""
    rows = tmp_path / f"{NAME} & co.csv"
    synthetic(seed=1, rows=3000, positives=150).to_csv(rows, index=False)
    out = {kind: tmp_path / f"r.{kind}" for kind in ("json", "html")}
    arguments = ["--csv", str(rows), "--json", str(out["json"]), "--html", str(out["html"])]
    answer = subprocess.run(
        [sys.executable, "-m", "parity_tests", *arguments, "--seed", "4"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stderr == ""
    page = out["html"].read_text(encoding="utf-8")
    found = json.loads(out["json"].read_text())
    assert f"agree in all {len(found['stages'])} stages" in page
    assert f"agree in all {len(found['stages'])} stages" in answer.stdout
    for stage in found["stages"]:
        assert stage["stage"].rpartition(": ")[2] in page
        if stage["max_abs"]:
            assert f"<td>{stage['max_abs']:.1e}</td>" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;∕script&gt; &amp; co.csv" in page
    assert "python -m parity_tests --csv &#x27;" in page
    for kind, version in found["versions"].items():
        assert f"<dt>{kind}</dt><dd>{version}</dd>" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [rows.name, "r.html", "r.json"]
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [("no/such/folder/r.html", "is not a folder"), ("data", "it is a folder")],
)
@pytest.mark.parametrize("option", ["--html", "--json"])
def test_a_file_that_cannot_be_written_is_refused_before_the_run(
    option: str, path: str, message: str, capsys: pytest.CaptureFixture
) -> None:
    """Exit status 2 and one line, and no stage has run."""
    with pytest.raises(SystemExit) as stopped:
        command.main([option, path])
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert f"{option} {path}: " in printed.err
    assert message in printed.err


def test_missing_matplotlib_is_said_before_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    """One line that says what to install; without --html nothing asks for it."""
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "matplotlib" else 1)
    command.parse_arguments(["--json", str(tmp_path / "r.json")])
    with pytest.raises(SystemExit) as stopped:
        command.main(["--html", str(tmp_path / "r.html")])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "matplotlib, which is not installed: pip install -e '.[keras]'" in line


@pytest.mark.keras
@pytest.mark.slow
def test_the_plain_report_never_loads_matplotlib(tmp_path: Path) -> None:
    """A whole run of it, in which any import of matplotlib fails."""
    synthetic(seed=1, rows=600, positives=60).to_csv(tmp_path / "rows.csv", index=False)
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from parity_tests.__main__ import main\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main(sys.argv[1:]))\n"
    )
    # The Keras process imports the main module anew, so that it must be a file.
    (tmp_path / "plain.py").write_text(program)
    answer = subprocess.run(
        [sys.executable, tmp_path / "plain.py", "--csv", "rows.csv", "--epochs", "1"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
