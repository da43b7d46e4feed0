"""Each stage of the report can say no: a wrong answer of Keras's makes it differ, it alone.

The twins of `Comparison`: for every stage, one number of the one answer that the stage compares
is made wrong, at the first place, in the middle and at the last, on each split.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import parity_tests.__main__ as command
from data import Prepared, prepare, synthetic
from parity_tests import ROOT
from parity_tests.program.answers import Answers
from parity_tests.reference import keras_process
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import EPOCH_LOSS, RANDOM_STREAM
from parity_tests.reference.selection import needed_packages
from parity_tests.report.sick_model import make_one_weight_wrong
from parity_tests.report.stages import WEIGHT_SETS, Comparison
from parity_tests.sides.exported import RUNTIMES

pytestmark = [
    pytest.mark.slow,
    RANDOM_STREAM,
    EPOCH_LOSS,
]

EPOCHS = 2
FEW = {"rows": 3000, "positives": 150}
UNITS, WEIGHTS, KEYS = 16, 29 * 16 + 16 + 16 + 1, 2 * (1 + 11)
FIT = f"fit, {EPOCHS} epochs"


class Answer(NamedTuple):
    """Where in Keras's answers the numbers of a stage stand."""

    step: str
    """The `Step` that asks for it."""
    function: str
    """Of `keras_ref`."""
    path: tuple[Any, ...] = ()
    """Keys on the way to an array, or to arrays by name."""
    wrong: float = 2.0**-10
    """By how much a number is made wrong, in parts of the largest in its array."""
    elements: int = 0
    """How many numbers the stage has to compare; of each row, where it has `rows`; -1 for one of
    each test row, -2 for one of each training row."""
    rows: bool = False
    """Whether it compares the rows of all three splits."""


_ROW_STAGES = {
    "hidden pre-activations": UNITS,
    "hidden activations": UNITS,
    "logits": 1,
    "probabilities": 1,
}
_DOUBLE = 1e-12  # as a weight in float64 that is off

STAGES: dict[str, Answer] = {
    "scaled features": Answer("scaled features", "", elements=29, rows=True),
    **{
        f"exact probes: {stage}": Answer(
            "exact probes",
            "forward.forward_stages",
            (stage,),
            elements=2 * 512 * _ROW_STAGES[stage],
        )
        for stage in ("hidden pre-activations", "logits")
    },
    **{
        f"{name}: {stage}": answer
        for name in WEIGHT_SETS
        for stage, answer in {
            "weights copied": Answer(name, "model.copy_through", elements=WEIGHTS),
            **{
                stage: Answer(name, "forward.forward_stages", (stage,), elements=width, rows=True)
                for stage, width in _ROW_STAGES.items()
            },
        }.items()
    },
    **{
        f"raw rows to {stage}": Answer(
            "raw rows to probabilities", "forward.forward_stages", (stage,), elements=-1
        )
        for stage in ("logits", "probabilities")
    },
    **{
        f"{runtime}: {stage}": answer
        for runtime in RUNTIMES
        for stage, answer in {
            "exact probes": Answer(
                f"{runtime}: exact probes",
                "forward.forward_stages",
                ("logits",),
                elements=2 * 512,
            ),
            "raw rows to probabilities": Answer(
                f"{runtime}: raw rows to probabilities",
                "forward.forward_stages",
                ("probabilities",),
                elements=-1,
            ),
        }.items()
    },
    "random numbers: dropout masks": Answer(
        "random numbers", "random.dropout", (0,), elements=3 * 2048 * UNITS
    ),
    "random numbers: order of rows": Answer(
        "random numbers", "random.fit_orders", (0,), elements=-2
    ),
    **{
        f"one step{group}: {part}": Answer(
            "one training step",
            "training.one_step_in_both",
            (dtype, part),
            wrong,
            elements=WEIGHTS,
        )
        for group, dtype, wrong in (("", "float32", 2.0**-10), (", float64", "float64", 1e-10))
        for part in ("gradient", "momentum", "velocity", "weight")
    },
    f"{FIT}: initial weights": Answer(
        f"{EPOCHS} epochs of fit", "training.fits", ("float32", "initial"), elements=2 * WEIGHTS
    ),
    **{
        f"{FIT}{group}: {stage}": Answer(
            f"{EPOCHS} epochs of fit",
            "training.fits",
            (dtype, part),
            wrong,
            elements=KEYS * EPOCHS if part == "history" else WEIGHTS,
        )
        for group, dtype, wrong in (("", "float32", 2.0**-7), (", float64", "float64", _DOUBLE))
        for stage, part in (
            ("weights", "final"),
            ("momentum", "momentum"),
            ("√velocity", "velocity"),
            ("history", "history"),
        )
    },
}


