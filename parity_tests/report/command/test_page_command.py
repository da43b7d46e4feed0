"""`python -m parity_tests --html`: what it refuses before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

import parity_tests.__main__ as command


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


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_runtime_is_said_before_the_run(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """One line that says what to install; a model of one's own is compared without it."""
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == package else 1)
    command.parse_arguments(["--model", "m.keras"])
    with pytest.raises(SystemExit) as stopped:
        command.main([])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{package} is not installed; the report needs: pip install -e '.[keras]'" in line
