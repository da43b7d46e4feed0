"""The stages of the comparison, in the order in which a row travels through the model.

A stage is a `Step`: a name for the progress bar and a function that gives rows of the
report. A new stage is a new function here and a line in `steps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from parity_tests.judge import bounds
from parity_tests.judge.agreement import StageResult, exact, merged, within
from parity_tests.judge.probes import Probe, exact_probe
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.sides import torch_side
from parity_tests.sides.exported import RUNTIMES, run_exported
from parity_tests.sides.step_trace import spread_steps
from parity_tests.sides.training_pair import (
    Runs,
    compare_runs,
    compare_steps,
    keras_fits,
    torch_fits,
    torch_steps,
)
from torch_impl import (
    FeatureTransform,
    FraudClassifier,
    FraudPipeline,
    prior_log_odds,
    to_keras_weights,
)
from torch_impl.keras.random import shuffle_permutation

if TYPE_CHECKING:
    from data import Prepared

__all__ = ["Comparison", "Step"]

BATCH_SIZE = 2048  # the tutorial's

WEIGHT_SETS = ("zero bias", "prior bias", "random weights", "trained weights")


class Step(NamedTuple):
    """One unit of work of the comparison."""

    name: str
    run: Callable[[], list[StageResult]]


class Comparison:
    """Both frameworks on one data set.

    Args:
        prepared: the splits.
        keras: the reference's process.
        seed: for initial weights, random weights, dropout and the order of rows.
        epochs: passes of `fit`, which the trained weights come from.
        trace: whether the runs of `fit` keep weights on the way, for the page's plots.
    """

    def __init__(
        self,
        prepared: Prepared,
        keras: KerasProcess,
        seed: int = 0,
        epochs: int = 2,
        trace: bool = False,
    ) -> None:
        self.prepared = prepared
        self.keras = keras
        self.seed = seed
        self.epochs = epochs
        self.splits = {
            "train": prepared.train,
            "validation": prepared.validation,
            "test": prepared.test,
        }
        # As the tutorial writes it; the product's own is judged by it.
        self.bias = float(np.log(prepared.positives / prepared.negatives))
        steps = epochs * math.ceil(len(prepared.train.labels) / BATCH_SIZE)
        self.traced_steps = spread_steps(steps) if trace else ()

    def steps(self) -> Iterator[Step]:
        """Every step, cheapest first within what the later ones build on."""
        yield Step("scaled features", self.scaled_features)
        yield Step("exact probes", self.exact_probes)
        for name in WEIGHT_SETS:
            yield Step(name, lambda name=name: self.forward_pass(name))
        yield Step("raw rows to probabilities", self.end_to_end)
        for name in RUNTIMES:
            yield Step(f"{name}: exact probes", lambda name=name: self.exported_probes(name))
            yield Step(
                f"{name}: raw rows to probabilities", lambda name=name: self.exported_rows(name)
            )
        yield Step("random numbers", self.random_numbers)
        yield Step("one training step", self.one_step)
        yield Step(f"{self.epochs} epochs of fit", self.training)

    @cached_property
    def weights(self) -> dict[str, dict[str, np.ndarray]]:
        """The four sets of weights, under Keras's names."""
        train = self.prepared.train
        zero = self.keras.call("model.initial_weights", train.features.shape[1], seed=self.seed)
        prior = self.keras.call(
            "model.initial_weights",
            train.features.shape[1],
            output_bias=self.bias,
            seed=self.seed,
        )
        rng = np.random.default_rng(self.seed)
        drawn = {
            name: rng.normal(scale=1 / math.sqrt(array.shape[0]), size=array.shape).astype("f4")
            for name, array in zero.items()
        }
        trained = self.keras_runs["float32"]["final"]
        return dict(zip(WEIGHT_SETS, (zero, prior, drawn, trained), strict=True))

    @cached_property
    def run(self) -> dict[str, Any]:
        """The tutorial's `fit`: dropout, shuffle, eleven metrics, validation."""
        train, validation = self.prepared.train, self.prepared.validation
        return {
            "features": train.features,
            "labels": train.labels,
            "seed": self.seed,
            "epochs": self.epochs,
            "batch_size": BATCH_SIZE,
            "validation_data": (validation.features, validation.labels),
            "trace": self.traced_steps,
        }

    @cached_property
    def keras_runs(self) -> Runs:
        """What `keras_ref.training.fits` gives, with the tutorial's prior bias."""
        return keras_fits(self.keras, **self.run, output_bias=self.bias)

    @cached_property
    def torch_runs(self) -> Runs:
        """The same runs in PyTorch, with PyTorch's own."""
        bias = prior_log_odds(self.prepared.positives, self.prepared.negatives)
        return torch_fits(**self.run, output_bias=bias)

    @cached_property
    def keras_on_test(self) -> dict[str, np.ndarray]:
        """Every stage of Keras's own trained model on the test rows."""
        return self.keras.call(
            "forward.forward_stages", self.weights["trained weights"], self.prepared.test.features
        )

    @cached_property
    def expected_on_test(self) -> dict[str, bounds.Bounded]:
        """The same from raw rows in float64, and how far off it float32 may be."""
        test, train = self.prepared.test, self.prepared.train
        features = bounds.standardised(test.raw, train.raw)
        return bounds.forward(features, self.weights["trained weights"])

    @cached_property
    def transform(self) -> FeatureTransform:
        """Fitted by torch_impl itself, on the raw training rows."""
        return FeatureTransform.fit(self.prepared.train.raw)

    @cached_property
    def probe(self) -> Probe:
        """Numbers whose result is the same bits in any order of summation."""
        return exact_probe(self.seed)

    @cached_property
    def keras_on_probe(self) -> dict[str, np.ndarray]:
        """Every stage of the probe in Keras."""
        return self.keras.call("forward.forward_stages", self.probe.weights, self.probe.features)

    @cached_property
    def exported(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By runtime: logits of the probe, and probabilities of the raw test rows."""
        probed = torch_side.classifier(self.probe.weights)
        trained = torch_side.classifier(self.weights["trained weights"])
        pipeline = FraudPipeline(self.transform, trained)
        return {
            name: (
                run_exported(name, probed, self.probe.features)[0],
                run_exported(name, pipeline, self.prepared.test.raw)[0],
            )
            for name in RUNTIMES
        }

    def scaled_features(self) -> list[StageResult]:
        """pandas and scikit-learn against `FeatureTransform`."""
        results = []
        for name, split in self.splits.items():
            expected = bounds.standardised(split.raw, self.prepared.train.raw)
            ours = self.transform(torch.from_numpy(split.raw)).numpy()
            results.append(within(name, "proven", ours, split.features, *expected))
        return [merged("scaled features", results)]

    def exact_probes(self) -> list[StageResult]:
        """Both frameworks, and what integers say."""
        probe, theirs = self.probe, self.keras_on_probe
        ours = torch_side.forward_stages(torch_side.classifier(probe.weights), probe.features)
        return [
            _exact_twice(f"exact probes: {stage}", ours[stage], theirs[stage], known)
            for stage, known in (("hidden pre-activations", probe.hidden), ("logits", probe.logits))
        ]

    def forward_pass(self, name: str) -> list[StageResult]:
        """One set of weights: copied both ways, then every stage on all three splits."""
        weights = self.weights[name]
        model = torch_side.classifier(weights)
        returned = self.keras.call("model.copy_through", to_keras_weights(model))
        rows = [
            merged(
                f"{name}: weights copied",
                [exact(key, returned[key], weights[key]) for key in weights],
            )
        ]
        features = np.concatenate([split.features for split in self.splits.values()])
        theirs = self.keras.call("forward.forward_stages", weights, features)
        ours = torch_side.forward_stages(model, features)
        expected = bounds.forward(bounds.exactly(features), weights)
        for stage, bound in expected.items():
            rows.append(within(f"{name}: {stage}", "proven", ours[stage], theirs[stage], *bound))
        return rows

    def end_to_end(self) -> list[StageResult]:
        """Raw test rows through each side's own transform and model, bounds carried along."""
        weights, test = self.weights["trained weights"], self.prepared.test
        theirs, expected = self.keras_on_test, self.expected_on_test
        pipeline = torch.nn.Sequential(self.transform, torch_side.classifier(weights)).eval()
        with torch.no_grad():
            logits = pipeline(torch.from_numpy(test.raw))
        ours = {"logits": logits.numpy(), "probabilities": torch.sigmoid(logits).numpy()}
        return [
            within(f"raw rows to {stage}", "proven", ours[stage], theirs[stage], *expected[stage])
            for stage in ours
        ]

    def exported_probes(self, runtime: str) -> list[StageResult]:
        """The classifier's exported program with the probe's weights, and Keras."""
        stage, (logits, _) = f"{runtime}: exact probes", self.exported[runtime]
        theirs = self.keras_on_probe["logits"]
        return [_exact_twice(stage, logits, theirs, self.probe.logits)]

    def exported_rows(self, runtime: str) -> list[StageResult]:
        """Raw test rows through the pipeline's exported program, and through Keras."""
        stage, (_, ours) = f"{runtime}: raw rows to probabilities", self.exported[runtime]
        theirs = self.keras_on_test["probabilities"]
        return [within(stage, "proven", ours, theirs, *self.expected_on_test["probabilities"])]

    def random_numbers(self) -> list[StageResult]:
        """The dropout masks and the order of rows that Keras draws from the seed."""
        ones, layer = torch.ones(BATCH_SIZE, 16), FraudClassifier(seed=self.seed).dropout
        seed = int(self.keras.call("random.fresh_model", self.seed)["dropout/seed"])
        theirs, _ = self.keras.call("random.dropout", seed, 0.5, tuple(ones.shape), 0, 3)
        ours = torch.stack([layer(ones) for _ in range(3)]).numpy()
        rows = len(self.prepared.train.features)
        orders = self.keras.call("random.fit_orders", self.seed, rows, 1, BATCH_SIZE)
        return [
            exact("random numbers: dropout masks", ours, theirs),
            exact(
                "random numbers: order of rows",
                shuffle_permutation(self.seed, rows).numpy(),
                orders[0].astype(np.int64),
            ),
        ]

    def one_step(self) -> list[StageResult]:
        """Every gradient, moment and weight of the first batch, by the proven bound."""
        train = self.prepared.train
        data = (
            self.weights["prior bias"],
            train.features[:BATCH_SIZE],
            train.labels[:BATCH_SIZE],
        )
        theirs = self.keras.call("training.one_step_in_both", *data, seed=self.seed)
        return compare_steps("one step", torch_steps(*data, seed=self.seed), theirs, *data)

    def training(self) -> list[StageResult]:
        """The whole run, in float32 and in float64."""
        name = f"fit, {self.epochs} epoch{'s' if self.epochs > 1 else ''}"
        return compare_runs(name, self.torch_runs, self.keras_runs)


def _exact_twice(
    stage: str, ours: np.ndarray, theirs: np.ndarray, known: np.ndarray
) -> StageResult:
    """The same bits as Keras's, and as what integers say."""
    return merged(stage, [exact("", ours, theirs), exact("", ours, known)])
