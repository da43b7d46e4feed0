"""Recordings on disk: calls to the reference with their answers, and how a changed one shows.

A folder holds one safetensors file per group of calls and `index.json`, which says in plain
words what was called with which settings. Arrays stand in the index as references, by the
hash of their content, so that rows shared by many calls are stored once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

__all__ = ["FOLDER", "Call", "RecordingError", "Recordings", "digest", "read", "write"]

FOLDER = Path(__file__).with_name("recordings")
"""The recordings that are committed."""

_FORMAT = 2
_INDEX = "index.json"


class RecordingError(ValueError):
    """A recording is missing, was edited, or is of other calls than are asked for."""


class Call(NamedTuple):
    """One call to the reference, and what it gave."""

    function: str
    """Module and function below `keras_ref`."""
    inputs: dict[str, Any]
    """Its keyword arguments: arrays, numbers, strings, None, and containers of them."""
    answer: Any
    """Likewise."""


class Recordings(NamedTuple):
    """Everything that was recorded."""

    versions: dict[str, str]
    """Of the reference and what it ran on."""
    calls: dict[str, Call]
    """By the name of the case."""


def digest(tree: Any) -> str:
    """SHA-256 over the types, shapes and bytes of a tree of plain values and arrays."""
    return hashlib.sha256(json.dumps(_encoded(tree, _name)).encode()).hexdigest()


def write(folder: Path, versions: Mapping[str, str], groups: Mapping[str, dict[str, Call]]) -> None:
    """Replaces a folder of recordings.

    Args:
        folder: is made if it is not there; files of an earlier recording go.
        versions: of the reference.
        groups: file name without ending to the calls, by name, that go into it.
    """
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.safetensors"):
        old.unlink()
    files: dict[str, str] = {}
    cases: dict[str, Any] = {}
    for group, calls in groups.items():
        arrays: dict[str, np.ndarray] = {}

        def keep(array: np.ndarray, arrays: dict[str, np.ndarray] = arrays) -> str:
            name = _name(array)
            arrays[name] = np.array(array, order="C")
            return name

        for name, call in calls.items():
            cases[name] = {
                "file": f"{group}.safetensors",
                "function": call.function,
                "inputs": _encoded(call.inputs, keep),
                "inputs_sha256": digest(call.inputs),
                "answer": _encoded(call.answer, keep),
            }
        content = save(arrays)
        (folder / f"{group}.safetensors").write_bytes(content)
        files[f"{group}.safetensors"] = hashlib.sha256(content).hexdigest()
    facts = {"format": _FORMAT, "versions": dict(versions), "files": files, "cases": cases}
    facts["sha256"] = _facts_hash(facts)
    (folder / _INDEX).write_text(_laid_out(facts), encoding="utf-8")


def read(folder: Path) -> Recordings:
    """Reads a folder of recordings and proves that it is as `write` left it.

    Raises:
        RecordingError: something is missing or was changed; the file is named.
    """
    facts = read_index(folder)
    arrays: dict[str, dict[str, np.ndarray]] = {}
    for name, expected in facts["files"].items():
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise _fault(folder / name, "cannot be read") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise _fault(folder / name, "is not the file that was recorded (its hash differs)")
        try:
            arrays[name] = load(content)
        except SafetensorError as error:
            raise _fault(folder / name, f"cannot be read ({error})") from error
    calls = {}
    for case, entry in facts["cases"].items():
        held = arrays[entry["file"]]
        inputs = _decoded(entry["inputs"], held)
        if digest(inputs) != entry["inputs_sha256"]:
            raise _fault(folder / entry["file"], f"holds other inputs of {case!r} than recorded")
        calls[case] = Call(entry["function"], inputs, _decoded(entry["answer"], held))
    return Recordings(facts["versions"], calls)


def read_index(folder: Path) -> dict[str, Any]:
    """The index alone, proved to be as it was written."""
    path = folder / _INDEX
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _fault(path, "cannot be read") from error
    if facts.get("format") != _FORMAT or facts.get("sha256") != _facts_hash(facts):
        raise _fault(path, "was edited, or is of another format (its hash differs)")
    return facts


def _fault(path: Path, what: str) -> RecordingError:
    return RecordingError(
        f"{path.parent.name}/{path.name} {what}; record anew: python -m parity_tests.record"
    )


def _facts_hash(facts: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in facts.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _laid_out(facts: Mapping[str, Any]) -> str:
    """JSON with one case to a line, so that a diff of two recordings can be read."""
    cases = [f"  {json.dumps(name)}: {json.dumps(case)}" for name, case in facts["cases"].items()]
    rest = {name: value for name, value in facts.items() if name != "cases"}
    head = json.dumps(rest, indent=1)[:-2]
    return head + ',\n "cases": {\n' + ",\n".join(cases) + "\n }\n}\n"


def _name(array: np.ndarray) -> str:
    content = np.array(array, order="C").tobytes()
    return f"{array.dtype}{list(array.shape)} {hashlib.sha256(content).hexdigest()[:16]}"


def _encoded(tree: Any, keep: Callable[[np.ndarray], str]) -> Any:
    """JSON for a tree; dictionaries as pairs, since JSON's own have no integer keys."""
    if isinstance(tree, np.ndarray | np.generic):
        array = np.asarray(tree)
        return {"array": keep(array)}
    if isinstance(tree, Mapping):
        return {"dict": [[key, _encoded(value, keep)] for key, value in tree.items()]}
    if isinstance(tree, tuple):
        return {"tuple": [_encoded(value, keep) for value in tree]}
    if isinstance(tree, list):
        return [_encoded(value, keep) for value in tree]
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"a recording cannot hold {type(tree).__name__}")


def _decoded(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(tree, list):
        return [_decoded(value, arrays) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        array = arrays[tree["array"]]
        if _name(array) != tree["array"]:
            raise RecordingError(f"an array recorded as {tree['array']} is {_name(array)}")
        return array
    if "tuple" in tree:
        return tuple(_decoded(value, arrays) for value in tree["tuple"])
    pairs: Iterable[tuple[Any, Any]] = tree["dict"]
    return {key: _decoded(value, arrays) for key, value in pairs}
