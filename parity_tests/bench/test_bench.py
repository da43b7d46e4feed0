"""`python -m parity_tests.bench`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from parity_tests.bench import __main__ as bench
from parity_tests.bench import processes, whole
from parity_tests.bench.growth import by_rows, by_rows_worker
from parity_tests.bench.material import Material
from parity_tests.bench.page import page
from parity_tests.bench.race import Comparison, MissingError, Rounds, Standing
from parity_tests.report.page.strict_html import faults, loaded
from torch_impl.commands.tables import read_blocks

COMPARISONS = [
    Comparison(
        "epoch, <bare>",
        [
            Standing("torch_impl", [0.010, 0.012], [1.0, 1.0]),
            Standing("keras-tensorflow", [0.150, 0.160], [15.0, 13.3]),
            Standing("skorch", [], [], "skorch not installed"),
        ],
        {"bytes": 0.0005, "flops": 0.002},
    ),
    Comparison(
        "order of 284,807 rows",
        [
            Standing("torch_impl", [0.004], [1.0]),
            Standing("torch-randperm", [0.002], [0.5]),
        ],
        {"random bits": 0.0001},
    ),
]
GROWN = [
    by_rows.Grown(work, rows, 1e-3 * (number + 1) + 1e-7 * rows, 10**6 * (number + 1) + 232 * rows)
    for number, work in enumerate(by_rows.WORKS)
    for rows in by_rows.SIZES
]
ORIGIN = {"torch": "2.13.0", "processor": "a < b"}


@pytest.mark.parametrize("measured", [(COMPARISONS, GROWN), (COMPARISONS, []), ([], GROWN)])
def test_the_page_is_whole_and_needs_nothing_but_itself(measured: tuple[list, list]) -> None:
    """With growth and without, and of growth alone."""
    text = page(*measured, ORIGIN)
    assert faults(text) == []
    assert loaded(text) == []
    assert text.count('class="plot"') == (2 if measured[1] else 0)


def test_the_page_says_who_was_faster() -> None:
    """In its first sentence, with the name and the work."""
    assert "torch-randperm (order of 284,807 rows)" in page(COMPARISONS, GROWN, ORIGIN)
    assert "Nobody was faster." in page(COMPARISONS[:1], GROWN, ORIGIN)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rounds", "0"], "--rounds 0; expected at least 1"),
        (["--epochs", "1"], "--epochs 1; expected at least 2"),
        (["--rows", "10"], "--rows 10; expected at least 200"),
        (["--growth", "--sizes", "0"], "--sizes 0; expected at least 1"),
        (["--growth", "--sizes", "1" + "0" * 15], "GB left; expected --folder elsewhere"),
        (["--python", "jax"], "expected tensorflow, jax or torch, =, and the path of a Python"),
        (["--python", "mlx=/bin/sh"], "expected tensorflow, jax or torch"),
        (["--json", "no/such/folder/x.json"], "no/such/folder is not a folder"),
        (["--html", "no/such/folder/x.html"], "no/such/folder is not a folder"),
        (["--folder", "no/such/folder"], "no/such/folder is not a folder"),
    ],
    ids=lambda of: " ".join(of) if isinstance(of, list) else "",
)
def test_what_cannot_be_measured_is_refused_before_it_begins(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture
) -> None:
    """Exit status 2, and one line after the usage says why."""
    with pytest.raises(SystemExit) as stopped:
        bench.main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


class _Here:
    """In the place of a process pool: what is asked is done at once."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args))
        return future

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: Any) -> None: ...


def test_what_is_measured_is_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The same figures in the tables, as data and on the page."""
    monkeypatch.setattr(processes, "ProcessPoolExecutor", _Here)
    files = [tmp_path / "bench.json", tmp_path / "bench.html"]
    others = ["torch_impl-eager", "scikit-learn", "torch-randperm"]
    bench.main([
        "--only", "epochs", "transform", "order", "--against", *others, "--rounds", "2",
        "--epochs", "2", "--rows", "400", "--json", str(files[0]), "--html", str(files[1]),
    ])  # fmt: skip
    facts = json.loads(files[0].read_text())
    said, shown = " ".join(capsys.readouterr().out.split()), files[1].read_text()
    assert [found["what"] for found in facts["comparisons"]] == [
        "epoch, bare", "epoch, tutorial's", "transform", "order of 400 rows",
    ]  # fmt: skip
    for comparison, other in zip(facts["comparisons"], [others[0], *others], strict=True):
        ours, theirs = comparison["standings"]
        assert (ours["who"], theirs["who"]) == ("torch_impl", other)
        assert (ours["ratio"], ours["rounds"], theirs["rounds"]) == (1, 2, 2)
        assert theirs["smallest"] <= theirs["ratio"] <= theirs["largest"]
        assert "bytes" in comparison["alone_ms"]
        assert other in said
        assert other in shown
    assert {"torch", "numpy", "rows"} <= set(facts["origin"])
    assert facts["growth"] == []


def test_whole_processes_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in its turn; the tutorial's run with an empty cache, the table's with the one before."""
    ran: list[tuple[str, str]] = []

    def run(command: list[Any], *, env: dict[str, str], **_: Any) -> CompletedProcess[str]:
        name = "torch_impl score" if "score" in command else Path(command[1]).name
        ran.append((name, env["XDG_CACHE_HOME"]))
        Path(command[-2 if "score" in command else -1]).touch()
        return CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(whole.subprocess, "run", run)
    found = whole.compare(Material(tmp_path, 400), processes.Processes({}), Rounds(2, 1), 3)
    assert [c.what for c in found] == ["process: CSV to probabilities", "process: 3 epochs"]
    assert [name for name, _ in ran] == [
        "torch_impl score", "score_csv.py", "torch_impl score", "score_csv.py", "torch_impl score",
        "train_torch.py", "train_keras.py",
    ]  # fmt: skip
    caches = [cache for _, cache in ran]
    assert len(set(caches[:5])) == 1
    assert len(set(caches)) == 3


def test_a_process_that_fails_is_none(tmp_path: Path) -> None:
    """Its last line says why."""
    command = [sys.executable, "-c", "raise SystemExit('no keras here')"]
    with pytest.raises(MissingError, match="no keras here"):
        whole._seconds(command, tmp_path / "out")


@pytest.mark.parametrize("work", by_rows.WORKS)
def test_each_work_is_measured_as_it_grows(
    work: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """On as many rows as it says; what a process of its own holds: `growth/test_growth.py`."""
    material = Material(tmp_path, 300)
    file = material.pipeline
    if "score" in work:
        file = tmp_path / f"grown{'.csv' if 'CSV' in work else '.parquet'}"
        by_rows._write(material, file, 700)
    by_rows_worker.main([work, str(material.raw), str(file), "700"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1].partition("found: ")[2])
    assert found["seconds"] > 0
    if "score" in work:
        scores = file.with_name(f"scores{file.suffix}")
        rows = sum(len(block.rows) for block in read_blocks(scores, ["probability"]))
        assert rows == 700
