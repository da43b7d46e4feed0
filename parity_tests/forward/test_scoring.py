"""Raw rows to probabilities in one pass: the transform's features, the network's logits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parity_tests import ROOT
from parity_tests.judge import bounds
from parity_tests.judge.agreement import within
from parity_tests.judge.probes import exact_probe
from parity_tests.sides.compiler import each_way, needs_compiler, no_compiler
from parity_tests.sides.torch_side import classifier
from torch_impl import FeatureTransform, FraudClassifier, scoring, to_keras_weights
from torch_impl.base.compiled import library
from torch_impl.base.scaling import _BLOCK as BLOCK
from torch_impl.scoring import probabilities

DTYPES = pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64], ids=["float32", "float64"]
)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[mock.Mock]:
    """Compiled code for any number of rows; counts how often it is loaded."""
    monkeypatch.setattr(scoring, "_MANY", 0)
    with mock.patch.object(scoring, "library", side_effect=library) as asked:
        yield asked


def raw_rows(n: int, features: int = 29) -> np.ndarray:
    """Heavy tails, some beyond the clip, and amounts in the last column."""
    draw = np.random.default_rng(n)
    rows = draw.standard_t(3, (n, features)) * np.geomspace(1e-2, 1e3, features)
    rows[:, -1] = np.round(np.exp(draw.normal(3, 2, n)), 2)
    return rows


def weights(features: int, hidden: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(hidden)
    shapes = {
        "dense/kernel": (features, hidden),
        "dense/bias": (hidden,),
        "dense_1/kernel": (hidden, 1),
        "dense_1/bias": (1,),
    }
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def unscaled(features: int, clip: float = np.inf) -> FeatureTransform:
    """Leaves rows as they are."""
    return FeatureTransform(np.zeros(features), np.ones(features), clip, log_column=None)


def of_logits(logits: Tensor) -> Tensor:
    """The compiled sigmoid of logits (N, 1) themselves, by a network that gives x for x."""
    passing = FraudClassifier(1, 8).to(logits.dtype)
    with torch.no_grad():
        for layer in (passing.hidden, passing.output):
            layer.weight.zero_()
            layer.bias.zero_()
        passing.hidden.weight[:2, 0] = torch.tensor([1.0, -1.0])
        passing.output.weight[0, :2] = torch.tensor([1.0, -1.0])
    return probabilities(unscaled(1).to(logits.dtype), passing, logits)


@each_way
@DTYPES
@pytest.mark.parametrize(("features", "hidden"), [(29, 16), (33, 8)])
@pytest.mark.usefixtures("compiled")
def test_probabilities_of_raw_rows_lie_within_the_proven_bounds(
    features: int, hidden: int, dtype: torch.dtype, way: Any
) -> None:
    """Around each number of rows that is taken at once; as near as torch's own."""
    train, w = raw_rows(400, features), weights(features, hidden)
    transform, model = FeatureTransform.fit(train).to(dtype), classifier(w).to(dtype)
    for rows in (1, 63, 64, 65, BLOCK - 1, BLOCK + 1):
        raw = raw_rows(rows, features)
        expected = bounds.forward(bounds.standardised(raw, train), w)["probabilities"]
        theirs = model.predict_proba(transform(raw))
        with way():
            ours = probabilities(transform, model, raw)
        assert ours.dtype == dtype
        result = within("raw", "proven", ours.float().numpy(), theirs.float().numpy(), *expected)
        assert result.agree, (rows, result.detail)


@needs_compiler
@DTYPES
@pytest.mark.parametrize("shift", [0.0, -2.5, 0.1])
def test_exact_probes_give_the_sigmoid_of_their_exact_logits(
    shift: float, dtype: torch.dtype, compiled: mock.Mock
) -> None:
    """To the bit, and so with the shift of the log-odds added, rounded as the logits are."""
    probe = exact_probe(5)
    model, transform = classifier(probe.weights).to(dtype), unscaled(29, 8.0).to(dtype)
    rows = torch.from_numpy(probe.features)
    came = probabilities(transform, model, rows, log_odds_shift=shift)
    logits = torch.from_numpy(probe.logits).to(dtype) + torch.tensor(shift, dtype=dtype)
    assert torch.equal(came, of_logits(logits))
    assert compiled.call_count == 2


