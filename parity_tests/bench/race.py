"""Contestants take turns, round by round, and are told apart by the ratios of each round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from parity_tests.reference.keras_process import KerasUnavailableError

__all__ = ["Comparison", "Contestant", "MissingError", "Rounds", "Standing", "race", "seconds_of"]


class MissingError(RuntimeError):
    """A contestant cannot run here; one line says why."""


class Contestant(NamedTuple):
    """Something that does the work."""

    key: str
    """What `--against` calls it."""
    start: Callable[[], Callable[[], float]]
    """Gets it ready and gives what measures it once, in seconds."""
    slow: bool = False
    """Whether it takes part in the first rounds alone."""


class Rounds(NamedTuple):
    """How often each is measured, and who is."""

    all: int
    of_slow: int
    against: Collection[str] | None = None
    """Keys of those that take part beside the first; all if None."""


class Standing(NamedTuple):
    """How one contestant did."""

    key: str
    seconds: list[float]
    """Of each round; none where it is missing."""
    ratios: list[float]
    """To the first contestant, of the same round."""
    missing: str = ""

    def facts(self) -> dict[str, Any]:
        """As data: medians, and the smallest and the largest ratio."""
        if not self.seconds:
            return {"who": self.key, "missing": self.missing}
        return {
            "who": self.key,
            "ms": 1e3 * statistics.median(self.seconds),
            "ratio": statistics.median(self.ratios),
            "smallest": min(self.ratios),
            "largest": max(self.ratios),
            "rounds": len(self.seconds),
        }


class Comparison(NamedTuple):
    """One kind of work."""

    what: str
    standings: list[Standing]
    """`torch_impl` first."""
    alone: Mapping[str, float]
    """Seconds that its bytes, its flops, … would take alone."""

    def facts(self) -> dict[str, Any]:
        """As data."""
        return {
            "what": self.what,
            "standings": [standing.facts() for standing in self.standings],
            "alone_ms": {name: 1e3 * seconds for name, seconds in self.alone.items()},
        }


def race(
    what: str,
    contestants: Sequence[Contestant],
    rounds: Rounds,
    alone: Mapping[str, float],
    warm: bool = True,
) -> Comparison:
    """Measures all in turn.

    Args:
        what: the work, for the reader.
        contestants: the first is what the others are compared with.
        rounds: how often each is measured.
        alone: seconds that the machine needs for parts of the work, whoever does it.
        warm: whether each does the work once before it is measured.

    Raises:
        MissingError: the first contestant cannot run; another's place says so.
    """
    first, *others = contestants
    chosen = [first]
    chosen += [c for c in others if rounds.against is None or c.key in rounds.against]
    standings = {contestant.key: Standing(contestant.key, [], [], "") for contestant in chosen}
    measures: dict[str, Callable[[], float]] = {}
    for number in range(-1, max(rounds.all, rounds.of_slow)):
        for key, start, slow in chosen:
            standing = standings[key]
            try:
                if number < 0:
                    measures[key] = start()
                    if warm:
                        measures[key]()
                elif number < (rounds.of_slow if slow else rounds.all) and not standing.missing:
                    seconds = measures[key]()
                    standing.seconds.append(seconds)
                    standing.ratios.append(seconds / standings[first.key].seconds[number])
            except (MissingError, KerasUnavailableError) as error:
                if key == first.key:
                    raise
                standings[key] = Standing(key, [], [], str(error))
    return Comparison(what, list(standings.values()), alone)


def seconds_of(work: Callable[[], Any]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
