"""No arrow between data, keras_ref and torch_impl; every arrow ends at parity_tests."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

from parity_tests import ROOT
from parity_tests.project.walls import (
    ALLOWED,
    FLOORS,
    circle,
    forbidden_imports,
    imports_within,
    upward_imports,
)
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import reference


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_room_imports_only_what_its_wall_allows(room: str) -> None:
    """A room's files import their own room, the standard library and the listed packages."""
    assert forbidden_imports(ROOT / room, ALLOWED[room]) == []


@pytest.mark.parametrize(
    "line",
    [
        "import tensorflow as tf",
        "from keras import layers",
        "import pandas",
        "def late():\n    from sklearn.preprocessing import StandardScaler",
        "import importlib\nimportlib.import_module('keras_ref.model')",
        "__import__('parity_tests')",
        "import os, data.load",
    ],
)
def test_wall_check_sees_a_crossing(line: str, tmp_path: Path) -> None:
    """The twin: each way of crossing the wall of torch_impl is reported with its line."""
    room = tmp_path / "torch_impl"
    room.mkdir()
    (room / "ok.py").write_text("import torch\nimport numpy as np\nfrom torch_impl import x\n")
    assert forbidden_imports(room, ALLOWED["torch_impl"]) == []
    (room / "crossing.py").write_text(line + "\n")
    (found,) = forbidden_imports(room, ALLOWED["torch_impl"])
    assert found.startswith("crossing.py:")


@cache
def imports_of(room: str) -> dict[str, dict[str, int]]:
    """Of the checkout, read once for both of what follows."""
    return imports_within(ROOT / room)


@pytest.mark.parametrize("room", FLOORS)
def test_imports_within_a_room_run_down_its_floors(room: str) -> None:
    """One way, late ones and those for type checkers too; nobody stands beside the floors."""
    assert upward_imports(imports_of(room), FLOORS[room]) == []


@pytest.mark.parametrize("room", ["data", "keras_ref", *FLOORS])
def test_no_modules_import_each_other_in_a_circle(room: str) -> None:
    """Of the files of one floor neither."""
    assert circle(imports_of(room)) == []


@pytest.mark.parametrize("late", ["", "if TYPE_CHECKING:\n    ", "def f():\n    "])
def test_an_import_upwards_and_a_circle_are_seen(late: str, tmp_path: Path) -> None:
    """The twin: wherever the import stands, and whether it names the module or what is in it."""
    room = tmp_path / "room"
    (room / "low").mkdir(parents=True)
    (room / "high").mkdir()
    (room / "high" / "a.py").write_text("from room.low.b import x\n")
    (room / "low" / "b.py").write_text("import json\n")
    good = imports_within(room)
    assert good == {"high.a": {"low.b": 1}, "low.b": {}}
    assert (upward_imports(good, ["high", "low"]), circle(good)) == ([], [])
    assert upward_imports(good, ["low", "high"]) == ["high.a:1: low.b"]
    assert upward_imports(good, ["high"]) == ["high.a:1: low.b"]
    for line in ("from room.high import a", "import room.high.a", "from room.high.a import y"):
        (room / "low" / "b.py").write_text(f"{late}{line}\n")
        bad = imports_within(room)
        assert upward_imports(bad, ["high", "low"]) == [f"low.b:{1 + bool(late)}: high.a"]
        assert set(circle(bad)) == {"high.a", "low.b"}


def test_process_border_holds_on_both_sides(keras: KerasProcess) -> None:
    """This process has torch and no TensorFlow; the child has Keras's backend and no torch.

    Unless torch is that backend.
    """
    import torch  # noqa: F401  (the point is that it is loaded here)

    theirs = keras.call("versions.loaded_modules")
    assert {"keras", reference().backend} <= set(theirs)
    assert "torch" not in theirs or reference().backend == "torch"
    assert not {"tensorflow", "keras"} & set(sys.modules)
