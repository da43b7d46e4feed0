"""`python -m parity_tests`: the table, the JSON, the exit statuses."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import parity_tests.__main__ as command
from data import synthetic
from parity_tests.judge.agreement import exact
from parity_tests.reference import keras_process
from parity_tests.reference.markers import RANDOM_STREAM
from parity_tests.report.table import as_json, print_report

NAME = "<script>alert(1)</script>".replace("/", "∕")  # a slash that a file name may hold


@pytest.mark.keras
@RANDOM_STREAM
@pytest.mark.slow
def test_report_on_a_csv_agrees_in_table_json_and_page(
    tmp_path: Path, lent: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> None:  # fmt: skip
    """Exit status 0, one row per stage in each, the same numbers, nothing on standard error."""
    monkeypatch.setattr(keras_process, "KerasProcess", lent)
    rows = tmp_path / f"{NAME} & co.csv"
    synthetic(seed=1, rows=3000, positives=150).to_csv(rows, index=False)
    out = {kind: tmp_path / f"r.{kind}" for kind in ("json", "html")}
    arguments = ("--csv", rows, "--json", out["json"], "--html", out["html"], "--seed", "3")
    status = command.main(list(map(str, arguments)))
    printed, told = capfd.readouterr()
    assert (status, told) == (0, ""), printed
    assert sorted(tmp_path.iterdir()) == sorted([rows, *out.values()])

    found = json.loads(out["json"].read_text())
    assert found["verdict"] == "agree"
    assert found["data"] == {"source": str(rows), "rows": 3000, "positives": 150}
    assert {"python", "numpy", "torch", "keras", "tensorflow"} <= set(found["versions"])
    fields = ["stage", "kind", "max_abs", "max_ulp", "bitwise_equal", "allowance_used", "agree"]
    for stage in found["stages"]:
        assert list(stage) == fields
        assert stage["agree"] is True
        assert 0 <= stage["bitwise_equal"] <= 1
        if stage["kind"] == "exact":
            assert (stage["max_abs"], stage["allowance_used"]) == (0, None)
        else:
            assert 0 < stage["allowance_used"] <= 1
        assert all(part in printed for part in stage["stage"].split(": "))
    names = [stage["stage"] for stage in found["stages"]]
    assert len(names) == len(set(names))
    assert f"agree in all {len(names)} stages" in printed

    page = out["html"].read_text(encoding="utf-8")
    assert f"agree in all {len(names)} stages" in page
    for stage in found["stages"]:
        assert stage["stage"].rpartition(": ")[2] in page
        if stage["max_abs"]:
            assert f"<td>{stage['max_abs']:.1e}</td>" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;∕script&gt; &amp; co.csv" in page
    assert "python -m parity_tests --csv &#x27;" in page
    for kind, version in found["versions"].items():
        assert f"<dt>{kind}</dt><dd>{version}</dd>" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--csv", "absent.csv"], "absent.csv"),
        (["--csv", ""], "--csv: came empty; expected the name of a file"),
        (["--csv", "README.md"], "README.md"),
        (["--json", "no/such/folder/r.json"], "is not a folder"),
        (["--seed", "-1"], "--seed -1: expected 0 to"),
        (["--seed", "x"], "invalid int value: 'x'"),
        (["--epochs", "0"], "--epochs 0: expected at least 1"),
        (["--csv", "a.csv", "--download"], "not allowed with"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_input_exits_with_2_and_one_line(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture
) -> None:
    """One clear line on standard error, nothing on standard output."""
    try:
        status = command.main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    printed = capfd.readouterr()
    assert status == 2
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert message in printed.err


def test_a_column_missing_in_the_file_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """Bad data is bad input: the line names file and column."""
    path = tmp_path / "no_amount.csv"
    synthetic(rows=300, positives=15).rename(columns={"Amount": "Betrag"}).to_csv(path, index=False)
    status = command.main(["--csv", str(path)])
    printed, told = capfd.readouterr()
    assert (status, printed, len(told.splitlines())) == (2, "", 1)
    assert "no_amount.csv" in told
    assert "Amount" in told


def test_table_fits_a_terminal_of_80_columns_and_says_where_it_breaks() -> None:
    """Nothing is cut off, and the failing element stands below the table."""
    results = [
        exact("random weights: hidden pre-activations", np.float32([1]), np.float32([1])),
        exact("exact probes: logits", np.float32([1, 2]), np.float32([1, 2.5])),
    ]
    out = io.StringIO()
    print_report(
        results, {"source": "s", "rows": 2, "positives": 1}, {}, Console(file=out, width=80)
    )
    text = out.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "random weights" in text
    assert "  hidden pre-activations" in text
    assert "at [1]: PyTorch 2, Keras 2.5" in text.replace("\n", " ")
    assert "differ in 1 of 2 stages" in text


def test_json_has_null_where_a_number_is_not_finite() -> None:
    """Strict JSON readers refuse NaN and Infinity."""
    result = exact("s", np.float32([1]), np.float32([1, 2]))
    text = json.dumps(as_json([result], {}, {}), allow_nan=False)
    assert json.loads(text)["stages"][0]["max_abs"] is None
