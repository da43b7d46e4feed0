"""The references that `nox` asks, the table that it printed, and what we say we support."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from parity_tests.matrix import HEAD, main, table
from parity_tests.reference import Reference, unmet
from parity_tests.walls import ROOT

README = (ROOT / "parity_tests" / "README.md").read_text(encoding="utf-8")
TALLY: dict[str, Any] = {
    "keras": "3.10.0", "backend": "tensorflow", "backend_version": "2.19.1",
    "passed": 7, "failed": 0, "not_applicable": {"why (needs keras>=3.14)": 2},
}  # fmt: skip


def references() -> list[tuple[str, str, str]]:
    """`REFERENCES` of the noxfile, which is read and not run, so that nox need not be there."""
    for node in ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "REFERENCES":
            return ast.literal_eval(node.value)
    raise AssertionError("noxfile.py has no REFERENCES")


def measured() -> list[list[str]]:
    """Rows of the table in the README beside this file."""
    _, _, text = README.partition("<!-- matrix -->\n")
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.partition("\n\n")[0].splitlines()
    ]
    assert tuple(head) == HEAD
    return rows


def test_the_table_has_a_row_of_each_reference_that_nox_asks() -> None:
    """In the noxfile's order; all agree, and no run was of nothing."""
    asked = [[keras, f"{backend} {version}"] for keras, backend, version in references()]
    assert [row[:2] for row in measured()] == asked
    for row in measured():
        passed, failed, _ = map(int, row[2:5])
        assert passed > 0
        assert (failed, row[5]) == (0, "agree")


def test_what_is_supported_is_what_was_asked() -> None:
    """The oldest Keras 3 and its TensorFlow are the least that pyproject.toml allows."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extra = text.partition("\nkeras = [")[2].partition("\n]")[0]
    wanted = {r.name: r.specifier for r in map(Requirement, ast.literal_eval(f"[{extra}]"))}
    of_3 = [
        (Version(keras), Version(version))
        for keras, backend, version in references()
        if backend == "tensorflow" and Version(keras) >= Version("3")
    ]
    for part, name in enumerate(("keras", "tensorflow")):
        (least,) = wanted[name]
        assert least.operator == ">="
        oldest = min(pair[part] for pair in of_3)
        assert Version(least.version).release == oldest.release[:2]
    pinned = dict(
        line.partition(";")[0].strip().split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line.startswith(("keras==", "tensorflow==")) and "<" not in line
    )
    assert (Version(pinned["keras"]), Version(pinned["tensorflow"])) == max(of_3)


def test_a_row_counts_and_judges() -> None:
    """One failure differs, and so does a run of nothing; TensorFlow and the oldest come first."""
    others = [
        TALLY | {"backend": "jax", "backend_version": "0.10.2", "failed": 1},
        TALLY | {"keras": "3.7.0", "passed": 0},
    ]
    assert table([*others, TALLY])[2:] == [
        "| 3.7.0 | tensorflow 2.19.1 | 0 | 0 | 2 | differ |",
        "| 3.10.0 | tensorflow 2.19.1 | 7 | 0 | 2 | agree |",
        "| 3.10.0 | jax 0.10.2 | 7 | 1 | 2 | differ |",
    ]


def test_command_prints_the_table_and_the_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a folder of tallies; an empty one is refused in one line."""
    (tmp_path / "x.json").write_text(json.dumps(TALLY))
    main([str(tmp_path)])
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == table([TALLY])
    assert said[3:] == ["keras 3.10.0, tensorflow: 2 not applicable: why (needs keras>=3.14)"]
    (tmp_path / "x.json").unlink()
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "holds no tally" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("demands", "needs"),
    [
        ({"keras": ">=3.3"}, None),
        ({"keras": ">=3.3", "backend": "tensorflow"}, None),
        ({"backend": ("jax", "tensorflow")}, None),
        ({"keras": ">=3.11"}, "keras>=3.11"),
        ({"keras": ">=3", "backend": "jax"}, "keras>=3 on jax"),
        ({"backend": ("jax", "torch")}, "jax or torch"),
    ],
)
def test_a_demand_is_met_or_says_what_it_needs(demands: dict[str, Any], needs: str | None) -> None:
    """By version as versions are ordered (3.10 is after 3.3), and by backend."""
    asked = Reference("3.10.0", "tensorflow", "2.19.1")
    mark = pytest.mark.reference("why", **demands).mark
    expected = needs and f"why (needs {needs}, asked is keras 3.10.0 / tensorflow 2.19.1)"
    assert unmet(mark, asked) == expected


@pytest.mark.parametrize(
    "mark",
    [
        pytest.mark.reference(keras=">=3"),
        pytest.mark.reference("why"),
        pytest.mark.reference("why", kreas=">=3"),
    ],
    ids=["no-reason", "no-demand", "misspelt"],
)
def test_a_demand_that_could_not_be_understood_is_refused(mark: pytest.MarkDecorator) -> None:
    """A misspelt one would let every reference through."""
    with pytest.raises(pytest.UsageError, match="expected a reason, and keras= or backend="):
        unmet(mark.mark, Reference("3.10.0", "tensorflow", "2.19.1"))


def test_a_named_proof_of_a_difference_exists() -> None:
    """Each row of what differs between versions names its test."""
    _, _, text = README.partition("## What differs between Keras versions")
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    tests = (ROOT / "parity_tests" / "test_keras_versions.py").read_text(encoding="utf-8")
    named = []
    for row in rows:
        path, _, name = row.rpartition("`parity_tests/")[2].strip(" |`").partition("::")
        assert f"def {name}(" in (ROOT / "parity_tests" / path).read_text("utf-8"), name
        named.append(name)
    assert named
    defined = [part.partition("(")[0] for part in tests.split("\ndef test_")[1:]]
    assert {f"test_{name}" for name in defined} - set(named) == {
        "test_the_reference_is_what_was_read_off_its_environment",
        "test_tensorflow_draws_one_stream_whatever_keras",
    }
