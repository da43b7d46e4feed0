"""A pipeline is its parts, joined: from raw rows to probability and decision."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parity_tests.decisions.pipelines import DTYPES, TRAINED_ON, a_pipeline, raw_rows, saying
from torch_impl import FeatureTransform, FraudClassifier, FraudPipeline, TrainedOn
from torch_impl.pipeline.pipeline import COLUMNS


def by_hand(pipeline: FraudPipeline, rows: np.ndarray) -> Tensor:
    """Probabilities."""
    classifier = copy.deepcopy(pipeline.classifier).eval()
    with torch.no_grad():
        logits = classifier(pipeline.transform(torch.from_numpy(rows)))
    return torch.sigmoid(logits + torch.tensor(pipeline.log_odds_shift, dtype=logits.dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize(("width", "units"), [(1, 1), (2, 5), (16, 16), (29, 16)])
def test_raw_rows_become_what_the_parts_make_of_them(
    width: int, units: int, dtype: torch.dtype
) -> None:
    """To the bit, in the classifier's dtype; the rows may be an array or a tensor."""
    pipeline = a_pipeline(width, units, dtype).eval()
    for rows in (0, 1, 2, 300):
        table = raw_rows(rows, width)
        expected = by_hand(pipeline, table)
        assert (expected.shape, expected.dtype) == ((rows, 1), dtype)
        with torch.no_grad():
            probabilities, decisions = pipeline(torch.from_numpy(table))
        assert torch.equal(probabilities, expected)
        assert decisions.dtype == torch.bool
        assert torch.equal(decisions, expected > torch.tensor(0.3, dtype=dtype))
        for given in (table, torch.from_numpy(table), table.tolist() if rows else table):
            assert torch.equal(pipeline.predict_proba(given), expected)
            assert torch.equal(pipeline.decide(given), decisions)


def test_many_rows_are_all_there_and_in_order() -> None:
    """Across the border of two blocks, and the border itself."""
    pipeline, table = a_pipeline(), raw_rows(2 * 8192 + 1)
    whole = pipeline.predict_proba(table)
    blocks = [by_hand(pipeline, table[start : start + 8192]) for start in (0, 8192, 16384)]
    assert torch.equal(whole, torch.cat(blocks))
    assert torch.equal(pipeline.predict_proba(table[:8192]), blocks[0])


@pytest.mark.parametrize("training", [True, False])
def test_predictions_drop_nothing_and_leave_every_mode_alone(training: bool) -> None:
    """Whatever it is; one part may be in another mode than the rest."""
    pipeline, table = a_pipeline().train(training), raw_rows(300)
    pipeline.classifier.output.train(not training)
    modes = [module.training for module in pipeline.modules()]
    probabilities = pipeline.predict_proba(table)
    assert torch.equal(probabilities, by_hand(pipeline, table))
    assert not probabilities.requires_grad
    assert [module.training for module in pipeline.modules()] == modes


def test_fraud_is_strictly_above_the_threshold() -> None:
    """A probability of just the threshold is none; the next float32 below the threshold is."""
    pipeline, rows = saying([0.0])
    assert pipeline.predict_proba(rows).tolist() == [[0.5]]
    for threshold, fraud in (
        (0.5, False), (float(np.nextafter(np.float32(0.5), np.float32(0))), True), (0, True),
        (1, False),
    ):  # fmt: skip
        pipeline.threshold = threshold
        assert pipeline.decide(rows).tolist() == [[fraud]]
        assert pipeline.eval()(torch.from_numpy(rows))[1].tolist() == [[fraud]]


