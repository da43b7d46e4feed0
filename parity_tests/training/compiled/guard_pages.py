"""Epochs among pages that nobody may touch: `python -m … LIBRARY SIZE …` of this module.

Each array ends where such a page begins, and in a second run begins where one ends; what is only
to be read cannot be written. A touch ends the process. Prints each size before it is tried.
"""

from __future__ import annotations

import ctypes
import random
import sys
from ctypes import c_int, c_int64, c_uint32
from typing import Any

from parity_tests.sides.guard_pages import between_guards

ROWS, BATCH = 67, 65  # a tile of rows and one, and then two: each remainder of rows by four
STEPS, FLOATS = 2, {"float": ctypes.c_float, "double": ctypes.c_double}
TOTALS = c_int64 * (3 + 4 + 2 * 199)


def _answers(library: ctypes.CDLL, size: str, last: bool, weighted: bool) -> list[bytes]:
    features, hidden_units, name = size.split("_")
    f, h, real = int(features), int(hidden_units), FLOATS[name]
    draw = random.Random(1)

    def numbers(count: int) -> Any:
        return (real * count)(*(draw.uniform(0, 1) for _ in range(count)))

    count = f * h + 2 * h + 1
    x, y = numbers(ROWS * f), (real * ROWS)(*(draw.randrange(2) for _ in range(ROWS)))
    read = {
        "x": x, "y": y, "weight": numbers(ROWS), "streams": (c_uint32 * (4 * STEPS))(*range(8)),
        "adam": (real * 6)(0.5, 0.9, 0.999, 0.1, 0.001, 1e-7),
    }  # fmt: skip
    written = {name: numbers(count) for name in ("w", "m", "v")}
    written |= {"totals": TOTALS(), "evaluated": TOTALS()}
    at = {name: between_guards(array, last, False) for name, array in read.items()}
    at |= {name: between_guards(array, last, True) for name, array in written.items()}
    library[f"train_epoch_{size}"](
        at["x"], at["y"], at["weight"] if weighted else None, c_int64(ROWS), c_int64(BATCH),
        at["w"], at["m"], at["v"], c_int64(0), at["adam"], at["streams"],
        c_int(9), c_uint32(2**22), real(2), c_int(1), at["totals"],
    )  # fmt: skip
    library[f"evaluate_{size}"](at["x"], at["y"], c_int64(ROWS), at["w"], at["evaluated"])
    return [ctypes.string_at(at[name].value, ctypes.sizeof(a)) for name, a in written.items()]


def main(path: str, sizes: list[str]) -> None:
    """Runs them all; what is computed does not depend on where the arrays lie."""
    library = ctypes.CDLL(path)
    for size in sizes:
        print(size, flush=True)
        for weighted in (True, False):
            assert _answers(library, size, True, weighted) == _answers(
                library, size, False, weighted
            )
    print("done")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
