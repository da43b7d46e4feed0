"""The migration reference says what is measured, and points at what is there."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from parity_tests import ROOT
from parity_tests.project.readme import PAGES, symbols, table_after
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import KERAS_3_FILES
from parity_tests.traps import __main__ as traps
from parity_tests.traps.plain_loop import BATCH_SIZE, EPOCHS, SEED, Lab, one_thread
from parity_tests.traps.trap_table import GROUPS, TRAPS, markdown, measurements
from parity_tests.traps.traps_model import NotMeasuredHereError
from torch_impl import L1L2, fit, load_keras
from torch_impl.keras.layers.regularizers import regularizer_of


def shown() -> list[str]:
    """The reference as the page has it: its headings and tables."""
    page = PAGES["parity_tests/traps/README.md"]
    start = page.index("\n## ")
    return page[start : page.index("\n## How each is measured")].strip().splitlines()


@pytest.mark.slow
@pytest.mark.pinned("the reference shows the digits of one torch")
def test_every_figure_of_the_reference_comes_out(tmp_path: Path) -> None:
    """The command measures anew; the README shows the same words and digits, row by row."""
    traps.main(["--json", str(tmp_path / "t.json")])
    found = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))["traps"]
    said = {row["trap"]: row["says"] for row in found}
    assert shown() == markdown(said).splitlines()
    recorded = {row["trap"] for row in found if row["recorded_because"]}
    assert recorded <= {"one process for both", "where rows lie in memory"}


def test_long_form_tells_how_each_figure_is_measured() -> None:
    """In the words of the functions that measure."""
    assert table_after("measurements") == measurements().splitlines()


def test_a_row_points_at_a_line_and_a_test_that_are_there() -> None:
    """The function or class in its file of torch_impl, the test among those that are collected."""
    named: dict[Path, set[str]] = defaultdict(set)
    for trap in TRAPS:
        for room, place in (("torch_impl", trap.right), ("parity_tests", trap.proof)):
            path, _, symbol = place.partition("::")
            named[ROOT / room / path] |= {symbol} - {""}
        assert Path(path).name.startswith("test_"), trap.name
        assert symbol.startswith("test_"), trap.name
    for file, wanted in named.items():
        assert wanted - symbols(file) == set(), file


def test_a_method_and_a_test_of_another_file_are_not_there() -> None:
    """The twin: a name counts in its own file and class alone."""
    there = symbols(ROOT / "torch_impl" / "keras" / "optimizers" / "adam.py")
    assert "KerasAdam._update" in there
    assert not {"_update", "KerasAdam._updates", "KerasDropout", "test_adam"} & there


def test_every_row_stands_under_one_heading() -> None:
    """And under a name of its own, by which its figures are found."""
    assert list(GROUPS) == [line.removeprefix("## ") for line in shown() if line[:2] == "##"]
    assert len({trap.name for trap in TRAPS}) == len(TRAPS) == sum(map(len, GROUPS.values()))


@KERAS_3_FILES
def test_a_regularizer_by_name_is_keras_3s(keras: KerasProcess, tmp_path: Path) -> None:
    """Its factors as Keras writes them into a file: of "l1l2" both are 0."""
    names = ("l1", "l2", "l1l2")
    chain = [("Dense", [1], {"name": name, "kernel_regularizer": name}) for name in names]
    keras.call("family.write", str(tmp_path / "x"), chain, np.ones((1, 1), "f4"), (".keras",))
    written = load_keras(tmp_path / "x.keras").keras_network.layers
    weight = torch.full((1,), 3.0)
    for name, layer in zip(names, written, strict=True):
        assert torch.equal(regularizer_of(name)(weight), layer.regularizers["kernel"](weight))
    assert written[-1].regularizers == {"kernel": L1L2(0.0, 0.0)}


@pytest.mark.parametrize("file", PAGES)
def test_every_command_and_file_that_a_readme_names_is_there(file: str) -> None:
    """`python -m NAME` is a module of the checkout; a name with a folder in it is a file."""
    text = PAGES[file]
    modules = set(re.findall(r"python -m ((?:parity_tests|torch_impl)[\w.]*)", text))
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    named = re.findall(r"`((?:torch_impl|parity_tests|keras_ref|data)/[\w./]*\w)", text)
    for name in named:
        assert (ROOT / name).exists(), name


@pytest.mark.slow
def test_loop_with_every_part_from_torch_impl_is_fit() -> None:
    """To the last bit, so that what a figure shows is its one difference alone."""
    lab = Lab()
    model = lab.model()
    with one_thread():
        fit(
            model, *lab.train, batch_size=BATCH_SIZE, epochs=EPOCHS, seed=SEED, compiled=False,
            progress=False, metrics=False,
        )  # fmt: skip
        assert len(lab.keras.losses) == EPOCHS
    for ours, theirs in zip(lab.keras.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_what_cannot_be_measured_here_is_recorded_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The figure of the other machine stands there with the reason; without one nothing does."""

    def absent(_: Lab) -> dict[str, float]:
        raise NotMeasuredHereError("triton is not installed")

    (trap,) = [trap for trap in TRAPS if trap.name == "one process for both"]
    monkeypatch.setattr(traps, "TRAPS", ())
    (found,) = traps.measure([trap._replace(measure=absent)]).values()
    assert found.figures == {"dead": 2, "tries": 2}
    assert found.recorded_because == "triton is not installed"
    with pytest.raises(NotMeasuredHereError):
        traps.measure([trap._replace(measure=absent, recorded=None)])
