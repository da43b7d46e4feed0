"""`evaluate`: Keras's metrics, calibration before and after a correction, what is called fraud."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from parity_tests.decisions.commands.trained_models import (
    BALANCES,
    FRAUDS,
    ROWS,
    Spoken,
    Table,
    Trained,
)
from parity_tests.judge.bounds import U64, gamma
from parity_tests.record.recorded_forward import compare_metrics
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import LOGITS
from torch_impl import KerasMetrics, evaluate, save_pipeline
from torch_impl.commands import tables
from torch_impl.keras.metrics import METRIC_NAMES

BLOCK = 512
PARTS = [BLOCK] * (ROWS // BLOCK - 1) + [BLOCK + ROWS % BLOCK]


def shifts(trained: Trained) -> dict[str, float]:
    """By which the logits as trained are corrected, under the names that `evaluate` gives."""
    shift = trained.told["log_odds_shift"]
    return {"as trained": 0.0} | ({"corrected": shift} if shift else {})


def logits_of(trained: Trained, table: Table) -> np.ndarray:
    """(N, 1) float32, as trained, of blocks as the command reads them."""
    pipeline = trained.pipeline()
    blocks = torch.from_numpy(table.raw()).split(PARTS)
    with torch.no_grad():
        parts = [pipeline.classifier(pipeline.transform(block)) for block in blocks]
    return torch.cat(parts).numpy()


def labels_of(table: Table) -> np.ndarray:
    """(N, 1) float32."""
    return table.frame["Class"].to_numpy(np.float32)[:, None]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the rows are some."""
    monkeypatch.setattr(tables, "ROWS", BLOCK)


@pytest.fixture
def told(
    request: pytest.FixtureRequest, table: Table, trained: dict[str, Trained], spoken: Spoken
) -> dict:
    """What `evaluate --json` says of the model that a test asks about."""
    status, out, error = spoken("evaluate", trained[request.param].model, table.path, "--json")
    assert (status, error) == (0, [])
    answer: dict = json.loads(out)
    return answer


@pytest.mark.parametrize(("balance", "told"), [(b, b) for b in BALANCES], indirect=["told"])
def test_the_metrics_are_keras_metrics_of_the_tables_logits(
    balance: str, told: dict, table: Table, trained: dict[str, Trained]
) -> None:
    """As trained, and corrected where the model corrects: to the bit, block for block."""
    logits = torch.from_numpy(logits_of(trained[balance], table))
    labels = torch.from_numpy(labels_of(table))
    assert list(told["metrics"]) == list(shifts(trained[balance]))
    for name, shift in shifts(trained[balance]).items():
        metrics = KerasMetrics()
        for part, own in zip(logits.split(PARTS), labels.split(PARTS), strict=True):
            metrics.update(part + np.float32(shift), own)
        came = told["metrics"][name]
        assert {key: came[key] for key in METRIC_NAMES} == metrics.result()


@pytest.mark.parametrize("told", ["oversample"], indirect=True)
def test_counts_and_ratios_are_scikit_learns(
    told: dict, table: Table, trained: dict[str, Trained]
) -> None:
    """At one half, and at the model's own threshold."""
    model, labels = trained["oversample"], labels_of(table).ravel()
    logits = logits_of(model, table)
    for name, shift in shifts(model).items():
        p = torch.sigmoid(torch.from_numpy(logits + np.float32(shift))).numpy().ravel()
        (tn, fp), (fn, tp) = sklearn_metrics.confusion_matrix(labels, p > np.float32(0.5)).tolist()
        came = told["metrics"][name]
        assert [came[key] for key in ("tn", "fp", "fn", "tp")] == [tn, fp, fn, tp]
        assert came["accuracy"] == sklearn_metrics.accuracy_score(labels, p > np.float32(0.5))
    assert told["threshold"] == 0.5
    assert (told["rows"], told["positives"]) == (ROWS, FRAUDS)
    assert (told["true_positives"], told["false_positives"]) == (tp, fp)
    assert (told["precision"], told["recall"]) == (tp / (tp + fp), tp / (tp + fn))


@pytest.mark.parametrize("told", ["oversample"], indirect=True)
def test_frauds_expected_are_the_sum_of_the_probabilities(
    told: dict, table: Table, trained: dict[str, Trained]
) -> None:
    """Far too many as trained on oversampled rows, nearer to those that there are corrected."""
    logits = logits_of(trained["oversample"], table)
    for name, shift in shifts(trained["oversample"]).items():
        p = torch.sigmoid(torch.from_numpy(logits + np.float32(shift))).numpy().ravel()
        true = math.fsum(p.tolist())
        came = told["metrics"][name]["frauds expected"]
        assert abs(came - true) <= gamma(len(p), U64) * true
    off = {name: abs(own["frauds expected"] - FRAUDS) for name, own in told["metrics"].items()}
    assert off["corrected"] < off["as trained"]


