"""Mutations of valid Keras files: each must be read rightly or refused with one clear error.

`python -m parity_tests.fuzz --cases 20000 --seed 1` runs as many as one likes; the suite runs a
few thousand. The mutations know the structure: numbers inside HDF5 headers become extreme,
values inside the JSON change type, and the zip's checksums are made right again.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
import tempfile
import time
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from parity_tests.files.committed import FOLDER
from parity_tests.files.hostile import members_of, zipped
from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.reading import read_keras

__all__ = ["Outcome", "bent", "run"]

_EXTREMES = (0, 1, 7, 127, 128, 255, 2**16 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**40, 10**30, 0.5, -0.5, 1e308, "", "x", "relu", "../x", [], {}, [[]],
    {"class_name": "Lambda"}, "\0", "é" * 300, ["a", 0, 0], float("nan"),
)  # fmt: skip


class Outcome(NamedTuple):
    """What a run of mutations gave."""

    read: int
    refused: int
    slowest_seconds: float
    peak_bytes: int


def seeds() -> list[bytes]:
    """Valid files of every format, small ones."""
    names = (
        "keras_3.15.1/functional.keras", "keras_2.12.0/classic_zip.keras",
        "keras_3.15.1/classic.weights.h5", "keras_2.12.0/classic.weights.h5",
        "keras_3.15.1/classic.h5", "keras_2.10.0/classic.h5", "keras_2.15.0/deep_weights.h5",
    )  # fmt: skip
    return [(FOLDER / name).read_bytes() for name in names]


def run(cases: int, seed: int, traced: bool = True) -> Outcome:
    """Runs mutations.

    Args:
        cases: how many.
        seed: of them.
        traced: whether memory is measured, which takes four times as long.

    Raises:
        AssertionError: one was neither read nor refused with a `KerasFileError`;
            the message has its seed.
    """
    counts: Counter[str] = Counter()
    slowest, files = 0.0, seeds()
    if traced:
        tracemalloc.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fuzzed.bin"
            for case in range(cases):
                draw = random.Random(f"{seed}/{case}")
                path.write_bytes(_mutated(draw, draw.choice(files)))
                start = time.process_time()
                try:
                    read_keras(path)
                    counts["read"] += 1
                except KerasFileError:
                    counts["refused"] += 1
                except Exception as error:
                    raise AssertionError(f"seed {seed}, case {case}: {error!r}") from error
                slowest = max(slowest, time.process_time() - start)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return Outcome(counts["read"], counts["refused"], slowest, peak)


def _mutated(draw: random.Random, content: bytes) -> bytes:
    if content[:2] == b"PK" and draw.random() < 0.9:
        return _mutated_archive(draw, content)
    return bent(draw, content)


def _mutated_archive(draw: random.Random, content: bytes) -> bytes:
    """One member changed and the archive whole again."""
    members = members_of(content)
    name = draw.choice([*members, "config.json", "model.weights.h5"])
    if name.endswith(".json") and draw.random() < 0.9:
        value = json.loads(members[name])
        for _ in range(draw.choice((1, 1, 2, 5))):
            _mutate_value(draw, value)
        members[name] = json.dumps(value).encode()
    elif draw.random() < 0.05:
        del members[name]
    else:
        members[name] = bent(draw, members[name])
    kind = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    return zipped(members, kind)


def _mutate_value(draw: random.Random, value: Any) -> None:
    """Changes something somewhere inside a JSON object or list."""
    places = list(_places(value))
    if not places:
        return
    holder, key = draw.choice(places)
    action = draw.random()
    if action < 0.6:
        holder[key] = copy.deepcopy(draw.choice(_VALUES))
    elif action < 0.75:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(key, holder[key])
    else:
        other_holder, other = draw.choice(places)
        holder[key] = json.loads(json.dumps(other_holder[other]))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys: Any = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


def bent(draw: random.Random, content: bytes) -> bytes:
    """Bytes changed, cut off, put in or taken from elsewhere, in a place or several."""
    changed = bytearray(content or b"\0")
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        at, action = draw.randrange(len(changed)), draw.random()
        if action < 0.35:
            changed[at] ^= 1 << draw.randrange(8)
        elif action < 0.5:
            changed[at] = draw.randrange(256)
        elif action < 0.75:  # where HDF5 has its addresses and sizes
            at -= at % 8
            number = draw.choice((*_EXTREMES, len(changed), draw.randrange(len(changed))))
            changed[at : at + 8] = number.to_bytes(8, "little")
        elif action < 0.85:
            start, size = draw.randrange(len(changed)), draw.randrange(1, 200)
            changed[at : at + size] = changed[start : start + size]
        elif action < 0.88:
            changed[at:at] = draw.randbytes(draw.randrange(1, 12))
        elif action < 0.94:
            del changed[at : at + draw.randrange(1, 100)]
        else:
            del changed[at:]
        if len(changed) < 8:
            break
    return bytes(changed)


def main() -> None:
    """Runs and prints the counts."""
    parser = argparse.ArgumentParser(prog="python -m parity_tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="how many (default 20,000)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (default 1)")
    options = parser.parse_args()
    if options.cases < 1:
        parser.error("expected --cases of at least 1")
    try:
        outcome = run(options.cases, options.seed)
    except AssertionError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    print(
        f"{options.cases:,} mutations, seed {options.seed}: {outcome.read:,} read, "
        f"{outcome.refused:,} refused; slowest {outcome.slowest_seconds:.3f} s, "
        f"memory {outcome.peak_bytes / 2**20:.1f} MiB at most"
    )


if __name__ == "__main__":
    main()
