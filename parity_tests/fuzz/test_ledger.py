"""The ledger gives each byte of a file once, and counts steps."""

from __future__ import annotations

import random

import pytest

from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.ledger import Ledger


# The ledger itself.
def test_a_ledger_gives_each_byte_once() -> None:
    """Against a row of flags, one a byte: what is taken is refused, whatever part of it."""
    for seed in range(20):
        draw, size = random.Random(seed), 60
        ledger, taken = Ledger(size, "file"), [False] * size
        for _ in range(60):
            at, count = draw.randrange(-3, size + 3), draw.choice((0, 1, 1, 2, 5, 17, size))
            inside = at >= 0 and at + count <= size
            free = inside and not any(taken[at : at + count])
            if free:
                ledger.claim(at, count, "part")
                taken[at : at + count] = [True] * count
            else:
                why = "stands where something else does" if inside else "expected it within"
                with pytest.raises(KerasFileError, match=why):
                    ledger.claim(at, count, "part")


def test_a_ledger_counts_steps_and_what_is_made() -> None:
    """To the last that it has, and no further."""
    ledger = Ledger(10, "file", 13)
    ledger.step(1)
    ledger.produce(20, "twice the file")
    ledger.claim(0, 0, "nothing")
    ledger.claim(0, 10, "all")
    with pytest.raises(KerasFileError, match=r"^file: has too many parts: more than 13 steps to"):
        ledger.step()
    error = "^file: it of 1 bytes would make more than 2 times the file's 10; expected each byte"
    ledger = Ledger(10, "file")
    ledger.produce(20, "it")
    with pytest.raises(KerasFileError, match=error):
        ledger.produce(1, "it")
