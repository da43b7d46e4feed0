"""What bad input is told: one line, word for word, with where, what came and what was expected."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torch_impl import (
    KERAS_WEIGHT_MAP,
    EarlyStopping,
    FeatureTransform,
    FraudClassifier,
    KerasAdam,
    KerasDropout,
    WeightRow,
    evaluate,
    fit,
    load_keras_weights,
    oversample,
    predict,
    prior_log_odds,
    to_keras_weights,
)
from torch_impl.base.arguments import whole
from torch_impl.keras.random import (
    dropout_mask,
    glorot_uniform,
    layer_seeds,
    random_bits,
    shuffle_permutation,
    stream_start,
    uniform,
)

X = np.zeros((4, 2), np.float32)
Y = np.float32([0, 1, 0, 1])
INT64 = 2**63


def fitted(x: Any = X, y: Any = Y, **options: Any) -> Any:
    return fit(FraudClassifier(2, 8, seed=1), x, y, progress=False, **options)


def transform(*mean: float, scale: tuple[float, ...] = (1.0, 1.0), **options: Any) -> Any:
    return FeatureTransform(mean or (0.0, 0.0), scale, **options)


def adam(**options: Any) -> Any:
    return KerasAdam([nn.Parameter(torch.ones(1))], **options)


def keras_weights(**changed: Any) -> dict[str, Any]:
    weights = to_keras_weights(FraudClassifier(2, 3))
    weights |= {name.replace("__", "/"): value for name, value in changed.items()}
    return {name: value for name, value in weights.items() if value is not None}


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "whole-above": (
        lambda: whole("f: n", 8, 1, 7),
        "f: n=8; expected a whole number from 1 to 7",
    ),
    "whole-above-a-power": (
        lambda: whole("f: n", 1024, -1, 1023),
        "f: n=1024; expected a whole number from -1 to 2**10 - 1",
    ),
    "whole-above-no-power": (
        lambda: whole("f: n", 1023, 1024, 2**10 + 1),
        "f: n=1023; expected a whole number from 1024 to 1025",
    ),
    "whole-text": (
        lambda: whole("f: n", "0123456789" * 9, 0, 511),
        f"f: n='{'0123456789' * 7}012345678; expected a whole number from 0 to 511",
    ),
    "whole-of-many-digits": (
        lambda: whole("f: n", 10**90, 0),
        f"f: n=1{'0' * 79}; expected a whole number from 0 to 2**63 - 1",
    ),
    "whole-bool": (
        lambda: whole("f: n", True, 0),
        "f: n=True; expected a whole number from 0 to 2**63 - 1",
    ),
    "prior-without-positives": (
        lambda: prior_log_odds(0, 5),
        "prior_log_odds: positives=0, negatives=5; expected both to be at least 1 "
        "(the log-odds of one class alone are infinite)",
    ),
    "prior-without-negatives": (
        lambda: prior_log_odds(5, 0),
        "prior_log_odds: positives=5, negatives=0; expected both to be at least 1 "
        "(the log-odds of one class alone are infinite)",
    ),
    "no-features": (
        lambda: FraudClassifier(0, 3),
        "FraudClassifier: in_features=0; expected a whole number from 1 to 2**63 - 1",
    ),
    "no-units": (
        lambda: FraudClassifier(2, 0),
        "FraudClassifier: hidden_units=0; expected a whole number from 1 to 2**63 - 1",
    ),
    "dropout-above-1": (
        lambda: FraudClassifier(dropout=1.5),
        "FraudClassifier: dropout=1.5; expected a share from 0 to 1",
    ),
    "dropout-nan": (
        lambda: FraudClassifier(dropout=math.nan),
        "FraudClassifier: dropout=nan; expected a share from 0 to 1",
    ),
    "bias-infinite": (
        lambda: FraudClassifier(output_bias=-math.inf),
        "FraudClassifier: output_bias=-inf; expected it finite",
    ),
    "features-too-wide": (
        lambda: FraudClassifier(2, 3)(torch.zeros(5, 4)),
        "FraudClassifier: features came as (5, 4); expected (N, 2)",
    ),
    "features-of-no-axis": (
        lambda: FraudClassifier(1, 3).predict_proba(torch.zeros(())),
        "FraudClassifier: features came as (); expected (N, 1)",
    ),
    "layer-dropout-above-1": (
        lambda: KerasDropout(1.5, 1),
        "KerasDropout: rate=1.5; expected a share from 0 to 1",
    ),
    "layer-dropout": (
        lambda: KerasDropout(-0.1, 1),
        "KerasDropout: rate=-0.1; expected a share from 0 to 1",
    ),
    "adam-lr": (lambda: adam(lr=-1), "KerasAdam: lr=-1; expected it to be 0 or more"),
    "adam-lr-nan": (lambda: adam(lr=math.nan), "KerasAdam: lr=nan; expected it to be 0 or more"),
    "adam-eps": (lambda: adam(eps=-1), "KerasAdam: eps=-1; expected it to be 0 or more"),
    "adam-betas": (
        lambda: adam(betas=(0.9, 1.0)),
        "KerasAdam: betas=(0.9, 1.0); expected both in [0, 1)",
    ),
    "stopping-mode": (
        lambda: EarlyStopping(mode="up"),  # type: ignore[arg-type]
        "EarlyStopping: mode='up'; expected 'auto', 'min' or 'max'",
    ),
    "stopping-direction": (
        lambda: EarlyStopping("val_tp"),
        "EarlyStopping: monitor='val_tp' has no direction of its own; "
        "expected mode='min' or mode='max'",
    ),
    "stopping-patience": (
        lambda: EarlyStopping(patience=-1),
        "EarlyStopping: patience=-1; expected a whole number from 0 to 2**63 - 1",
    ),
    "stopping-start": (
        lambda: EarlyStopping(start_from_epoch=-1),
        "EarlyStopping: start_from_epoch=-1; expected a whole number from 0 to 2**63 - 1",
    ),
    "layer-dropout-seed": (
        lambda: KerasDropout(0.5, -INT64 - 1),
        f"KerasDropout: seed={-INT64 - 1}; expected a whole number from {-INT64} to 2**63 - 1",
    ),
    "layer-dropout-calls": (
        lambda: KerasDropout(0.5, 1).set_extra_state(torch.tensor(-1)),
        "KerasDropout: calls=-1; expected a whole number from 0 to 2**63 - 1",
    ),
    "transform-lengths": (
        lambda: transform(0.0),
        "FeatureTransform: mean has shape (1,), scale (2,); "
        "expected two vectors of one length, 1 or more",
    ),
    "transform-table": (
        lambda: FeatureTransform([[0.0]], [[1.0]]),
        "FeatureTransform: mean has shape (1, 1), scale (1, 1); "
        "expected two vectors of one length, 1 or more",
    ),
    "transform-scale-0": (
        lambda: transform(scale=(1.0, 0.0)),
        "FeatureTransform: expected a finite mean and a finite scale above 0",
    ),
    "transform-mean-nan": (
        lambda: transform(math.nan, 0.0),
        "FeatureTransform: expected a finite mean and a finite scale above 0",
    ),
    "transform-clip-0": (
        lambda: transform(clip=0),
        "FeatureTransform: clip=0; expected it above 0",
    ),
    "transform-column-2": (
        lambda: transform(log_column=2),
        "FeatureTransform: log_column=2; expected one of 2 columns",
    ),
    "transform-column-before": (
        lambda: transform(log_column=-3),
        "FeatureTransform: log_column=-3; expected one of 2 columns",
    ),
    "transform-width": (
        lambda: transform()(torch.zeros(3, 5)),
        "FeatureTransform: rows came as (3, 5); expected (N, 2)",
    ),
    "transform-no-axis": (
        lambda: transform()(torch.zeros(())),
        "FeatureTransform: rows came as (); expected (N, 2)",
    ),
    "transform-fit-shape": (
        lambda: FeatureTransform.fit(np.zeros((0, 2))),
        "FeatureTransform.fit: rows came as (0, 2); expected (N, F), both at least 1",
    ),
    "transform-fit-nan": (
        lambda: FeatureTransform.fit([[1.0, 2.0], [math.nan, 2.0], [math.inf, 2.0]]),
        "FeatureTransform.fit: row 1, column 0 is nan; expected a finite number (2 such values)",
    ),
    "transform-fit-logarithm": (
        lambda: FeatureTransform.fit([[-9.0, 2.0], [1.0, -0.5]], log_offset=0.5),
        "FeatureTransform.fit: row 1, column 1 is -0.5; "
        "expected more than -0.5, as its logarithm is taken (1 such values)",
    ),
    "transform-extra-state": (
        lambda: transform().set_extra_state("0123456789" * 9),
        f"FeatureTransform: its extra state is {'0123456789' * 8}; expected clip, column "
        "of the logarithm (NaN for none) and offset",
    ),
    "bits-count": (
        lambda: random_bits((0, 0), -1),
        "count is -1 and start 0, expected 0 or more",
    ),
    "bits-start": (
        lambda: random_bits((0, 0), 1, start=-1),
        "count is 1 and start -1, expected 0 or more",
    ),
    "uniform-conversion": (
        lambda: uniform((0, 0), (2,), conversion="jit"),  # type: ignore[arg-type]
        "conversion is 'jit', expected 'op' or 'xla'",
    ),
    "glorot-axes": (
        lambda: glorot_uniform(1, (1, 2, 3)),
        "shape is (1, 2, 3), expected (fan_in, fan_out) or (n,)",
    ),
    "glorot-no-axes": (
        lambda: glorot_uniform(1, ()),
        "shape is (), expected (fan_in, fan_out) or (n,)",
    ),
    "glorot-seed": (
        lambda: glorot_uniform(INT64, (2,)),
        f"seed or step is {INT64}, expected an integer that fits int64",
    ),
    "stream-seed": (
        lambda: stream_start(-INT64 - 1, 0, 1),
        f"seed or step is {-INT64 - 1}, expected an integer that fits int64",
    ),
    "mask-rate": (
        lambda: dropout_mask(1, 0, 1.01, range(2), 2),
        "rate is 1.01, expected 0 to 1",
    ),
    "mask-rate-nan": (
        lambda: dropout_mask(1, 0, math.nan, range(2), 2),
        "rate is nan, expected 0 to 1",
    ),
    "mask-rows-apart": (
        lambda: dropout_mask(1, 0, 0.5, range(0, 4, 2), 2),
        "rows is range(0, 4, 2), expected consecutive rows from 0 or later",
    ),
    "mask-rows-before": (
        lambda: dropout_mask(1, 0, 0.5, range(-1, 2), 2),
        "rows is range(-1, 2), expected consecutive rows from 0 or later",
    ),
    "mask-step": (
        lambda: dropout_mask(1, -1, 0.5, range(2), 2),
        "step is -1, expected 0 or more",
    ),
    "order-of-fewer": (lambda: shuffle_permutation(1, -1), "n is -1, expected 0 or more"),
    "order-seed": (
        lambda: shuffle_permutation(2**32, 1),
        "seed is 4294967296, expected 0 to 2**32 - 1 as for set_random_seed",
    ),
    "layer-seed": (
        lambda: layer_seeds(-1, 1),
        "seed is -1, expected 0 to 2**32 - 1 as for set_random_seed",
    ),
    "weights": (
        lambda: load_keras_weights(
            FraudClassifier(2, 3),
            keras_weights(
                dense__kernel=np.zeros((3, 2), np.float32), dense__bias=np.zeros(3),
                dense_1__bias=None, dense_1__kernel=None, b__x=X, a__y=X,
            ),
        ),
        "Keras weights do not fit: dense_1/bias is missing; dense_1/kernel is missing; "
        "a/y is unexpected; b/x is unexpected; "
        "dense/kernel has shape (3, 2), expected (2, 3) (hidden.weight); "
        "dense/bias is float64, expected one of ('float16', 'float32'), which torch.float32 "
        "holds exactly (hidden.bias)",
    ),
    "weights-missing-and-misshapen": (
        lambda: load_keras_weights(
            FraudClassifier(2, 3),
            keras_weights(dense__kernel=None, dense_1__bias=np.zeros(2, np.float32)),
        ),
        "Keras weights do not fit: dense/kernel is missing; "
        "dense_1/bias has shape (2,), expected (1,) (output.bias)",
    ),
    "weights-bfloat16": (
        lambda: load_keras_weights(
            nn.Linear(1, 1, bias=False, dtype=torch.bfloat16),
            {"k": np.ones((1, 1), np.float32)}, [WeightRow("k", "weight", True)],
        ),
        "Keras weights do not fit: k is float32, expected one of (), which torch.bfloat16 "
        "holds exactly (weight)",
    ),
    "weight-map": (
        lambda: to_keras_weights(
            FraudClassifier(2, 3), [*KERAS_WEIGHT_MAP[:2], WeightRow("a/b", "c", False)]
        ),
        "the weight map does not fit the module: c is not in the module; "
        "output.bias is not in the map; output.weight is not in the map "
        "(weight_map= says which weight is which)",
    ),
    "oversample-shape": (
        lambda: oversample(X, Y[:3], seed=0),
        "oversample: y came as (3,); expected (4, 1)",
    ),
    "oversample-labels": (
        lambda: oversample(X, Y + 1, seed=0),
        "oversample: y holds labels other than 0 and 1",
    ),
    "oversample-nothing": (
        lambda: oversample(X, Y * 0, seed=0),
        "oversample: y holds no label 1; expected at least one to draw",
    ),
    "evaluate-labels": (
        lambda: evaluate(FraudClassifier(2, 3), X, Y[:1]),
        "evaluate: y came as (1,); expected (4, 1)",
    ),
    "evaluate-batch-size": (
        lambda: evaluate(FraudClassifier(2, 3), X, Y, batch_size=0),
        "evaluate: batch_size=0; expected a whole number from 1 to 2**63 - 1",
    ),
    "predict-batch-size": (
        lambda: predict(FraudClassifier(2, 3), X, batch_size=0),
        "predict: batch_size=0; expected a whole number from 1 to 2**63 - 1",
    ),
    "predict-unsaid-end": (
        lambda: predict(nn.Sequential(nn.Identity(), nn.Linear(2, 1)), X),
        "predict: Linear does not say what its outputs are; expected "
        "from_logits=True (logits, whose sigmoid is predicted) or False",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_told_where_what_came_and_what_was_expected(case: str) -> None:
    """The whole message, since it is all that the caller has."""
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=r"^.") as error:
        call()
    assert str(error.value) == message


AT_THE_EDGE: dict[str, Callable[[], Any]] = {
    "least-whole-number": lambda: whole("f: n", 1, 1, 7),
    "greatest-whole-number": lambda: whole("f: n", INT64 - 1, 1),
    "one-row-of-each-class": lambda: prior_log_odds(1, 1),
    "one-feature-one-unit": lambda: FraudClassifier(1, 1),
    "no-dropout": lambda: FraudClassifier(dropout=0),
    "dropout-of-all": lambda: FraudClassifier(dropout=1),
    "layer-without-dropout": lambda: KerasDropout(0, 1),
    "layer-with-dropout-of-all": lambda: KerasDropout(1, 1),
    "layer-with-the-least-seed": lambda: KerasDropout(0.5, -INT64),
    "layer-not-called-yet": lambda: KerasDropout(0.5, 1).load_state_dict(
        {"_extra_state": torch.tensor(0)}
    ),
    "adam-at-rest": lambda: adam(lr=0),
    "adam-without-epsilon": lambda: adam(eps=0),
    "adam-without-memory": lambda: adam(betas=(0.0, 0.0)),
    "clip-below-one": lambda: transform(clip=0.5),
    "first-column": lambda: transform(log_column=-2),
    "last-column": lambda: transform(log_column=1),
    "one-column": lambda: FeatureTransform([0.0], [1.0]),
    "one-raw-number": lambda: FeatureTransform.fit([[1.0]]),
    "one-feature-row": lambda: FraudClassifier(2, 3)(torch.zeros(2)),
    "one-raw-row": lambda: transform()(torch.zeros(2)),
    "least-seed-of-a-kernel": lambda: glorot_uniform(-INT64, (2,)),
    "greatest-seed-of-a-kernel": lambda: glorot_uniform(INT64 - 1, (2,)),
    "least-seed": lambda: layer_seeds(0, 1),
    "greatest-seed": lambda: shuffle_permutation(2**32 - 1, 0),
    "no-words": lambda: random_bits((0, 0), 0),
    "mask-of-nothing-dropped": lambda: dropout_mask(1, 0, 0, range(1), 1),
    "mask-of-all-dropped": lambda: dropout_mask(1, 0, 1, range(1), 1),
    "no-patience": lambda: EarlyStopping(patience=0, start_from_epoch=0),
    "least-seed-of-a-run": lambda: fitted(seed=0),
    "greatest-seed-of-a-run": lambda: fitted(seed=2**32 - 1),
    "no-epochs": lambda: fitted(epochs=0),
    "a-row-at-a-time": lambda: fitted(batch_size=1, steps_per_epoch=1),
    "one-row": lambda: fitted(X[:1], Y[:1]),
    "one-positive": lambda: oversample(X[:2], Y[:2], seed=0),
}


@pytest.mark.parametrize("case", AT_THE_EDGE)
def test_the_ends_of_a_range_belong_to_it(case: str) -> None:
    """What the messages say is expected is taken, up to the last number."""
    assert AT_THE_EDGE[case]() is not None