def test_a_threshold_of_the_models_own_is_what_calls_fraud(
    table: Table, trained: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory,
    spoken: Spoken,
) -> None:  # fmt: skip
    """Counted in NumPy: above it, in float32, and not at it."""
    pipeline = trained["none"].pipeline()
    p = pipeline.predict_proba(table.raw()).numpy().ravel()
    pipeline.threshold = float(np.sort(p)[-40])  # a row's own probability
    model = tmp_path_factory.mktemp("own") / "m.safetensors"
    save_pipeline(pipeline, model)
    told = json.loads(spoken("evaluate", model, table.path, "--json")[1])
    frauds = labels_of(table).ravel() == 1
    called = p > np.sort(p)[-40]
    assert told["alerts"] == called.sum() == 39
    assert told["true_positives"] == (called & frauds).sum()
    assert told["false_positives"] == (called & ~frauds).sum()


def test_another_base_rate_is_what_is_evaluated(
    table: Table, trained: dict[str, Trained], spoken: Spoken
) -> None:
    """In the metrics, and in what is called fraud, as `score` would."""
    pipeline = trained["none"].pipeline().set_base_rate(0.4)
    words = ("evaluate", trained["none"].model, table.path, "--json", "--base-rate", "0.4")
    told = json.loads(spoken(*words)[1])
    assert told["log_odds_shift"] == pipeline.log_odds_shift != 0
    assert list(told["metrics"]) == ["as trained", "corrected"]
    assert told["alerts"] == pipeline.decide(table.raw()).sum()
    other = json.loads(spoken(*words[:-2])[1])
    assert told["alerts"] > other["alerts"]
    assert told["metrics"]["as trained"] == other["metrics"]["as trained"]


def test_a_person_is_told_both_and_why(
    table: Table, trained: dict[str, Trained], spoken: Spoken
) -> None:
    """Within 80 columns; of a model without a correction there is one column of values."""
    status, out, _ = spoken("evaluate", trained["class-weights"].model, table.path)
    assert status == 0
    lines = [line.rstrip() for line in out.splitlines()]
    heading = next(line for line in lines if line.startswith("metric"))
    assert heading.split() == ["metric", "as", "trained", "corrected"]
    shift = trained["class-weights"].told["log_odds_shift"]
    assert f"Corrected by a shift of the log-odds by {shift:+.6g}" in lines
    assert any(line.startswith("Above the model's threshold 0.5: ") for line in lines)
    _, out, _ = spoken("evaluate", trained["none"].model, table.path)
    assert "as trained" not in out
    assert "Corrected" not in out


def test_train_tells_the_same_of_its_test_rows(table: Table, trained: dict[str, Trained]) -> None:
    """What Keras's `evaluate` of the network says, and the same corrected."""
    test = table.prepared.test
    for run in trained.values():
        pipeline = run.pipeline()
        as_trained = evaluate(pipeline.classifier, test.features, test.labels)
        assert list(run.told["test"]) == list(shifts(run))
        own = {name: run.told["test"]["as trained"][name] for name in METRIC_NAMES}
        theirs = {name: as_trained[name] for name in METRIC_NAMES}
        for result in compare_metrics({"logits": test.labels}, own, theirs):
            assert result.agree, f"{result.stage}: {result.detail}"


@pytest.mark.slow
@LOGITS
def test_the_metrics_are_live_keras(
    table: Table, trained: dict[str, Trained], keras: KerasProcess, spoken: Spoken
) -> None:
    """Of the same logits, as trained and corrected, within what rounding may do to each."""
    model = trained["oversample"]
    told = json.loads(spoken("evaluate", model.model, table.path, "--json")[1])
    logits, labels = logits_of(model, table), labels_of(table)
    for name, shift in shifts(model).items():
        own = {key: told["metrics"][name][key] for key in METRIC_NAMES}
        shifted = logits + np.float32(shift)
        theirs = keras.call("losses.metrics_of_logits", shifted, labels)
        for result in compare_metrics({"logits": shifted}, own, theirs):
            assert result.agree, f"{name}: {result.stage}: {result.detail}"