@needs_compiler
@DTYPES
@pytest.mark.usefixtures("compiled")
def test_the_features_within_are_the_transforms(dtype: torch.dtype) -> None:
    """To the bit, seen through networks each of which passes one column on."""
    raw = raw_rows(333, 5)
    transform = FeatureTransform.fit(raw_rows(400, 5)).to(dtype)
    features = transform(raw)
    for column in range(5):
        model = FraudClassifier(5, 8).to(dtype)
        with torch.no_grad():
            for p in model.parameters():
                p.zero_()
            model.hidden.weight[:2, column] = torch.tensor([1.0, -1.0])
            model.output.weight[0, :2] = torch.tensor([1.0, -1.0])
        expected = of_logits(features[:, column : column + 1])
        assert torch.equal(probabilities(transform, model, raw), expected)


@needs_compiler
@pytest.mark.usefixtures("compiled")
def test_float32_rows_are_scaled_and_logged_in_float64() -> None:
    """The same bits as for the same numbers in float64."""
    rows, model = raw_rows(333).astype(np.float32), FraudClassifier(seed=1)
    transform = FeatureTransform.fit(rows)
    wide = probabilities(transform, model, rows.astype(np.float64))
    assert torch.equal(probabilities(transform, model, torch.from_numpy(rows)), wide)


@needs_compiler
@DTYPES
@pytest.mark.usefixtures("compiled")
def test_any_logit_has_its_probability(dtype: torch.dtype) -> None:
    """From -200 to 200 as near as the libraries' sigmoids; at the infinities, and NaN."""
    logits = torch.linspace(-200, 200, 40_001, dtype=dtype)[:, None]
    expected = bounds.sigmoid(bounds.exactly(logits.numpy()))
    ours, theirs = of_logits(logits).float().numpy(), torch.sigmoid(logits).float().numpy()
    result = within("sigmoid", "proven", ours, theirs, *expected)
    assert result.agree, result.detail
    ends = FraudClassifier(1, 8).to(dtype)
    with torch.no_grad():
        for p in ends.parameters():
            p.zero_()
    found = []
    for bias in (-torch.inf, torch.inf, torch.nan):
        nn.init.constant_(ends.output.bias, bias)
        found.append(probabilities(unscaled(1).to(dtype), ends, torch.zeros(1, 1)).item())
    assert found[:2] == [0, 1]
    assert np.isnan(found[2])


