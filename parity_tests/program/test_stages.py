"""Each stage of the report can say no, asked of a Keras that answers as PyTorch does.

What agrees is then known, whatever either of them computes: each number of Keras's answers is
PyTorch's own, and one made wrong is one that differs. `test_stage_twins.py` asks live Keras.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import parity_tests.__main__ as command
from data import Prepared, prepare, synthetic
from parity_tests.judge.probes import exact_probe
from parity_tests.judge.sigmoid import SIGMOID_ULP
from parity_tests.program.answers import Answers
from parity_tests.program.test_stage_twins import (
    EPOCHS,
    FIT,
    STAGES,
    Lent,
    Liar,
    check_sizes,
    check_twins,
    results,
    twin,
)
from parity_tests.reference import keras_process
from parity_tests.report import stages
from parity_tests.report.stages import WEIGHT_SETS, Comparison
from parity_tests.sides import torch_side
from parity_tests.sides.exported import RUNTIMES
from parity_tests.sides.training_pair import torch_fits, torch_steps
from torch_impl import FraudClassifier, KerasDropout, to_keras_weights
from torch_impl.keras.random import layer_seeds, shuffle_permutation

SEED, ROWS, POSITIVES = 2, 120, 24
STEPPED = ("tp", "fp", "tn", "fn", "accuracy", "precision", "recall", "auc", "prc")


class Echo:
    """In place of a Keras process."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self.asked.append((name, args, kwargs))
        return getattr(self, name.partition(".")[2])(*args, **kwargs)

    def start(self) -> dict[str, str]:
        return {"keras": "an echo"}

    def wait(self, answer: Any) -> Any:
        return answer

    def initial_weights(
        self, width: int, output_bias: float | None = None, seed: int | None = None
    ) -> dict[str, np.ndarray]:
        return to_keras_weights(FraudClassifier(width, output_bias=output_bias, seed=seed))

    def copy_through(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return copy.deepcopy(weights)

    def forward_stages(
        self, weights: dict[str, np.ndarray], features: np.ndarray
    ) -> dict[str, np.ndarray]:
        return torch_side.forward_stages(torch_side.classifier(weights), features)

    def fresh_model(self, seed: int) -> dict[str, int]:
        return {"dropout/seed": layer_seeds(seed, 3)[1]}

    def dropout(
        self, seed: int, rate: float, shape: tuple[int, int], first_call: int, calls: int
    ) -> tuple[np.ndarray, int]:
        layer = KerasDropout(rate, seed)
        layer.calls = first_call
        return torch.stack([layer(torch.ones(shape)) for _ in range(calls)]).numpy(), calls

    def fit_orders(self, seed: int, rows: int, epochs: int, batch_size: int) -> np.ndarray:
        return np.stack([shuffle_permutation(seed, rows).numpy()] * epochs)

    def one_step_in_both(self, *data: Any, seed: int) -> dict[str, Any]:
        kept, _ = self.dropout(layer_seeds(seed, 3)[1], 0.5, (len(data[1]), 16), 0, 1)
        return {**torch_steps(*data, seed=seed), "kept": kept[0] != 0}

    def fits(self, *data: Any, sigmoid_ulp: float, **options: Any) -> dict[str, Any]:
        runs: Any = torch_fits(*data, **options)
        for run in runs.values():
            run["batch"] = min(options["batch_size"], len(options["labels"]))
        history = runs["float32"]["history"]
        jumps = {name: [0.0] * EPOCHS for name in history if name.removeprefix("val_") in STEPPED}
        return {**runs, "edges": {**copy.deepcopy(runs["float32"]), "spread": jumps}}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return synthetic(rows=ROWS, positives=POSITIVES, seed=SEED)


@pytest.fixture(scope="module")
def prepared(frame: pd.DataFrame) -> Prepared:
    return prepare(frame, seed=SEED)


@pytest.fixture(scope="module")
def truth(prepared: Prepared) -> Comparison:
    comparison = Comparison(prepared, Answers(Echo()), seed=SEED, epochs=EPOCHS)
    assert comparison.torch_runs
    return comparison


def test_every_number_of_every_stage_is_compared(truth: Comparison) -> None:
    """No stage is missing, none is left over; and what answers alike agrees."""
    check_sizes(truth)
    for stage, result in results(truth).items():
        assert result.agree, stage
        assert result.kind == kind_of(stage), stage


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
    check_twins(stage, truth)


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
