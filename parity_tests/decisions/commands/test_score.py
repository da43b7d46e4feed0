"""`score`: a row out for each row in, in order, with the pipeline's very probabilities."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

from parity_tests.decisions.commands.trained_models import ROWS, Spoken, Table, Trained
from torch_impl import save_pipeline, scoring
from torch_impl.commands import csv_blocks, tables

BLOCK = 512


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the rows are some blocks, each of several parts of a CSV."""
    assert tables.ROWS % scoring._PART == 0
    monkeypatch.setattr(csv_blocks, "_BYTES", 1 << 16)
    monkeypatch.setattr(tables, "ROWS", BLOCK)
    monkeypatch.setattr(scoring, "_PART", BLOCK)


def scored(path: Path) -> pd.DataFrame:
    """What `score` wrote, numbers of a CSV as their texts say."""
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pandas()
    frame = pd.read_csv(path, dtype=str)
    kinds = {"probability": np.float32, "decision": np.int8}
    return pd.DataFrame({
        name: frame[name].to_numpy(str).astype(kinds.get(name, np.float64)) for name in frame
    })  # fmt: skip


def expected(trained: Trained, table: Table) -> np.ndarray:
    """(N,) float32, of the whole table at once."""
    return trained.pipeline().predict_proba(table.raw()).numpy().ravel()


def written(form: str, table: Table, folder: Path) -> Path:
    """The table in another form."""
    if form == ".csv":
        return table.path
    text = table.path.read_bytes()
    path = folder / f"rows{form}"
    if form == ".csv.gz":
        path.write_bytes(gzip.compress(text[:700_000], 1) + gzip.compress(text[700_000:], 1))
    else:
        parquet.write_table(pyarrow.Table.from_pandas(table.frame), path, row_group_size=397)
    return path


@pytest.mark.parametrize(
    ("form", "out"), [(".csv", ".csv"), (".csv.gz", ".parquet"), (".parquet", ".csv.gz")]
)
def test_a_row_comes_out_for_each_row_in_order(
    form: str, out: str, table: Table, trained: dict[str, Trained], tmp_path: Path,
    spoken: Spoken,
) -> None:  # fmt: skip
    """To the bit, over the ends of parts and groups, with the columns that are kept."""
    model, path = trained["class-weights"], tmp_path / f"scores{out}"
    source = written(form, table, tmp_path)
    assert spoken("score", model.model, source, path, "--keep", "Time, Amount")[::2] == (0, [])
    came = scored(path)
    assert list(came) == ["Time", "Amount", "probability", "decision"]
    for name in ("Time", "Amount"):
        np.testing.assert_array_equal(came[name], table.frame[name])
    probabilities = expected(model, table)
    np.testing.assert_array_equal(came["probability"].to_numpy(), probabilities, strict=True)
    np.testing.assert_array_equal(
        came["decision"].to_numpy(), (probabilities > np.float32(0.5)).astype(np.int8), strict=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("rows", [30_000, 140_000])
def test_a_large_table_is_scored_to_the_bits_of_predict_proba(
    rows: int, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Its last rows too, whether compiled code scores the whole of it or not."""
    monkeypatch.undo()
    pipeline, source = trained["none"].pipeline(), tmp_path / "rows.parquet"
    numbers = np.random.default_rng(0).integers(0, 99, size=(rows, 29)) / 16
    pd.DataFrame(numbers, columns=pipeline.columns).to_parquet(source)
    assert spoken("score", trained["none"].model, source, tmp_path / "scores.parquet")[0] == 0
    came = scored(tmp_path / "scores.parquet")["probability"].to_numpy()
    np.testing.assert_array_equal(came, pipeline.predict_proba(numbers).numpy().ravel())


def test_columns_may_come_in_another_order_among_others(
    table: Table, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken
) -> None:
    """And rows need no label."""
    frame = table.frame.drop(columns="Class")[:50].assign(note='a "b",\nc')
    source, path = tmp_path / "turned.csv", tmp_path / "scores.csv"
    frame[frame.columns[::-1]].to_csv(source, index=False)
    assert spoken("score", trained["none"].model, source, path)[0] == 0
    probabilities = trained["none"].pipeline().predict_proba(table.raw()[:50]).numpy().ravel()
    np.testing.assert_array_equal(scored(path)["probability"], probabilities)


@pytest.mark.parametrize("rate", ["0.3", "as-trained"])
def test_another_base_rate_shifts_the_log_odds_of_what_is_written(
    rate: str, table: Table, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken
) -> None:
    """And leaves the model's file as it is."""
    model, path = trained["class-weights"], tmp_path / "scores.parquet"
    before = model.model.read_bytes()
    assert spoken("score", model.model, table.path, path, "--base-rate", rate)[0] == 0
    pipeline = model.pipeline()
    if rate == "as-trained":
        pipeline.log_odds_shift = 0.0
    else:
        pipeline.set_base_rate(float(rate))
    came = scored(path)["probability"].to_numpy()
    np.testing.assert_array_equal(came, pipeline.predict_proba(table.raw()).numpy().ravel())
    assert not np.array_equal(came, expected(model, table))
    assert model.model.read_bytes() == before


def test_a_row_at_the_threshold_is_no_alert(
    table: Table, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken
) -> None:
    """Only what is above it."""
    pipeline, path = trained["none"].pipeline(), tmp_path / "scores.parquet"
    own = np.sort(expected(trained["none"], table))[-20]
    pipeline.threshold = float(own)
    save_pipeline(pipeline, tmp_path / "m.safetensors")
    assert spoken("score", tmp_path / "m.safetensors", table.path, path)[0] == 0
    came = scored(path)
    assert came["decision"].sum() == (came["probability"] > own).sum() == 19


def test_what_it_says_it_did_it_did(
    table: Table, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken
) -> None:
    """Rows and alerts, as a person reads them."""
    path = tmp_path / "scores.csv"
    _, out, _ = spoken("score", trained["none"].model, table.path, path)
    alerts = int((expected(trained["none"], table) > 0.5).sum())
    lines = [line.split() for line in out.splitlines()[-2:]]
    assert lines == [["rows", "alerts", "above"],
                     [f"{ROWS:,}", str(alerts), f"({alerts / ROWS:.2%})", "0.5"]]  # fmt: skip


def test_a_bad_row_leaves_the_old_file(
    table: Table, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken
) -> None:
    """Also where it comes after parts that were written; nothing is left lying about."""
    source, path = tmp_path / "rows.csv", tmp_path / "scores.csv"
    lines = table.path.read_text("utf-8").splitlines()
    lines[2300] = lines[2300].replace(",", ",x", 1)
    source.write_text("\n".join(lines), "utf-8")
    path.write_text("kept", "utf-8")
    status, out, (line,) = spoken("score", trained["none"].model, source, path)
    assert (status, out) == (2, "")
    assert line.startswith(f"error: {source}: row 2300 (line 2301), column 'V1': 'x")
    assert path.read_text("utf-8") == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.csv", "scores.csv"]