@each_way
@pytest.mark.usefixtures("compiled")
def test_a_missing_number_stays_visible_in_its_row_alone(way: Any) -> None:
    """And an amount below zero; an infinity is clipped."""
    raw, model = raw_rows(200), FraudClassifier(seed=1)
    transform = FeatureTransform.fit(raw)
    raw[70, 3], raw[71, 4], raw[72, -1], raw[199, 0] = np.nan, np.inf, -5.0, np.nan
    with way():
        came = probabilities(transform, model, raw)
    assert came.isnan().nonzero()[:, 0].tolist() == [70, 72, 199]


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "array": lambda rows: rows,
    "columns-first": np.asfortranarray,
    "nested-list": np.ndarray.tolist,
    "tensor": torch.from_numpy,
    "every-second-row": lambda rows: torch.from_numpy(rows.repeat(2, axis=0))[::2],
    "of-a-leaf": lambda rows: torch.from_numpy(rows).requires_grad_(),
    "negated": lambda rows: torch._neg_view(torch.from_numpy(-rows)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("compiled")
def test_rows_are_taken_in_any_form(form: str) -> None:
    """The same probabilities, without a gradient, and the model's mode is left alone."""
    raw, model = raw_rows(BLOCK + 52), FraudClassifier(seed=1).train()
    transform = FeatureTransform.fit(raw)
    came = probabilities(transform, model, FORMS[form](raw))
    features = bounds.standardised(raw, raw)
    expected = bounds.forward(features, to_keras_weights(model))["probabilities"]
    theirs = model.predict_proba(transform(raw)).numpy()
    result = within(form, "proven", came.numpy(), theirs, *expected)
    assert result.agree, result.detail
    assert not came.requires_grad
    assert model.training
    assert model.dropout.calls == 0


class Other(FeatureTransform):
    """May do anything."""


class Twice(nn.Module):
    """A dropout that is none."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


ODD: dict[str, Callable[[FeatureTransform, FraudClassifier], Any]] = {
    "a-hook-of-the-transform": lambda t, _: t.register_forward_hook(lambda *_: None),
    "a-hook-of-a-layer": lambda _, m: m.hidden.register_forward_hook(lambda *_: None),
    "another-activation": lambda _, m: setattr(m, "activation", nn.Tanh()),
    "another-dropout": lambda _, m: setattr(m, "dropout", Twice()),
    "another-forward": lambda _, m: setattr(m, "forward", lambda x: x[:, :1]),
    "a-transforms-subclass": lambda t, _: setattr(t, "__class__", Other),
    "float16": lambda t, m: (t.half(), m.half()),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_not_plain_is_not_compiled(odd: str, compiled: mock.Mock) -> None:
    """It gives what the modules give."""
    raw = raw_rows(50)
    transform, model = FeatureTransform.fit(raw), FraudClassifier(seed=1).eval()
    ODD[odd](transform, model)
    with torch.no_grad():
        expected = torch.sigmoid(model(transform(raw)) + 0.5)
    assert torch.equal(probabilities(transform, model, raw, 0.5), expected)
    assert compiled.call_count == 0
    with torch.autocast("cpu"):
        probabilities(FeatureTransform.fit(raw), FraudClassifier(), raw)
    assert compiled.call_count == 0


@needs_compiler
@pytest.mark.parametrize(("missing", "times"), [(0, 1), (1, 0)], ids=["many", "few"])
def test_few_rows_are_left_to_torch(missing: int, times: int) -> None:
    """No compiler is started for what is over before it has begun."""
    rows = torch.ones(scoring._MANY - missing, 1, dtype=torch.float64)
    with mock.patch.object(scoring, "library", side_effect=library) as asked:
        probabilities(unscaled(1), FraudClassifier(1, 8), rows)
    assert asked.call_count == times


@pytest.mark.usefixtures("compiled")
def test_without_a_compiler_there_is_one_warning() -> None:
    """And the modules' own probabilities."""
    raw, model = raw_rows(100), FraudClassifier(seed=1)
    transform = FeatureTransform.fit(raw)
    with no_compiler() as told:
        for _ in range(2):
            came = probabilities(transform, model, raw)
            assert torch.equal(came, model.predict_proba(transform(raw)))
    (one,) = told
    assert "slower operations" in str(one.message)


@pytest.mark.parametrize("rows", [0, 3])
@pytest.mark.usefixtures("compiled")
def test_as_many_probabilities_as_rows(rows: int) -> None:
    """None of none."""
    came = probabilities(unscaled(29), FraudClassifier(), np.zeros((rows, 29)))
    assert came.shape == (rows, 1)


@pytest.mark.parametrize(
    ("transform", "shape", "shift", "message"),
    [
        (unscaled(29), (3, 30), 0.0, r"FeatureTransform: rows came as \(3, 30\)"),
        (unscaled(29), (), 0.0, r"FeatureTransform: rows came as \(\)"),
        (unscaled(30), (3, 30), 0.0, r"FraudClassifier: features came as \(3, 30\)"),
        (unscaled(29), (3, 29), np.nan, "log_odds_shift=nan; expected it finite"),
        (unscaled(29), (3, 29), np.inf, "log_odds_shift=inf; expected it finite"),
    ],
)
@pytest.mark.usefixtures("compiled")
def test_bad_rows_get_the_modules_own_line(
    transform: FeatureTransform, shape: tuple[int, ...], shift: float, message: str
) -> None:
    """Whoever would have refused them."""
    with pytest.raises(ValueError, match=message):
        probabilities(transform, FraudClassifier(), np.zeros(shape), shift)


@needs_compiler
@pytest.mark.slow
def test_many_rows_take_the_memory_of_their_probabilities() -> None:
    """12 MB and a block, wherever the rows come from: here they are one row, seen often."""
    program = """
import torch
from pathlib import Path
from torch_impl import FeatureTransform, FraudClassifier
from torch_impl.scoring import probabilities
transform, model = FeatureTransform([0.0] * 29, [1.0] * 29), FraudClassifier(seed=1)
status = Path("/proc/self/status")
peak = lambda: 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
rows = torch.ones(1, 29, dtype=torch.float64)
probabilities(transform, model, rows.expand(40_000, 29))
Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
before = peak()
came = probabilities(transform, model, rows.expand(3_000_000, 29))
assert (came == came[0]).all()
print((peak() - before) / came.nbytes)
"""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    assert 0.9 < float(answer.stdout) < 1.5
