"""A SavedModel or checkpoint that says what cannot be is refused with one KerasFileError."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from parity_tests.files.hostile import good_checkpoint, good_saved_model, refused
from parity_tests.files.tensorflow.bundle_writer import (
    Field,
    decode,
    encode,
    object_graph,
    write_bundle,
)
from torch_impl.keras_files.tensorflow.object_graph import GRAPH_KEY, SUPPORTED
from torch_impl.keras_files.tensorflow.saved_model import read_checkpoint, read_saved_model


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return good_checkpoint(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return good_saved_model(tmp_path)


def test_the_saved_model_to_be_spoilt_is_good(folder: Path) -> None:
    """The twin of all that follows."""
    assert read_saved_model(folder).optimizer is not None


MODEL: Sequence[tuple[dict[str, int], str]] = [
    ({"model": 1}, ""),
    ({"layer-0": 2, "layer-1": 3}, ""),
    ({"kernel": 4, "bias": 5}, ""),
    ({"kernel": 6}, ""),
    ({}, "dense/kernel"),
    ({}, "dense/bias"),
    ({}, "dense_1/kernel"),
]
SIZES = {"dense/kernel": (2, 3), "dense/bias": (3,), "dense_1/kernel": (3, 1)}


def write_model(prefix: Path, nodes: Sequence[tuple[dict[str, int], str]], **sizes: Any) -> Path:
    """A checkpoint of a small model whose object graph is these nodes."""
    rows = {name: (1, size, bytes(4 * _count(size))) for name, size in {**SIZES, **sizes}.items()}
    write_bundle(prefix, rows, object_graph(nodes))
    return prefix


def _count(size: Sequence[int]) -> int:
    count = 1
    for one in size:
        count *= one
    return count


def put(index: int, node: tuple[dict[str, int], str], *more: Any) -> Any:
    """The model with one node replaced, and more behind it."""
    return [*MODEL[:index], node, *MODEL[index + 1 :], *more]


def test_a_checkpoint_made_here_is_read(tmp_path: Path) -> None:
    """The twin: what the next test spoils is good."""
    came = read_checkpoint(write_model(tmp_path / "x", MODEL))
    assert {name: tuple(value.shape) for name, value in came.weights.items()} == SIZES


@pytest.mark.parametrize(
    ("nodes", "sizes", "match"),
    [
        (put(0, ({}, "")), {}, "holds 0 Sequential or functional"),
        (put(0, ({"a": 1, "b": 7}, ""), ({"layer-0": 2}, "")), {}, "holds 2 Sequential"),
        (put(3, ({"kernel": 4}, "")), {}, "two layers have a weight dense/kernel"),
        (put(3, ({"kernel": 5}, "")), {}, "its kernel is dense/bias"),
        (put(3, ({"kernel": 2}, "")), {}, "the variable '' is no weight"),
        (put(3, ({"bias": 5}, "")), {},
         "layer 1: has dense/bias; expected the weights of one layer$"),
        (put(2, ({"kernel": 6, "bias": 5}, "")), {}, "has dense_1/kernel, dense/bias"),
        (put(3, ({"layer-0": 2}, "")), {}, "layer 1 is a model itself"),
        (put(3, ({"kernel": 6, "seed": 7}, ""), ({}, "norm/seed")), {"norm/seed": (3,)},
         "layer 1 has a variable 'norm/seed'"),
        (put(3, ({"kernel": 6, "gamma": 7}, ""), ({}, "norm/gamma")), {"norm/gamma": (3,)},
         "layer 1: has dense_1/kernel, norm/gamma; expected the weights of one layer$"),
        (put(3, ({"gamma": 7}, ""), ({}, "norm/gamma")), {"norm/gamma": (4,)},
         r"norm/gamma has shape \(4,\); expected \(3,\)"),
        (MODEL, {"dense_1/kernel": (4, 1)}, r"has shape \(4, 1\); expected \(3, units\)"),
        (MODEL, {"dense/bias": (4,)}, r"dense/bias has shape \(4,\); expected \(3,\)"),
        (MODEL, {"dense/kernel": (2, 3, 1)},
         r"has shape \(2, 3, 1\); expected \(inputs, units\): supported"),
    ],
)  # fmt: skip
def test_an_object_graph_that_is_no_chain_of_dense_layers_is_refused(
    nodes: Any, sizes: dict[str, Any], match: str, tmp_path: Path
) -> None:
    """References out of range, two models, layers that share or lack weights, wrong widths."""
    prefix = write_model(tmp_path / "x", nodes, **sizes)
    refused(lambda: read_checkpoint(prefix), match)


def test_a_checkpoint_of_the_model_itself_is_read(tmp_path: Path) -> None:
    """Its root is the model, which holds its layers and no other model."""
    nodes = put(0, ({"layer-0": 2, "layer-1": 3}, ""))
    assert set(read_checkpoint(write_model(tmp_path / "x", nodes)).weights) == set(SIZES)


def test_graphs_that_run_in_circles_end(tmp_path: Path) -> None:
    """Keras 2 itself writes a root that holds itself."""
    nodes = put(0, ({"model": 1, "root": 0, "layer": 2}, ""))
    nodes[2] = {"kernel": 4, "bias": 5, "self": 2}, ""
    nodes[3] = {"kernel": 6, "before": 2}, ""
    assert set(read_checkpoint(write_model(tmp_path / "x", nodes)).weights) == set(SIZES)


STATE = "drop/seed_generator/seed_generator_state"


def with_dropout(**held: int) -> Any:
    """The model with a layer between, which holds some variables."""
    model = {"layer-0": 2, "layer-1": 7, "layer-2": 3}, ""
    return put(1, model, (held, ""), ({}, STATE), ({}, "norm/state"))


def test_a_dropouts_state_is_no_weight(tmp_path: Path) -> None:
    """It is where its random numbers were; what else a layer holds is refused."""
    sizes = {STATE: (2,), "norm/state": (3,)}
    good = write_model(tmp_path / "x", with_dropout(seed=8), **sizes)
    assert set(read_checkpoint(good).weights) == set(SIZES)
    for held in ({"seed": 8, "state": 9}, {"state": 9, "seed": 8}):
        bad = write_model(tmp_path / "y", with_dropout(**held), **sizes)
        refused(
            lambda bad=bad: read_checkpoint(bad),  # type: ignore[misc]
            f"^{bad}: {GRAPH_KEY}: layer 1 has a variable 'norm/state'; {SUPPORTED}$".replace(
                "(", "."
            ).replace(")", "."),
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "graph",
    [
        b"\x08\x00" * 100_000,
        encode([(1, 2, b"\x08\x00" * 100_000)]),
        encode([(1, 2, b"")]) * 35_000,
        encode([(1, 2, encode([(1, 2, encode([(1, 0, 0)]))]))]) * 14_000,
    ],
    ids=["fields", "fields-inside", "nodes", "children"],
)
def test_more_fields_than_the_budget_has_are_refused(graph: bytes, tmp_path: Path) -> None:
    """A budget bounds time and memory, whatever the nesting."""
    write_bundle(tmp_path / "x", {}, graph)
    prefix = tmp_path / "x"
    refused(lambda: read_checkpoint(prefix), "more than 30000 steps to read it")


@pytest.mark.parametrize(
    "name",
    [
        "saved_model.pb",
        "keras_metadata.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
    ],
)
def test_a_link_out_of_the_folder_is_not_followed(name: str, folder: Path, tmp_path: Path) -> None:
    """Not even to a file that would be good; a link inside the folder is."""
    inside = folder / "kept"
    (folder / name).rename(inside)
    (folder / name).symlink_to(inside)
    read_saved_model(folder)
    outside = tmp_path / "outside"
    inside.rename(outside)
    (folder / name).unlink()
    (folder / name).symlink_to(outside)
    refused(lambda: read_saved_model(folder), "is a link out of")


def test_a_folder_of_variables_elsewhere_is_not_read(folder: Path, tmp_path: Path) -> None:
    """A linked folder is a link as well."""
    (folder / "variables").rename(tmp_path / "variables")
    (folder / "variables").symlink_to(tmp_path / "variables")
    refused(lambda: read_saved_model(folder), "is a link out of")


@pytest.mark.parametrize(
    "line", [".", "../trained", "/etc/passwd", "sub/trained", "..", "C:trained", "\\\\x", ""]
)
def test_a_latest_checkpoint_elsewhere_is_refused(line: str, prefix: Path) -> None:
    """The file `checkpoint` may name a prefix beside it only."""
    state = prefix.parent / "checkpoint"
    state.write_text('model_checkpoint_path: "trained"\n')
    assert read_checkpoint(prefix.parent).weights
    state.write_text(f'model_checkpoint_path: "{line}"\n')
    refused(
        lambda: read_checkpoint(prefix.parent),
        f"^{state}: names no checkpoint of this folder; expected one line "
        'model_checkpoint_path: "PREFIX", without a path$',
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_what_is_no_plain_file_is_refused(folder: Path) -> None:
    """A pipe would block for ever, a folder and a circle of links have no content."""
    path = folder / "saved_model.pb"
    path.unlink()
    os.mkfifo(path)
    refused(lambda: read_saved_model(folder), "is no plain file")
    path.unlink()
    path.mkdir()
    refused(lambda: read_saved_model(folder), "is no plain file|cannot be opened")
    path.rmdir()
    path.symlink_to(path)
    refused(lambda: read_saved_model(folder), "cannot be opened")


def test_what_is_no_saved_model_is_refused(tmp_path: Path) -> None:
    """A missing path, an empty folder, a file, foreign content."""
    for path in (tmp_path / "missing", tmp_path, Path(__file__)):
        refused(lambda path=path: read_saved_model(path), "saved_model.pb: cannot be opened")
    (tmp_path / "saved_model.pb").write_bytes(b"%PDF-1.7 and more")
    refused(lambda: read_saved_model(tmp_path), "saved_model.pb")
    (tmp_path / "saved_model.pb").write_bytes(b"")
    refused(lambda: read_saved_model(tmp_path), "has 0 graphs tagged 'serve'; expected 1")
    refused(lambda: read_checkpoint(tmp_path / "missing"), "missing.index: cannot be opened")
    refused(
        lambda: read_checkpoint(tmp_path),
        f"^{tmp_path}: holds 0 checkpoints .PREFIX.index. and no file 'checkpoint' that names the "
        "latest; expected one, or the prefix itself$",
    )


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('"Dropout"', '"Lambda"', "'drop' is a Lambda; supported: Input, Dense"),
        ('"Dropout"', '"os.system"', "'drop' is a os.system; supported"),
        ('"rate": 0.25', '"rate": NaN', "rate nan; expected it in"),
        ('"units": 3', '"units": 4', r"hidden/kernel has shape \(5, 3\); expected \(5, 4\)"),
        ('"units": 3', '"units": "3"', None),
        ('"use_bias": false', '"use_bias": true', "has no variable score/bias"),
        ('[["drop", 0, 0, {}]]', '[["again", 0, 0, {}]]', "'score' has not one input of its own"),
        ('"name": "again"', '"name": "hidden"', None),
        ("{", "[" * 100_000, "is no JSON"),
        ("{", '{"x": ' + "9" * 5000 + ", ", "is no JSON"),
        ("{", "7 {", "is no JSON"),
        ("{", '"' + "x" * (1 << 20), "is no JSON .1[0-9]* characters"),
    ],
    ids=str,
)
def test_a_config_that_says_what_is_not_supported_is_refused(
    old: str, new: str, match: str | None, folder: Path
) -> None:
    """Layers are named; nothing that a config names is looked up."""
    path = folder / "keras_metadata.pb"
    rows = decode(path.read_bytes())
    assert rows is not None
    changed: list[Field] = []
    for number, kind, value in rows:
        assert isinstance(value, bytes)
        fields = decode(value)
        assert fields is not None
        if (3, 2, b"root") in fields:
            text = next(v for n, _, v in fields if n == 5)
            assert isinstance(text, bytes)
            assert old.encode() in text
            count = 1 if old == "{" else -1
            replaced = text.replace(old.encode(), new.encode(), count)
            fields = [(n, k, replaced if n == 5 else v) for n, k, v in fields]
        changed.append((number, kind, encode(fields)))
    path.write_bytes(encode(changed))
    refused(lambda: read_saved_model(folder), match or "keras_metadata.pb")
