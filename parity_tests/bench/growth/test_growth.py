"""Growth: each work in processes of its own, rows counted; and the cost of a step of many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from parity_tests.bench.growth import by_processes, by_rows
from parity_tests.bench.growth.cost import Cost, Measured, fitted
from parity_tests.bench.material import Material
from parity_tests.bench.page import page
from parity_tests.bench.table import print_shared
from parity_tests.report.page.strict_html import faults


@pytest.mark.slow
def test_growth_has_a_process_of_its_own_and_leaves_no_table(tmp_path: Path) -> None:
    """What is held there is above its imports, and nothing of this process."""
    work = "score, Parquet"
    (found,) = by_rows.measure(Material(tmp_path, 300), [work], [700])
    assert (found.work, found.rows) == (work, 700)
    assert min(found.seconds, found.bytes) > 0
    assert {path.name for path in tmp_path.iterdir()} == {"raw.npy", "pipeline.safetensors"}


@pytest.mark.parametrize("lines", [699, 701])
def test_rows_that_are_lost_or_doubled_are_told(
    lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in the file that was written."""

    def answers(*_: Any) -> list[dict[str, Any]]:
        (tmp_path / "scores.csv").write_text("probability\n" + "0.5\n" * lines)
        return [{"seconds": 1.0, "bytes": 1}]

    monkeypatch.setattr(by_rows, "answers", answers)
    with pytest.raises(RuntimeError, match=f"score, CSV: {lines} rows; expected 700"):
        list(by_rows.measure(Material(tmp_path, 300), ["score, CSV"], [700]))


@pytest.mark.slow
def test_a_work_that_fails_says_why(tmp_path: Path) -> None:
    """In one line, the worker's."""
    with pytest.raises(RuntimeError, match=r"transform nothing\.npy.*FileNotFoundError"):
        by_rows.answers("by_rows_worker", ("transform", "nothing.npy", tmp_path / "x", 3))


COST = Cost(fixed=100, row=2, order=1, slot_bytes=10, message=1000, byte=3)


def test_the_cost_of_a_step_is_what_its_parts_cost() -> None:
    """As added up by hand; 1,000 rows are 16 tiles, and each of 16 subtrees is one of them."""
    assert COST.step(1000) == 100 + 1000 + 2000
    assert COST.step(1000, threads=2) == 100 + 1000 + 1000
    assert COST.step(1000, 2) == 100 + 1000 + 8 * 64 * 2 + 2 * 1000 + 160 * 3
    # Around the ring in six messages, each of a quarter of the bytes.
    assert COST.step(1000, 4) == 100 + 1000 + 4 * 64 * 2 + 6 * (1000 + 40 * 3)
    # Of 16 tiles three processes have six at most.
    assert COST.over(1000, 0).step(1000, 3) == 100 + 1000 + 6 * 64 * 2 + 4 * 1000
    # Of 32,768 rows or 512 tiles, 16 subtrees of 32 for two processes, and 64 of 8 for eight.
    assert COST.step(2**15, 2) == 100 + 2**15 + 2**14 * 2 + 2 * 1000 + 160 * 3
    assert COST.step(2**15, 8) == 100 + 2**15 + 2**12 * 2 + 14 * (1000 + 80 * 3)


def test_a_batch_pays_from_where_the_exchange_costs_less_than_the_rows_that_others_take() -> None:
    """Two processes send for 2,480 what 1,240 rows cost; then for nothing, and for ever."""
    assert COST.pays_from(2) == 4096
    assert COST.over(0, 0).pays_from(2) == 128
    assert COST.over(10**12, 0).pays_from(2) is None


def test_costs_are_found_from_what_was_measured() -> None:
    """Of lines of whole numbers, these."""
    alone = [Measured(batch, 100 + 3 * batch, batch) for batch in (64, 1000, 5000)]
    exchanges = [(size, 2000 + 3 * size) for size in (8, 64, 4096)]
    found = fitted(alone, exchanges, 10)
    assert {name: round(value) for name, value in vars(found).items()} == vars(COST)


@pytest.mark.slow
def test_steps_of_groups_are_measured_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Two processes agree with Keras, have the bits of one, and wait for each other a while."""
    found = by_processes.measure(Material(tmp_path, 400), (1, 2), (256, 1024), 2048, 20)
    assert [(a.processes, a.agree == a.stages) for a in found.agreed] == [(1, True), (2, True)]
    assert min(a.stages for a in found.agreed) > 50
    steps = {(s.path, s.batch, s.processes, s.threads): s for s in found.steps}
    assert len(steps) == 2 * 3 + 2 * 2
    for (path, batch, processes, _), step in steps.items():
        assert step.same_bits == ((path, processes) != ("eager", 2))
        # Nobody to wait for takes a moment, too: that of the call.
        assert processes == 1 or step.exchange > steps[path, batch, 1, 1].exchange
    assert found.cost.slot_bytes == 2112  # 497 weights and three sums, on lines of the cache
    print_shared(found, Console())
    assert "computed" in capsys.readouterr().out
    assert faults(page([], [], {}, found)) == []
