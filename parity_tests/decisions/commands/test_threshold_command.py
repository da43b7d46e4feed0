"""`threshold`: what it writes is what brute force finds, and `score` then keeps the promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pyarrow import parquet

from parity_tests.decisions.commands.trained_models import (
    FRAUDS,
    ROWS,
    Spoken,
    Table,
    Trained,
    content,
)


class Called(NamedTuple):
    """What one threshold calls fraud."""

    alerts: int
    right: int
    wrong: int


class Brute(NamedTuple):
    """Every set of rows that a threshold can call fraud, counted one by one."""

    every: list[Called]
    frauds: int
    days: float

    def chosen(self, wish: dict[str, float]) -> Called:
        """By the wish's own words."""
        match wish:
            case {"miss": miss, "false-alarm": alarm}:
                cost = [miss * (self.frauds - c.right) + alarm * c.wrong for c in self.every]
                least = min(cost)
                cheapest = [c for c, its in zip(self.every, cost, strict=True) if its == least]
                return min(cheapest, key=lambda c: c.alerts)
            case {"precision": share}:
                enough = [c for c in self.every if c.alerts and c.right / c.alerts >= share]
                return max(enough, key=lambda c: (c.right, -c.alerts))
            case {"recall": share}:
                enough = [c for c in self.every if c.right / self.frauds >= share]
                return min(enough, key=lambda c: c.alerts)
            case {"alerts-per-day": most, **rest}:
                days = rest.get("days", self.days)
                return max(
                    (c for c in self.every if c.alerts <= most * days), key=lambda c: c.alerts
                )
        raise ValueError(wish)


@pytest.fixture(scope="module")
def brute(table: Table, trained: dict[str, Trained]) -> Brute:
    p = trained["class-weights"].pipeline().predict_proba(table.raw()).numpy().ravel()
    frauds = table.frame["Class"].to_numpy() == 1
    every = []
    for threshold in (1.0, *np.unique(p)[::-1], -1.0):
        called = p > threshold
        every.append(
            Called(int(called.sum()), int(called[frauds].sum()), int(called[~frauds].sum()))
        )
    seconds = table.frame["Time"]
    return Brute(every, int(frauds.sum()), (seconds.max() - seconds.min()) / 86_400)


WISHES: dict[str, dict[str, float]] = {
    "a miss costs fifty false alarms": {"miss": 125, "false-alarm": 2.5},
    "a miss costs nothing": {"miss": 0, "false-alarm": 1},
    "a false alarm costs nothing": {"miss": 1, "false-alarm": 0},
    "nearly all alerts right": {"precision": 0.95},
    "nine of ten frauds": {"recall": 0.9},
    "forty alerts a day": {"alerts-per-day": 40},
    "seven alerts a day in three days": {"alerts-per-day": 7, "days": 3},
}


def words(wish: dict[str, float]) -> list[str]:
    """As options."""
    return [word for name, number in wish.items() for word in (f"--{name}", str(number))]


@pytest.mark.parametrize("wish", WISHES)
def test_the_threshold_is_what_brute_force_finds_and_score_keeps_it(
    wish: str, brute: Brute, table: Table, trained: dict[str, Trained], tmp_path: Path,
    spoken: Spoken,
) -> None:  # fmt: skip
    """The counts that are told, and as many decisions in what `score` then writes."""
    model, scores = tmp_path / "m.safetensors", tmp_path / "scores.parquet"
    model.write_bytes(trained["class-weights"].model.read_bytes())
    expected = brute.chosen(WISHES[wish])
    status, out, error = spoken("threshold", model, table.path, *words(WISHES[wish]), "--json")
    assert (status, error) == (0, [])
    told: dict[str, Any] = json.loads(out)
    after = told["after"]
    assert told["written"]
    assert (after["alerts"], after["true_positives"]) == expected[:2]
    assert (after["rows"], after["positives"]) == (ROWS, FRAUDS)
    assert spoken("score", model, table.path, scores)[0] == 0
    written = parquet.read_table(scores).to_pandas()
    assert written["decision"].sum() == expected.alerts
    called = written["probability"] > np.float32(after["threshold"])
    np.testing.assert_array_equal(called, written["decision"] == 1)


def test_all_else_in_the_file_stays(
    table: Table, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken
) -> None:
    """And with --dry-run the threshold too."""
    model = tmp_path / "m.safetensors"
    before = trained["class-weights"].model.read_bytes()
    model.write_bytes(before)
    assert spoken("threshold", model, table.path, "--recall", "0.9", "--dry-run")[0] == 0
    assert model.read_bytes() == before
    assert spoken("threshold", model, table.path, "--recall", "0.9")[0] == 0
    facts, numbers = content(trained["class-weights"].model)
    facts_now, numbers_now = content(model)
    assert facts_now == facts
    changed = {name for name, value in numbers.items() if numbers_now[name] != value}
    assert changed == {"_threshold"}


def test_a_base_rate_is_written_with_the_threshold_that_was_chosen_for_it(
    table: Table, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken
) -> None:
    """Or `score` would call others fraud than were counted."""
    model, scores = tmp_path / "m.safetensors", tmp_path / "scores.parquet"
    model.write_bytes(trained["class-weights"].model.read_bytes())
    _, out, _ = spoken(
        "threshold", model, table.path, "--recall", "0.8", "--base-rate", "0.3", "--json"
    )
    assert spoken("score", model, table.path, scores)[0] == 0
    decisions = parquet.read_table(scores, columns=["decision"]).to_pandas()["decision"]
    assert json.loads(out)["after"]["alerts"] == decisions.sum()


def test_alerts_a_day_need_no_labels(
    table: Table, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken
) -> None:
    """The days are those that Time spans, or what --days says; without either it is told."""
    model, rows = tmp_path / "m.safetensors", tmp_path / "rows.csv"
    model.write_bytes(trained["none"].model.read_bytes())
    table.frame.drop(columns="Class").to_csv(rows, index=False)
    status, out, _ = spoken("threshold", model, rows, "--alerts-per-day", "10", "--json")
    assert (status, set(json.loads(out)["after"])) == (0, {"threshold", "alerts", "rows"})
    table.frame.drop(columns=["Class", "Time"]).to_csv(rows, index=False)
    assert spoken("threshold", model, rows, "--alerts-per-day", "10", "--days", "2")[0] == 0
    assert spoken("threshold", model, rows, "--alerts-per-day", "10") == (
        2, "", [f"error: {rows}: has no column 'Time'; expected it, or --days"],
    )  # fmt: skip


def test_before_and_after_stand_side_by_side(
    table: Table, trained: dict[str, Trained], tmp_path: Path, spoken: Spoken
) -> None:
    """As a person reads them."""
    model = tmp_path / "m.safetensors"
    model.write_bytes(trained["none"].model.read_bytes())
    _, out, _ = spoken("threshold", model, table.path, "--recall", "1")
    lines = [line.split() for line in out.splitlines()]
    assert ["threshold", "alerts", "precision", "recall"] in lines
    assert [line[0] for line in lines if line[0] in ("before", "after")] == ["before", "after"]
    assert " ".join(out.split()).endswith("has the new threshold")
