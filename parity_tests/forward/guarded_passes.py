"""Passes over rows among pages that nobody may touch: `python -m … ORDER SCALING SCORING`.

The three are compiled libraries, the last for 5 features and 8 hidden units in float32. Each array
ends where such a page begins, and in a second run begins where one ends; what is only to be read
cannot be written. Prints each number of rows before it is tried.
"""

from __future__ import annotations

import ctypes
import random
import sys
from collections.abc import Iterator
from ctypes import c_char, c_double, c_float, c_int64, c_uint32, c_void_p
from typing import Any

from parity_tests.sides.guard_pages import between_guards

FEATURES, HIDDEN, ROUND = 5, 8, 8
ROWS = (1, 7, 8, 9, 63, 64, 65, 67)


class Scaling(ctypes.Structure):
    """`struct Scaling` of the header, written down once more."""

    _fields_ = (
        ("means", c_void_p), ("scales", c_void_p), ("columns", c_int64), ("logged", c_int64),
        ("clip", c_double),
    )  # fmt: skip


def _numbers(kind: Any, count: int) -> Any:
    draw = random.Random(count)
    return (kind * count)(*(draw.uniform(0.5, 2) for _ in range(count)))


def _answers(libraries: list[ctypes.CDLL], rows: int, last: bool) -> Iterator[bytes]:
    order, scaling, scoring = libraries

    def read(array: Any) -> c_void_p:
        return between_guards(array, last, False)

    def written(array: Any) -> tuple[c_void_p, int]:
        return between_guards(array, last, True), ctypes.sizeof(array)

    places, size = written((c_int64 * rows)())
    words = read((c_uint32 * 2)(1, 2)), read((c_uint32 * 2)(3, 4))
    order.shuffle(places, c_int64(rows), *words)
    yield ctypes.string_at(places.value, size)
    for width in (1, 4, 20, 116):
        table = read((c_char * (rows * width))(*(i % 256 for i in range(rows * width))))
        taken, size = written((c_char * (rows * width))())
        order.take(table, places, c_int64(rows), c_int64(width), taken)
        yield ctypes.string_at(taken.value, size)
    x, logarithms = read(_numbers(c_double, rows * FEATURES)), read(_numbers(c_double, rows))
    weights = read(_numbers(c_float, FEATURES * HIDDEN + 2 * HIDDEN + 1))
    for logged in (-1, 0, FEATURES - 1):
        statistics = [read(_numbers(c_double, ROUND * FEATURES)) for _ in range(2)]
        told = Scaling(*statistics, FEATURES, logged, 5.0)
        given = ctypes.byref(told), x, logarithms if logged >= 0 else None, c_int64(rows)
        for name, kind in (("scale_to_float", c_float), ("scale_to_double", c_double)):
            features, size = written((kind * (rows * FEATURES))())
            scaling[name](*given, features)
            yield ctypes.string_at(features.value, size)
        found, size = written((c_float * rows)())
        scoring.probabilities(*given, weights, c_float(0.5), found)
        yield ctypes.string_at(found.value, size)


def main(paths: list[str]) -> None:
    """Runs them all; what is computed does not depend on where the arrays lie."""
    libraries = [ctypes.CDLL(path) for path in paths]
    for rows in ROWS:
        print(rows, flush=True)
        assert [*_answers(libraries, rows, True)] == [*_answers(libraries, rows, False)]
    print("done")


if __name__ == "__main__":
    main(sys.argv[1:])