class Liar:
    """Answers as the reference does, but for one number."""

    def __init__(self, truth: Answers) -> None:
        self.truth = truth
        self.lie: tuple[Answer, int] | None = None
        self.told = 0

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        answer = self.truth.call(name, *args, **kwargs)
        if self.lie is None or name != self.lie[0].function:
            return answer
        answer = copy.deepcopy(answer)
        part = answer
        for key in self.lie[0].path:
            part = part[key]
        self.told += 1
        spoil(part, self.lie[1], self.lie[0].wrong)
        return answer


def leaves(part: Any) -> list[Any]:
    return list(part.values()) if isinstance(part, dict) else [part]


def spoil(part: Any, at: int, wrong: float) -> None:
    """Makes one number of an array, or of arrays or lists by name, wrong in place."""
    for leaf in leaves(part):
        if at >= np.size(leaf):
            at -= np.size(leaf)
            continue
        if isinstance(leaf, list):
            leaf[at] += wrong * (max(map(abs, leaf)) or 1)
        elif leaf.dtype.kind == "f":
            leaf.reshape(-1)[at] += leaf.dtype.type(wrong * (np.abs(leaf).max() or 1))
        else:
            leaf.reshape(-1)[at] += 1
        return
    raise IndexError(at)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(synthetic(**FEW), seed=0)


@pytest.fixture(scope="module")
def truth(prepared: Prepared, keras: KerasProcess) -> Comparison:
    """What agrees; its runs in PyTorch are those of every twin."""
    comparison = Comparison(prepared, Answers(keras), epochs=EPOCHS)
    assert comparison.torch_runs
    return comparison


def results(comparison: Comparison, step: str | None = None) -> dict[str, Any]:
    return {
        result.stage: result
        for one in comparison.steps()
        if step in (None, one.name)
        for result in one.run()
    }


def twin(truth: Comparison, lie: tuple[Answer, int]) -> tuple[Comparison, Liar]:
    liar, rows = Liar(truth.keras), truth.prepared
    if lie[0].function:
        comparison = Comparison(rows, liar, truth.seed, EPOCHS)
        comparison.torch_runs = truth.torch_runs
        for name in ("keras_runs", "weights", "exported"):  # of every other step
            if lie[0].function != "training.fits":
                setattr(comparison, name, getattr(truth, name))
    else:  # the features themselves are the reference's answer
        rows = copy.deepcopy(rows)
        at = lie[1]
        for split in (rows.train, rows.validation, rows.test):
            if 0 <= at < split.features.size:
                split.features.reshape(-1)[at] += np.float32(lie[0].wrong)
            at -= split.features.size
        comparison = Comparison(rows, truth.keras, truth.seed, EPOCHS)
    liar.lie = lie
    return comparison, liar


