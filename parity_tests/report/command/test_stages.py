"""Each stage of the report can say no, asked of a Keras that answers as PyTorch does.

What agrees is then known, whatever either of them computes: each number of Keras's answers is
PyTorch's own, and one made wrong is one that differs. For every stage, one number of the one answer
that the stage compares is made wrong, at the first place, in the middle and at the last, on each
split. What live Keras's own runs allow is small enough to see that: `test_recorded.py`.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

import parity_tests.__main__ as command
from data import Prepared, prepare, synthetic
from parity_tests import ROOT
from parity_tests.judge.probes import exact_probe
from parity_tests.judge.sigmoid import SIGMOID_ULP
from parity_tests.reference import keras_process
from parity_tests.reference.selection import needed_packages
from parity_tests.report import stages
from parity_tests.report.sick_model import make_one_weight_wrong
from parity_tests.report.stages import WEIGHT_SETS, Comparison
from parity_tests.sides.answers import Answers, Echo, run_here, spoil
from parity_tests.sides.exported import RUNTIMES
from torch_impl import to_keras_weights
from torch_impl.keras.random import layer_seeds

SEED, ROWS, POSITIVES = 2, 120, 24
EPOCHS = 2
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


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return synthetic(rows=ROWS, positives=POSITIVES, seed=SEED)


@pytest.fixture(scope="module")
def prepared(frame: pd.DataFrame) -> Prepared:
    return prepare(frame, seed=SEED)


@pytest.fixture(scope="module")
def truth(prepared: Prepared) -> Comparison:
    comparison = Comparison(prepared, Answers(Echo()), seed=SEED, epochs=EPOCHS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "run_exported", run_here)
        results(comparison)  # what every twin asks is answered
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


def test_every_number_of_every_stage_is_compared(truth: Comparison) -> None:
    """No stage is missing, none is left over; and what answers alike agrees."""
    found = results(truth)
    for stage, result in found.items():
        assert result.agree, stage
        assert result.kind == kind_of(stage), stage
    rows = {name: len(split.features) for name, split in truth.splits.items()}
    sizes = {-1: rows["test"], -2: rows["train"]}
    assert {stage: result.elements for stage, result in found.items()} == {
        stage: answer.elements * sum(rows.values())
        if answer.rows
        else sizes.get(answer.elements, answer.elements)
        for stage, answer in STAGES.items()
    }


def kind_of(stage: str) -> str:
    """Which kind of agreement is due."""
    if stage.endswith(("weights copied", "initial weights")) or stage.startswith("random numbers"):
        return "exact"
    if "exact probes" in stage:
        return "exact"
    if ", float64" in stage:
        return "double"
    return "rounding" if FIT in stage else "proven"


def test_the_part_that_breaks_is_named_where_there_are_several(truth: Comparison) -> None:
    """The split of a feature, the weight; of exact probes none, which have one."""
    start = 0
    assert list(truth.splits) == ["train", "validation", "test"]
    for name, split in truth.splits.items():
        comparison, _ = twin(truth, (STAGES["scaled features"], start + 30))
        (result,) = comparison.scaled_features()
        assert (result.worst.part, result.worst.at) == (name, (1, 1))
        start += split.features.size
    for stage, at, part in (
        ("exact probes: logits", 0, ""),
        ("one step: gradient", 29 * 16, "dense/bias"),
        ("prior bias: weights copied", 0, "dense/kernel"),
    ):
        comparison, _ = twin(truth, (STAGES[stage], at))
        worst = results(comparison, STAGES[stage].step)[stage].worst
        assert (worst.part, set(worst.at)) == (part, {0})


@pytest.mark.parametrize("stage", STAGES)
def test_a_wrong_number_makes_its_stage_differ(stage: str, truth: Comparison) -> None:
    """At the first place, in the middle and at the last, on each split; and no other stage."""
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


def test_the_steps_are_named_and_in_order(truth: Comparison) -> None:
    """One for each set of weights, two for each runtime."""
    assert [step.name for step in truth.steps()] == [
        "scaled features", "exact probes", *WEIGHT_SETS, "raw rows to probabilities",
        *(f"{name}: {stage}" for name in RUNTIMES
          for stage in ("exact probes", "raw rows to probabilities")),
        "random numbers", "one training step", "2 epochs of fit",
    ]  # fmt: skip
    once = Comparison(truth.prepared, truth.keras, SEED, epochs=1)
    once.keras_runs, once.torch_runs = truth.keras_runs, truth.torch_runs
    assert {result.stage for result in once.training()} == {
        stage.replace(FIT, "fit, 1 epoch") for stage in STAGES if FIT in stage
    }


def test_each_runtime_is_asked_of_the_probe_and_of_raw_rows(
    truth: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, with the trained weights in a pipeline that stands at no other base rate."""
    asked = []

    def run_exported(runtime: str, module: torch.nn.Module, rows: np.ndarray) -> list[np.ndarray]:
        asked.append((runtime, module, rows))
        return [np.array(len(asked)), np.array(0)]

    monkeypatch.setattr(stages, "run_exported", run_exported)
    comparison = Comparison(truth.prepared, truth.keras, SEED, EPOCHS)
    comparison.weights = truth.weights
    assert comparison.exported == {"torch.export": (1, 2), "ONNX Runtime": (3, 4)}
    probe, trained = exact_probe(SEED), truth.weights["trained weights"]
    for (runtime, module, rows), (raw_runtime, pipeline, raw) in (asked[:2], asked[2:]):
        assert runtime == raw_runtime
        np.testing.assert_array_equal(rows, probe.features)
        assert raw is truth.prepared.test.raw
        assert pipeline.log_odds_shift == 0
        assert pipeline.transform is comparison.transform
        for model, weights in ((module, probe.weights), (pipeline.classifier, trained)):
            for name, array in to_keras_weights(model).items():
                np.testing.assert_array_equal(array, weights[name])


