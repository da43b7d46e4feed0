"""Epochs among pages that nobody may touch: `python -m … LIBRARY SIZE …` of this module.

Each array ends where such a page begins, and in a second run begins where one ends; what is only
to be read cannot be written. A touch ends the process. Prints each size before it is tried.
"""

from __future__ import annotations

import ctypes
import random
import sys
from ctypes import byref, c_int64, c_uint32
from typing import Any

from parity_tests.sides.guard_pages import between_guards
from torch_impl.training.native import TOTALS, EpochShare, Job

ROWS, BATCH = 67, 65  # a tile of rows and one, and then two: each remainder of rows by four
STEPS, FLOATS = 2, {"float": ctypes.c_float, "double": ctypes.c_double}
SHARES = {"full": EpochShare(0, 0, 2, 2), "last": EpochShare(0, 0, 1, 1)}  # a slot for each tile


def _answers(library: ctypes.CDLL, size: str, last: bool, weighted: bool) -> list[bytes]:
    features, hidden_units, name = size.split("_")
    f, h, real = int(features), int(hidden_units), FLOATS[name]
    draw = random.Random(1)
    sizes = (c_int64 * 3)()
    library[f"epoch_sizes_{size}"](sizes)
    slot_bytes, weights_bytes, levels = sizes

    def numbers(count: int, room: int = 0) -> Any:
        array = (real * max(count, room // ctypes.sizeof(real)))()
        array[:count] = [draw.uniform(0, 1) for _ in range(count)]
        return array

    count = f * h + 2 * h + 1
    x, y = numbers(ROWS * f), (real * ROWS)(*(draw.randrange(2) for _ in range(ROWS)))
    read = {
        "x": x, "y": y, "weight": numbers(ROWS), "streams": (c_uint32 * (4 * STEPS))(*range(8)),
        "adam": (real * 6)(0.5, 0.9, 0.999, 0.1, 0.001, 1e-7), "scale": (real * 1)(2),
    }  # fmt: skip
    written = {name: numbers(count, weights_bytes) for name in ("weights", "momentum", "velocity")}
    written |= {name: (ctypes.c_byte * TOTALS.itemsize)() for name in ("totals", "evaluated")}
    scratch = {
        "slots": (ctypes.c_byte * (2 * slot_bytes))(),
        "parts": (ctypes.c_byte * (levels * slot_bytes))(),
    }
    at = {name: between_guards(array, last, False) for name, array in read.items()}
    at |= {name: between_guards(a, last, True) for name, a in (written | scratch).items()}
    evaluated, weight = at.pop("evaluated"), at.pop("weight")
    job = Job(
        **at, **SHARES, weight=weight if weighted else None, rows=ROWS, batch=BATCH, training=1,
        shift_left=9, threshold=2**22, metrics=1,
    )  # fmt: skip
    library[f"epoch_run_{size}"](byref(job))
    alone = {name: at[name] for name in ("x", "y", "weights", "scale", *scratch)}
    measured = Job(**alone, full=SHARES["full"], totals=evaluated, rows=ROWS, batch=ROWS)
    library[f"epoch_run_{size}"](byref(measured))
    at["evaluated"] = evaluated
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
