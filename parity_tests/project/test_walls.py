"""No arrow between data, keras_ref and torch_impl; every arrow ends at parity_tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from parity_tests import ROOT
from parity_tests.project.walls import ALLOWED, forbidden_imports
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


_LOADED_BESIDES = """
import json, sys
import torch, numpy
before = set(sys.modules)
import torch_impl
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.mark.slow
def test_importing_torch_impl_loads_nothing_but_torch_and_numpy() -> None:
    """What `import torch_impl` loads beyond `import torch, numpy` is torch_impl itself."""
    answer = subprocess.run(
        [sys.executable, "-c", _LOADED_BESIDES], cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    extra = set(json.loads(answer.stdout))
    assert "torch_impl" in extra
    foreign = {name for name in extra if not name.startswith(("torch_impl", "torch", "numpy"))}
    assert foreign - set(sys.stdlib_module_names) == set()


def test_process_border_holds_on_both_sides(keras: KerasProcess) -> None:
    """This process has torch and no TensorFlow; the child has Keras's backend and no torch.

    Unless torch is that backend.
    """
    import torch  # noqa: F401  (the point is that it is loaded here)

    theirs = keras.call("versions.loaded_modules")
    assert {"keras", reference().backend} <= set(theirs)
    assert "torch" not in theirs or reference().backend == "torch"
    assert not {"tensorflow", "keras"} & set(sys.modules)
