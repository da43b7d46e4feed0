"""Whatever is changed in a SavedModel, it is refused with a KerasFileError or read rightly."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parity_tests.files.committed import KERAS_3, bits
from parity_tests.files.hostile import SECONDS, good_saved_model
from parity_tests.files.tensorflow.bundle_writer import (
    Field,
    decode,
    encode,
    entries_block,
    repacked,
    table,
    text_tensor,
)
from parity_tests.fuzz.__main__ import bent
from torch_impl.keras_files.contents import Contents, KerasFileError
from torch_impl.keras_files.tensorflow.saved_model import read_saved_model
from torch_impl.keras_files.tensorflow.sorted_table import read_table
from torch_impl.keras_files.tensorflow.tensor_bundle import TensorBundle

VARIABLES = "variables/variables"
EXTREMES = [0, 1, 2, 7, 127, 128, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


def mutated(draw: random.Random, data: bytes) -> bytes:
    """A message changed in one place, as deep inside as chance wills; its lengths are right."""
    fields = decode(data) if data else None
    if not fields or draw.random() < 0.05:
        return bent(draw, data)
    index = draw.randrange(len(fields))
    number, kind, value = fields[index]
    action = draw.random()
    if isinstance(value, bytes) and action < 0.8:
        fields[index] = number, kind, mutated(draw, value)
    elif isinstance(value, int) and action < 0.8:
        fields[index] = (
            number,
            kind,
            draw.choice([*EXTREMES, value + 1]) & ((1 << 32) - 1 if kind == 5 else (1 << 64) - 1),
        )
    elif action < 0.86:
        del fields[index]
    elif action < 0.92:
        fields.insert(draw.randrange(len(fields)), fields[index])
    elif action < 0.96:
        fields[index] = draw.randrange(1, 12), kind, value
    else:
        fields[index] = number, 0, draw.choice(EXTREMES)
    return encode(fields)


def change_file(name: str) -> Callable[[random.Random, Path], None]:
    def change(draw: random.Random, folder: Path) -> None:
        path = folder / name
        path.write_bytes(mutated(draw, path.read_bytes()))

    return change


def change_json(draw: random.Random, folder: Path) -> None:
    """One value of the model's config becomes another kind of thing."""
    path = folder / "keras_metadata.pb"
    rows = decode(path.read_bytes()) or []
    fields = decode(rows[0][2] if isinstance(rows[0][2], bytes) else b"") or []
    for index, (number, kind, value) in enumerate(fields):
        if number == 5 and isinstance(value, bytes):
            tree = json.loads(value)
            at: Any = tree
            while True:
                key = draw.choice(list(at) if isinstance(at, dict) else range(len(at)))
                if not isinstance(at[key], (dict, list)) or not at[key] or draw.random() < 0.1:
                    break
                at = at[key]
            at[key] = draw.choice([None, True, -1, 1e300, 10**30, "", "x", [], {}, [[]], [{}]])
            fields[index] = number, kind, json.dumps(tree).encode()
    path.write_bytes(encode([(1, 2, encode(fields)), *rows[1:]]))


def change_entries(draw: random.Random, folder: Path) -> None:
    """An entry of the index, all checksums right."""

    def change(entries: dict[bytes, bytes]) -> None:
        key = draw.choice(list(entries))
        entries[key] = mutated(draw, entries[key])

    path = folder / f"{VARIABLES}.index"
    path.write_bytes(repacked(path.read_bytes(), change))


def change_block(draw: random.Random, folder: Path) -> None:
    """The index's block itself, its checksum right."""
    path = folder / f"{VARIABLES}.index"
    entries = {key: bytes(value) for key, value in read_table(path.read_bytes(), "").items()}
    block = bent(draw, entries_block(list(entries.items())))
    path.write_bytes(table(entries, block=block))


def change_graph(draw: random.Random, folder: Path) -> None:
    """The object graph, all checksums right."""
    index, stored = folder / f"{VARIABLES}.index", folder / f"{VARIABLES}.data-00000-of-00001"
    bundle = TensorBundle(folder / VARIABLES)
    text = mutated(draw, bundle.text("_CHECKPOINTABLE_OBJECT_GRAPH"))
    data, checksum = text_tensor(text)
    offset = stored.stat().st_size
    with stored.open("ab") as stream:
        stream.write(data)

    def change(entries: dict[bytes, bytes]) -> None:
        row: list[Field] = [(1, 0, 7), (4, 0, offset), (5, 0, len(data)), (6, 5, checksum)]
        entries[b"_CHECKPOINTABLE_OBJECT_GRAPH"] = encode(row)

    index.write_bytes(repacked(index.read_bytes(), change))


CHANGES: dict[str, Callable[[random.Random, Path], None]] = {
    "saved_model.pb": change_file("saved_model.pb"),
    "keras_metadata.pb": change_file("keras_metadata.pb"),
    "config": change_json,
    "entries": change_entries,
    "block": change_block,
    "graph": change_graph,
}


def bits_of(came: Contents) -> list[tuple[str, tuple[int, ...], bytes]]:
    return [bits(value) for value in came.weights.values()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHANGES)
def test_nothing_but_a_keras_file_error_comes_of_any_change(kind: str, tmp_path: Path) -> None:
    """75 changes each of a good SavedModel: refused, or read with the very weights."""
    fuzz(good_saved_model(tmp_path), CHANGES[kind], 75)


@pytest.mark.parametrize(
    "case", ["functional_bfloat16", pytest.param("trained", marks=pytest.mark.slow)]
)
def test_nothing_but_a_keras_file_error_comes_of_a_changed_export(
    case: str, tmp_path: Path
) -> None:
    """30 changes each of what Keras 3 wrote, where the layers come from the function."""
    folder = Path(shutil.copytree(KERAS_3 / case, tmp_path / case))
    fuzz(folder, CHANGES["saved_model.pb"], 30)


def test_a_call_of_no_function_is_refused(tmp_path: Path) -> None:
    """The attribute that names the called function is called otherwise."""
    folder = Path(shutil.copytree(KERAS_3 / "sequential", tmp_path / "x"))
    path = folder / "saved_model.pb"
    content = path.read_bytes()
    assert b"\n\x01f\x12" in content
    path.write_bytes(content.replace(b"\n\x01f\x12", b"\n\x01g\x12"))
    with pytest.raises(KerasFileError, match="calls no function"):
        read_saved_model(folder)


def fuzz(folder: Path, change: Callable[[random.Random, Path], None], count: int) -> None:
    good = {raw for _, _, raw in bits_of(read_saved_model(folder))}
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    refusals = 0
    for seed in range(count):
        draw = random.Random(seed)
        change(draw, folder)
        start = time.process_time()
        try:
            came = read_saved_model(folder)
        except KerasFileError:
            refusals += 1
        else:
            # Whatever was changed, a tensor is one that was saved: its checksum was right.
            assert {raw for _, _, raw in bits_of(came)} <= good, seed
        assert time.process_time() - start < SECONDS, seed
        for path, content in files.items():
            path.write_bytes(content)
    assert refusals > count // 20
