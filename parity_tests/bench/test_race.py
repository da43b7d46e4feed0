"""Contestants are measured in turn, and compared round by round."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parity_tests.bench.race import Comparison, Contestant, MissingError, Rounds, race
from parity_tests.bench.table import standing_rows


def takes(*seconds: float, log: list[float] | None = None) -> Callable[[], Callable[[], float]]:
    """What starts a contestant that takes these, one after the other."""

    def start() -> Callable[[], float]:
        left = list(seconds)

        def measure() -> float:
            (log if log is not None else []).append(left[0])
            return left.pop(0)

        return measure

    return start


def absent() -> Callable[[], float]:
    raise MissingError("skorch not installed")


def standing(comparison: Comparison, key: str) -> dict[str, object]:
    return next(found for found in comparison.facts()["standings"] if found["who"] == key)


def test_ratios_are_of_one_round() -> None:
    """Where the machine slowed down for both, nothing has changed."""
    both = [Contestant("ours", takes(1, 10, 2)), Contestant("theirs", takes(3, 40, 4))]
    found = standing(race("work", both, Rounds(3, 1), {}, warm=False), "theirs")
    assert found == {
        "who": "theirs", "ms": 4000, "ratio": 3, "smallest": 2, "largest": 4, "rounds": 3,
    }  # fmt: skip


def test_contestants_take_turns() -> None:
    """None is measured twice while another waits."""
    log: list[float] = []
    three = [Contestant(str(n), takes(n, n + 10, n + 20, log=log)) for n in (1, 2, 3)]
    race("work", three, Rounds(3, 3), {}, warm=False)
    assert log == [1, 2, 3, 11, 12, 13, 21, 22, 23]


def test_slow_ones_take_part_in_the_first_rounds_alone() -> None:
    """And are compared with these."""
    both = [Contestant("ours", takes(1, 2, 4)), Contestant("theirs", takes(5), slow=True)]
    found = standing(race("work", both, Rounds(3, 1), {}, warm=False), "theirs")
    assert (found["ratio"], found["rounds"]) == (5, 1)


def test_the_first_time_is_no_measurement() -> None:
    """Where contestants are to be warm."""
    both = [Contestant("ours", takes(100, 1)), Contestant("theirs", takes(100, 2))]
    assert standing(race("work", both, Rounds(1, 1), {}), "theirs")["ratio"] == 2


def test_who_is_missing_says_so_and_the_others_go_on() -> None:
    """In its place in the table."""
    three = [
        Contestant("ours", takes(1)),
        Contestant("skorch", absent),
        Contestant("theirs", takes(2)),
    ]
    found = race("work", three, Rounds(1, 1), {"bytes": 0.5}, warm=False)
    assert standing(found, "skorch") == {"who": "skorch", "missing": "skorch not installed"}
    assert standing_rows(found) == [
        ("ours", "1,000", "1", "1", "1"),
        ("skorch", "skorch not installed", "", "", ""),
        ("theirs", "2,000", "2", "2", "2"),
        ("bytes alone", "500", "0.5", "", ""),
    ]


def test_nothing_is_compared_with_nobody() -> None:
    """What others are compared with must be there."""
    both = [Contestant("ours", absent), Contestant("theirs", takes(2))]
    with pytest.raises(MissingError, match="skorch not installed"):
        race("work", both, Rounds(1, 1), {})


def test_who_is_not_asked_does_not_start() -> None:
    """But for the first."""
    both = [Contestant("ours", takes(1)), Contestant("theirs", absent)]
    found = race("work", both, Rounds(1, 1, against=()), {}, warm=False)
    assert [s["who"] for s in found.facts()["standings"]] == ["ours"]
