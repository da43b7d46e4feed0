"""Fixtures of the commands' tests, which load what they need when they are asked for."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Read by every test, written by none."""
    from parity_tests.decisions.commands.trained_models import table_in

    return table_in(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="session")
def trained(table: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model of each balance; their files are read and not written."""
    from parity_tests.decisions.commands.trained_models import trained_in

    return trained_in(tmp_path_factory.mktemp("models"), table)


@pytest.fixture
def spoken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command in this process: status, standard output, and the lines of the other."""
    from torch_impl.__main__ import main

    monkeypatch.setenv("COLUMNS", "80")

    def run(*words: object) -> tuple[int, str, list[str]]:
        try:
            status = main([str(word) for word in words])
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, error = capsys.readouterr()
        return status, out, error.splitlines()

    return run