def places(answer: Answer, count: int, truth: Comparison) -> Iterator[int]:
    """First, middle and last of all numbers, on each split where rows are compared."""
    if answer.rows:
        start = 0
        for split in truth.splits.values():
            size = len(split.features) * answer.elements
            yield from (start, start + size // 2, start + size - 1)
            start += size
    else:
        yield from (0, count // 2, count - 1)


def check_sizes(truth: Comparison) -> None:
    """That no stage is missing, none is left over, and each compares every number it has."""
    found = {stage: result.elements for stage, result in results(truth).items()}
    rows = {name: len(split.features) for name, split in truth.splits.items()}
    sizes = {-1: rows["test"], -2: rows["train"]}
    assert found == {
        stage: answer.elements * sum(rows.values())
        if answer.rows
        else sizes.get(answer.elements, answer.elements)
        for stage, answer in STAGES.items()
    }


def check_twins(stage: str, truth: Comparison) -> None:
    """That a number of Keras's made wrong, wherever it stands, makes this stage differ alone."""
    answer = STAGES[stage]
    splits = truth.prepared
    count = {-1: len(splits.test.labels), -2: len(splits.train.labels)}.get(
        answer.elements, answer.elements
    )
    if stage.endswith("initial weights"):
        count = WEIGHTS  # each is compared with both of PyTorch's runs
    if "exact probes" in stage:
        count //= 2  # likewise with what integers say
    for at in places(answer, count, truth):
        comparison, liar = twin(truth, (answer, at))
        found = results(comparison, answer.step)
        broken = {name for name, result in found.items() if not result.agree}
        assert broken == {stage}, f"element {at}: {broken}"
        assert found[stage].detail
        assert liar.told == (1 if answer.function else 0)


def test_stages_and_their_sizes_are_all_that_there_are(truth: Comparison) -> None:
    """No stage is missing, none is left over, and each compares every number that it has."""
    rows = {name: len(split.features) for name, split in truth.splits.items()}
    assert rows == {"train": 1920, "validation": 480, "test": 600}
    check_sizes(truth)


@pytest.mark.parametrize("stage", STAGES)
def test_a_wrong_number_of_keras_makes_its_stage_differ(stage: str, truth: Comparison) -> None:
    """Wherever it stands, and no other stage of the step."""
    check_twins(stage, truth)


@pytest.mark.parametrize("stage", [f"{FIT}, float64: weights", "random numbers: order of rows"])
def test_the_report_differs_exactly_there(
    stage: str, truth: Comparison, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """In all of its stages, and the command exits with 1."""
    liar = Liar(truth.keras)
    liar.lie = STAGES[stage], 3
    monkeypatch.setattr(keras_process, "KerasProcess", lambda: Lent(liar))
    rows = synthetic(**FEW)
    monkeypatch.setattr(command, "_rows", lambda _: (rows, "rows"))
    assert command.main([]) == 1
    said = capsys.readouterr().out
    assert said.count("DIFFER") == 1
    assert f"differ in 1 of {len(STAGES)} stages" in said


def test_a_fault_makes_the_report_differ_and_without_a_page_matplotlib_is_not_needed(
    truth: Comparison,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """The twin of PyTorch's side: one weight off by 1e-4 of itself, and the stages named.

    Where any import of matplotlib fails.
    """
    make_one_weight_wrong(monkeypatch)
    monkeypatch.setattr(keras_process, "KerasProcess", lambda: nullcontext(truth.keras))
    rows = synthetic(**FEW)
    monkeypatch.setattr(command, "_rows", lambda _: (rows, "rows"))
    for path in (ROOT / "parity_tests").rglob("*.py"):
        if "matplotlib" in needed_packages(path):  # an import of it has to run it again
            monkeypatch.delitem(sys.modules, f"parity_tests.{path.stem}", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = tmp_path / "r.json"
    assert command.main(["--json", str(found)]) == 1
    report = json.loads(found.read_text())
    assert report["verdict"] == "differ"
    broken = {stage["stage"] for stage in report["stages"] if not stage["agree"]}
    assert "exact probes: hidden pre-activations" in broken
    assert "random weights: hidden pre-activations" in broken
    assert "scaled features" not in broken
    printed = capsys.readouterr().out
    assert "DIFFER" in printed
    assert " ± " in printed


class Lent:
    """A liar where a process is expected."""

    def __init__(self, liar: Liar) -> None:
        self.call, self._process = liar.call, liar.truth

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def __enter__(self) -> Lent:
        return self

    def __exit__(self, *error: object) -> None:
        pass
