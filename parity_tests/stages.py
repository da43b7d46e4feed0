"""The stages of the comparison, in the order in which a row travels through the model.

A stage is a `Step`: a name for the progress bar and a function that gives rows of the
report. A new stage is a new function here and a line in `steps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from parity_tests import bounds, torch_side
from parity_tests.agreement import StageResult, exact, merged, within
from parity_tests.keras_process import KerasProcess
from parity_tests.probes import exact_probe
from torch_impl import FeatureTransform, prior_log_odds, to_keras_weights

if TYPE_CHECKING:
    from data import Prepared

__all__ = ["Comparison", "Step"]

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
        seed: for initial weights, random weights and the training of the trained ones.
        training_epochs: passes of `fit` that the trained weights get.
    """

    def __init__(
        self, prepared: Prepared, keras: KerasProcess, seed: int = 0, training_epochs: int = 2
    ) -> None:
        self.prepared = prepared
        self.keras = keras
        self.seed = seed
        self.training_epochs = training_epochs
        self.splits = {
            "train": prepared.train,
            "validation": prepared.validation,
            "test": prepared.test,
        }
        self.bias = prior_log_odds(prepared.positives, prepared.negatives)

    def steps(self) -> Iterator[Step]:
        """Every step, cheapest first within what the later ones build on."""
        yield Step("scaled features", self.scaled_features)
        yield Step("exact probes", self.exact_probes)
        for name in WEIGHT_SETS:
            yield Step(name, lambda name=name: self.forward_pass(name))
        yield Step("raw rows to probabilities", self.end_to_end)

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
        trained = self.keras.call(
            "training.trained_weights",
            train.features,
            train.labels,
            self.bias,
            self.seed,
            self.training_epochs,
        )
        return dict(zip(WEIGHT_SETS, (zero, prior, drawn, trained), strict=True))

    @cached_property
    def transform(self) -> FeatureTransform:
        """Fitted by torch_impl itself, on the raw training rows."""
        return FeatureTransform.fit(self.prepared.train.raw)

    def scaled_features(self) -> list[StageResult]:
        """pandas and scikit-learn against `FeatureTransform`."""
        results = []
        for split in self.splits.values():
            expected = bounds.standardised(split.raw, self.prepared.train.raw)
            ours = self.transform(torch.from_numpy(split.raw)).numpy()
            results.append(within("", "proven", ours, split.features, *expected))
        return [merged("scaled features", results)]

    def exact_probes(self) -> list[StageResult]:
        """Numbers whose result is the same bits in any order of summation."""
        probe = exact_probe(self.seed)
        ours = torch_side.forward_stages(torch_side.classifier(probe.weights), probe.features)
        theirs = self.keras.call("forward.forward_stages", probe.weights, probe.features)
        rows = []
        for stage, known in (
            ("hidden pre-activations", probe.hidden),
            ("logits", probe.logits),
        ):
            between = exact("", ours[stage], theirs[stage])
            rows.append(merged(f"exact probes: {stage}", [between, exact("", ours[stage], known)]))
        return rows

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
        features = bounds.standardised(test.raw, self.prepared.train.raw)
        expected = bounds.forward(features, weights)
        theirs = self.keras.call("forward.forward_stages", weights, test.features)
        pipeline = torch.nn.Sequential(self.transform, torch_side.classifier(weights)).eval()
        with torch.no_grad():
            logits = pipeline(torch.from_numpy(test.raw))
        ours = {"logits": logits.numpy(), "probabilities": torch.sigmoid(logits).numpy()}
        return [
            within(f"raw rows to {stage}", "proven", ours[stage], theirs[stage], *expected[stage])
            for stage in ours
        ]
