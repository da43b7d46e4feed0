"""The environments that `nox` makes, the table that it printed, and what we say we support."""

from __future__ import annotations

import ast
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from parity_tests import ROOT
from parity_tests.reference.markers import Reference, unmet
from parity_tests.versions.matrix import HEAD, main, table
from parity_tests.versions.pinned import others

README = (ROOT / "parity_tests" / "versions" / "README.md").read_text(encoding="utf-8")
TALLY: dict[str, Any] = {
    "python": "3.11.7", "torch": "2.13.0",
    "keras": "3.10.0", "backend": "tensorflow", "backend_version": "2.19.1",
    "passed": 7, "failed": 0, "not_applicable": {"why (needs keras>=3.14)": 2},
}  # fmt: skip


def in_noxfile(name: str) -> ast.expr:
    """What is assigned there; it is read and not run, so that nox need not be there."""
    for node in ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value
    raise AssertionError(f"noxfile.py has no {name}")


def references() -> list[tuple[str, str, str]]:
    """Keras, backend and its version, as the noxfile has them."""
    return ast.literal_eval(in_noxfile("REFERENCES"))


def suites() -> dict[str, str]:
    """Name and Python of each environment in which the whole suite runs."""
    table = in_noxfile("SUITES")
    assert isinstance(table, ast.Dict)
    return {
        ast.literal_eval(name): ast.literal_eval(entry.elts[0])
        for name, entry in zip(table.keys, table.values, strict=True)
    }


def measured() -> list[list[str]]:
    """Rows of the table in the README beside this file."""
    _, _, text = README.partition("<!-- matrix -->\n")
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.partition("\n\n")[0].splitlines()
    ]
    assert tuple(head) == HEAD
    return rows


def test_the_table_has_a_row_of_each_environment_that_nox_makes() -> None:
    """With the versions that were asked; all agree, and no run was of nothing."""
    rows = {row[0]: row for row in measured()}
    asked = {f"keras-{k}-{b}-{v}": f"{k}, {b} {v}" for k, b, v in references()}
    assert set(rows) == set(asked) | set(suites())
    assert {name: rows[name][3] for name in asked} == asked
    for name, python in suites().items():
        assert rows[name][1].startswith(f"{python}.")
    for row in rows.values():
        passed, failed, _ = map(int, row[4:7])
        assert passed > 0
        assert (failed, row[7]) == (0, "agree")


def test_the_lowest_versions_are_those_that_were_run() -> None:
    """The row of `lowest` names what pyproject.toml calls the least, digit by digit."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    least = dict(re.findall(r'"(torch|keras|tensorflow)>=([\d.]+)"', text))
    (lowest,) = [row for row in measured() if row[0] == "lowest"]
    assert lowest[2:4] == [least["torch"], f"{least['keras']}, tensorflow {least['tensorflow']}"]
    assert f'requires-python = ">={suites()["lowest"]}"' in text


def test_what_is_pinned_is_the_newest_reference() -> None:
    """Of the references on TensorFlow."""
    of_3 = [
        (Version(keras), Version(version))
        for keras, backend, version in references()
        if backend == "tensorflow"
    ]
    pinned = dict(
        line.partition(";")[0].strip().split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line.startswith(("keras==", "tensorflow==")) and "<" not in line
    )
    assert (Version(pinned["keras"]), Version(pinned["tensorflow"])) == max(of_3)


def test_a_row_counts_and_judges() -> None:
    """A failure differs, and so does a run of nothing; whole suites and the oldest come first."""
    jax = TALLY | {"backend": "jax", "backend_version": "0.10.2", "failed": 1}
    tallies = {
        "keras-3.10.0-jax-0.10.2": jax,
        "keras-3.10.0-tensorflow-2.19.1": TALLY,
        "keras-3.7.0-tensorflow-2.19.1": TALLY | {"keras": "3.7.0", "passed": 0},
        "python-3.12": TALLY,
        "python-3.9": TALLY,
    }
    assert table(tallies)[2:] == [
        "| python-3.9 | 3.11.7 | 2.13.0 | 3.10.0, tensorflow 2.19.1 | 7 | 0 | 2 | agree |",
        "| python-3.12 | 3.11.7 | 2.13.0 | 3.10.0, tensorflow 2.19.1 | 7 | 0 | 2 | agree |",
        "| keras-3.7.0-tensorflow-2.19.1 | 3.11.7 | 2.13.0 | 3.7.0, tensorflow 2.19.1 "
        "| 0 | 0 | 2 | differ |",
        "| keras-3.10.0-tensorflow-2.19.1 | 3.11.7 | 2.13.0 | 3.10.0, tensorflow 2.19.1 "
        "| 7 | 0 | 2 | agree |",
        "| keras-3.10.0-jax-0.10.2 | 3.11.7 | 2.13.0 | 3.10.0, jax 0.10.2 | 7 | 1 | 2 | differ |",
    ]


def test_command_prints_the_table_and_the_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a folder of tallies; an empty one is refused in one line."""
    (tmp_path / "lowest.json").write_text(json.dumps(TALLY))
    main([str(tmp_path)])
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == table({"lowest": TALLY})
    assert said[3:] == ["lowest: 2 not applicable: why (needs keras>=3.14)"]
    (tmp_path / "lowest.json").unlink()
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "holds no tally" in capsys.readouterr().err


def test_what_is_installed_is_held_against_the_constraints(tmp_path: Path) -> None:
    """Another version is told; builds of the same, other Pythons' lines, what is absent are not."""
    path = tmp_path / "constraints.txt"
    path.write_text(
        f"# a comment\npytest==0.1\n\npluggy=={version('pluggy')}\nno-such-package==1\n"
        "packaging==0.1; python_version < '3'\npackaging==0.2; python_version >= '3'\n"
    )
    assert others(path) == [
        f"pytest {pytest.__version__} (pinned: 0.1)",
        f"packaging {version('packaging')} (pinned: 0.2)",
    ]


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
    tests = (ROOT / "parity_tests" / "versions" / "test_keras_versions.py").read_text(
        encoding="utf-8"
    )
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
