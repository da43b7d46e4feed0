"""The wheel holds torch_impl alone, and installs and imports where only torch and NumPy are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from parity_tests import ROOT

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    # A checkout on PYTHONPATH would pass for what is installed.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    answer = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=own)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the whole checkout, so that the other rooms could get in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(
        ROOT, folder / "source",
        ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__"),
    )  # fmt: skip
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    run(*pip, "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_torch_impl_alone(wheel: Path) -> None:
    """Typed, licensed, and no top-level package called data."""
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"torch_impl"}
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "torch_impl").rglob("*.py")}
    sources = [p for kind in ("*.cpp", "*.css", "*.h") for p in (ROOT / "torch_impl").rglob(kind)]
    assert len(sources) >= 3
    ours |= {"torch_impl/py.typed", *(str(path.relative_to(ROOT)) for path in sources)}
    assert ours == {n for n in names if n.startswith("torch_impl/")}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def closure(*roots: str) -> dict[str, metadata.Distribution]:
    """The distributions that these require, with all that those require, as installed here."""
    found: dict[str, metadata.Distribution] = {}
    wanted = [Requirement(root) for root in roots]
    asked: set[tuple[str, str]] = set()
    while wanted:
        parent = wanted.pop()
        for extra in ("", *parent.extras):
            if (parent.name, extra) in asked:
                continue
            asked.add((parent.name, extra))
            found[parent.name] = metadata.distribution(parent.name)
            for requirement in map(Requirement, found[parent.name].requires or []):
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                    wanted.append(requirement)
    return found


def test_wheel_installs_and_imports_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """The environment holds torch, NumPy and what those require, and nothing else.

    Their files are linked, not copied, from this environment; pip itself then judges whether
    the wheel's requirements are met, with no index to fetch from. What `import torch_impl` loads
    is torch_impl itself, and more of torch and NumPy.
    """
    environment = tmp_path / "empty"
    venv.create(environment)
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    told = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path)
    site = Path(told.strip())
    for distribution in closure("torch", "numpy").values():
        for file in distribution.files or []:
            top = file.parts[0]
            if top != ".." and top != "__pycache__" and not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())
    pip = [sys.executable, "-m", "pip", "--python", python]
    run(*pip, "install", "-q", "--no-index", wheel, cwd=tmp_path)
    program = (
        "import importlib.util, json, sys, numpy, torch\n"
        "before = set(sys.modules)\n"
        "import torch_impl\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
        "for absent in ('tensorflow', 'keras', 'pandas', 'sklearn', 'pytest', 'data'):\n"
        "    assert importlib.util.find_spec(absent) is None, absent\n"
        "model = torch_impl.FraudClassifier(\n"
        "    output_bias=torch_impl.prior_log_odds(492, 284_315))\n"
        "rows = torch.rand(5, 29, dtype=torch.float64)\n"
        "features = torch_impl.FeatureTransform.fit(rows)(rows)\n"
        "print(torch_impl.__file__, tuple(model.predict_proba(features).shape))\n"
    )
    loaded, out = run(python, "-I", "-c", program, cwd=tmp_path).splitlines()
    assert str(environment) in out
    assert out.endswith("(5, 1)")
    besides = {name.partition(".")[0] for name in json.loads(loaded)} - sys.stdlib_module_names
    assert besides <= {"torch_impl", "torch", "numpy"}