def test_keras_is_asked_of_the_data_and_the_seed_at_hand(
    prepared: Prepared, truth: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question with its arguments, once."""
    echo = Echo()
    monkeypatch.setattr(Comparison, "exported", truth.exported)
    results(Comparison(prepared, Answers(echo), seed=SEED, epochs=EPOCHS))
    asked: dict[str, list[Any]] = {}
    for name, args, kwargs in echo.asked:
        asked.setdefault(name, []).append((args, kwargs))
    prior = float(np.log(POSITIVES / (ROWS - POSITIVES)))
    assert asked["model.initial_weights"] == [
        ((29,), {"seed": SEED}), ((29,), {"output_bias": prior, "seed": SEED}),
    ]  # fmt: skip
    assert asked["random.fresh_model"] == [((SEED,), {})]
    assert asked["random.dropout"] == [((layer_seeds(SEED, 3)[1], 0.5, (2048, 16), 0, 3), {})]
    train, validation, test = prepared.train, prepared.validation, prepared.test
    assert asked["random.fit_orders"] == [((SEED, len(train.labels), 1, 2048), {})]
    (((weights, *rows), step),) = asked["training.one_step_in_both"]
    assert (weights["dense_1/bias"], step) == (np.float32(prior), {"seed": SEED})
    np.testing.assert_array_equal(rows[0], train.features)
    np.testing.assert_array_equal(rows[1], train.labels)
    ((data, fit),) = asked["training.fits"]
    assert data == ()
    given = {"features": train.features, "labels": train.labels}
    assert all(fit.pop(name) is array for name, array in given.items())
    held_out = fit.pop("validation_data")
    assert held_out[0] is validation.features
    assert held_out[1] is validation.labels
    assert fit == {
        "seed": SEED, "epochs": EPOCHS, "batch_size": 2048, "trace": (), "output_bias": prior,
        "sigmoid_ulp": SIGMOID_ULP,
    }  # fmt: skip
    (probe_weights, probe_rows), _ = asked["forward.forward_stages"][0]
    np.testing.assert_array_equal(probe_rows, exact_probe(SEED).features)
    assert probe_weights.keys() == weights.keys()
    sizes = [len(features) for (_, features), _ in asked["forward.forward_stages"]]
    assert sizes == [512, ROWS, ROWS, ROWS, ROWS, len(test.labels)]
    assert len(asked["model.copy_through"]) == len(WEIGHT_SETS)


def test_the_four_sets_of_weights_are_what_they_are_called(truth: Comparison) -> None:
    """Two that Keras starts from, one drawn here by the seed, one that Keras ends on."""
    zero, prior, drawn, trained = (truth.weights[name] for name in WEIGHT_SETS)
    assert zero["dense_1/bias"] == 0
    assert prior["dense_1/bias"] == np.float32(np.log(POSITIVES / (ROWS - POSITIVES)))
    np.testing.assert_array_equal(zero["dense/kernel"], prior["dense/kernel"])
    rng = np.random.default_rng(SEED)
    for name, array in zero.items():
        expected = rng.normal(size=array.shape) / np.sqrt(len(array))
        assert drawn[name].dtype == np.float32
        assert np.abs(drawn[name] - expected).max() <= 2.0**-23 * np.abs(expected).max()
    assert trained is truth.keras_runs["float32"]["final"]


def test_a_page_asks_for_the_weights_on_the_way(prepared: Prepared) -> None:
    """After each step, and without a page after none; two epochs unless it is said otherwise."""
    plain = Comparison(prepared, Answers(Echo()))
    assert (plain.seed, plain.epochs, plain.traced_steps) == (0, 2, ())
    assert Comparison(prepared, Answers(Echo()), trace=True).traced_steps == (1, 2)
    assert Comparison(prepared, Answers(Echo()), epochs=3, trace=True).traced_steps == (1, 2, 3)
    rows = copy.deepcopy(prepared)
    object.__setattr__(rows.train, "labels", np.zeros((2049, 1), np.float32))
    assert Comparison(rows, Answers(Echo()), trace=True).traced_steps == (1, 2, 3, 4)


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


@pytest.fixture
def liar(truth: Comparison, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Iterator[Liar]:
    """Answers the command."""
    liar = Liar(truth.keras)
    monkeypatch.setattr(Comparison, "exported", truth.exported)  # takes seconds
    monkeypatch.setattr(keras_process, "KerasProcess", lambda: Lent(liar))
    monkeypatch.setattr(command, "_rows", lambda _: (frame, "rows"))
    return liar


@pytest.mark.parametrize(
    ("stage", "broken"),
    [
        (None, 0),
        ("zero bias: weights copied", 4),  # and of the other sets
        ("random numbers: dropout masks", 1),
        (f"{FIT}: history", 1),
    ],
)
def test_the_command_differs_where_a_stage_does(
    stage: str | None, broken: int, liar: Liar, capsys: pytest.CaptureFixture
) -> None:
    """Whichever it is; the exit status is 1, the verdict and the table say so."""
    liar.lie = None if stage is None else (STAGES[stage], 3)
    assert command.main(["--seed", str(SEED)]) == (1 if broken else 0)
    said = capsys.readouterr().out
    assert said.count("DIFFER") == broken
    verdict = f"differ in {broken} of" if broken else "agree in all"
    assert f"{verdict} {len(STAGES)} stages" in said


def test_a_fault_makes_the_report_differ_and_without_a_page_matplotlib_is_not_needed(
    liar: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The twin of PyTorch's side: one weight off by 1e-4 of itself, and the stages named.

    Where any import of matplotlib fails.
    """
    make_one_weight_wrong(monkeypatch)
    for path in (ROOT / "parity_tests").rglob("*.py"):
        if "matplotlib" in needed_packages(path):  # an import of it has to run it again
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = tmp_path / "r.json"
    assert command.main(["--seed", str(SEED), "--json", str(found)]) == 1
    report = json.loads(found.read_text())
    assert report["verdict"] == "differ"
    broken = {stage["stage"] for stage in report["stages"] if not stage["agree"]}
    assert "exact probes: hidden pre-activations" in broken
    assert "random weights: hidden pre-activations" in broken
    assert "scaled features" not in broken
    printed = capsys.readouterr().out
    assert "DIFFER" in printed
    assert " ± " in printed