def test_what_is_set_is_held_in_the_classifiers_dtype() -> None:
    """As the file and every runtime hold it."""
    for dtype, held in ((torch.float32, float(np.float32(0.1))), (torch.float64, 0.1)):
        pipeline = a_pipeline(dtype=dtype, threshold=0.1, log_odds_shift=0.1)
        assert (pipeline.threshold, pipeline.log_odds_shift) == (held, held)
    assert "threshold=0.1" in repr(pipeline)
    assert repr(TRAINED_ON) in repr(pipeline)
    assert "TrainedOn" not in repr(a_pipeline(trained_on=None))


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "threshold-above-1": (lambda: a_pipeline(threshold=1.5), "threshold=1.5; expected 0 to 1"),
    "threshold-nan": (lambda: a_pipeline(threshold=math.nan), "threshold=nan"),
    "threshold-negative": (lambda: setattr(a_pipeline(), "threshold", -1e-9), "threshold=-1e-09"),
    "shift-infinite": (lambda: a_pipeline(log_odds_shift=math.inf), "log_odds_shift=inf"),
    "shift-nan": (lambda: setattr(a_pipeline(), "log_odds_shift", math.nan), "shift=nan"),
    "columns-too-few": (lambda: a_pipeline(columns=["a"]), "1 columns, a transform of 29 and"),
    "columns-twice": (lambda: a_pipeline(2, columns=["a", "a"]), "expected printable names that"),
    "columns-empty": (lambda: a_pipeline(2, columns=["a", ""]), r"\['a', ''\]"),
    "columns-number": (lambda: a_pipeline(2, columns=["a", 1]), r"\['a', 1\]"),
    "columns-steer": (lambda: a_pipeline(1, columns=["\x1b[2J"]), r"\['\\x1b\[2J'\]"),
    "widths": (
        lambda: FraudPipeline(FeatureTransform([0.0], [1.0]), FraudClassifier(2), columns=["a"]),
        "1 columns, a transform of 1 and a classifier of 2; expected one width",
    ),
    "no-positives": (lambda: a_pipeline(trained_on=TrainedOn(0, 5)), "positives=0"),
    "half-a-negative": (lambda: a_pipeline(trained_on=TrainedOn(1, 0.5)), "negatives=0.5"),
    "factor-0": (lambda: a_pipeline(trained_on=TrainedOn(1, 1, 0.0)), "odds_factor=0.0"),
    "factor-infinite": (lambda: a_pipeline(trained_on=TrainedOn(1, 1, math.inf)), "factor=inf"),
    "factor-true": (lambda: a_pipeline(trained_on=TrainedOn(1, 1, True)), "factor=True"),
    "factor-huge": (lambda: a_pipeline(trained_on=TrainedOn(1, 1, 10**400)), "odds_factor=10"),
    "rate-unknown": (lambda: a_pipeline(trained_on=None).set_base_rate(), "trained_on is None"),
    "rate-0": (lambda: a_pipeline().set_base_rate(0.0), "base rate=0.0; expected a share"),
    "rate-1": (lambda: a_pipeline().set_base_rate(1.0), "base rate=1.0"),
    "rate-nan": (lambda: a_pipeline().set_base_rate(math.nan), "base rate=nan"),
    "rows-wide": (lambda: a_pipeline().predict_proba(np.zeros((3, 30))), r"\(3, 30\); expected"),
    "rows-one": (lambda: a_pipeline().predict_proba(np.zeros(29)), r"\(29,\); expected \(N, 29\)"),
    "rows-none": (lambda: a_pipeline().decide(0.0), r"rows came as \(\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_get_one_clear_line(case: str) -> None:
    """The message says what came and what was expected."""
    make, message = BAD[case]
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_refused_number_leaves_the_one_before() -> None:
    """Set again, it is as if nothing had been tried."""
    pipeline = a_pipeline(threshold=0.25, log_odds_shift=-2.0)
    for name, value in (("threshold", 2), ("log_odds_shift", math.inf)):
        with pytest.raises(ValueError, match=name):
            setattr(pipeline, name, value)
    with pytest.raises(ValueError, match="base rate"):
        pipeline.set_base_rate(7)
    assert (pipeline.threshold, pipeline.log_odds_shift) == (0.25, -2.0)


def test_columns_are_the_tutorials_unless_others_are_named() -> None:
    """V1 to V28, and Amount."""
    transform = FeatureTransform(torch.zeros(29), torch.ones(29))
    columns = FraudPipeline(transform, FraudClassifier()).columns
    assert columns == COLUMNS
    assert (columns[0], columns[27], columns[28], len(columns)) == ("V1", "V28", "Amount", 29)


def by_state_dict(pipeline: FraudPipeline) -> FraudPipeline:
    other = a_pipeline(threshold=0.9, log_odds_shift=3.0)
    with torch.no_grad():
        other.classifier.output.weight.zero_()
    other.load_state_dict(pipeline.state_dict())
    return other


def traced(pipeline: FraudPipeline) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of its own jit and of what it calls a constant
        return torch.jit.trace(pipeline.eval(), torch.from_numpy(raw_rows(3)))


@pytest.mark.parametrize(
    "duplicate",
    [
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(lambda p: pickle.loads(pickle.dumps(p)), id="pickle"),
        pytest.param(by_state_dict, id="state_dict"),
        pytest.param(traced, id="torch.jit.trace"),
    ],
)  # fmt: skip
def test_a_duplicate_decides_alike(duplicate: Callable[[FraudPipeline], nn.Module]) -> None:
    """However a project copies it, on any number of rows, to the bit."""
    pipeline = a_pipeline().eval()
    twin = duplicate(pipeline).eval()
    with torch.no_grad():
        for n in (0, 1, 2, 300):
            rows = torch.from_numpy(raw_rows(n))
            for ours, theirs in zip(twin(rows), pipeline(rows), strict=True):
                assert torch.equal(ours, theirs)


@pytest.mark.slow
def test_a_compiled_pipeline_follows_its_threshold_and_base_rate() -> None:
    """They are no constants of the graph, nor is the number of rows; to the bit."""
    pipeline, table = a_pipeline().eval(), torch.from_numpy(raw_rows(300))
    compiled = torch.compile(pipeline, backend="aot_eager", fullgraph=True, dynamic=True)
    for rate, n in ((None, 300), (0.001, 300), (0.4, 300), (0.4, 2), (0.4, 1)):
        pipeline.set_base_rate(rate)
        pipeline.threshold = float(pipeline.predict_proba(table).median())
        with torch.no_grad():
            came, expected = compiled(table[:n]), pipeline(table[:n])
        assert all(map(torch.equal, came, expected)), (rate, n)
        assert n < 300 or 0 < int(came[1].sum()) < n
