"""Raw rows to probability and decision, in one module."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from torch_impl.base.arguments import whole
from torch_impl.base.arrays import as_tensor
from torch_impl.base.scripting import Unscriptable
from torch_impl.features import FeatureTransform
from torch_impl.model import FraudClassifier
from torch_impl.pipeline.base_rate import log_odds
from torch_impl.scoring import probabilities

__all__ = ["COLUMNS", "FraudPipeline", "TrainedOn"]

COLUMNS = (*(f"V{i}" for i in range(1, 29)), "Amount")
"""Of a raw row of the tutorial's data: 28 principal components, and euros."""


class TrainedOn(NamedTuple):
    """The rows that a classifier was trained on, and how they counted.

    Args:
        positives: frauds among them, before any oversampling.
        negatives: the others.
        odds_factor: how many times the odds of fraud were multiplied in training: by class
            weights, weight of 1 over weight of 0; by oversampling, negatives over positives
            if there were as many of both in the end. 1 for rows as they are.
    """

    positives: int
    negatives: int
    odds_factor: float = 1.0

    def log_odds(self) -> float:
        """Of fraud, as the training saw it: `log(odds_factor · positives / negatives)`."""
        return math.log(self.positives / self.negatives) + math.log(self.odds_factor)


class FraudPipeline(Unscriptable, nn.Module):
    """A `FeatureTransform`, a `FraudClassifier`, a base rate and a threshold.

    `torch.export`, `torch.compile`, `torch.jit.trace` and ONNX take it, with any number of rows.

    Args:
        transform: from raw rows to features, which it gives in the classifier's dtype from now on.
        classifier: from features to logits.
        columns: names of a raw row's F numbers, in order.
        threshold: a row is called fraud where its probability is above, 0 to 1.
        trained_on: what the classifier was trained on; None where nobody knows.
        log_odds_shift: added to every logit; see `set_base_rate`.

    Raises:
        ValueError: widths differ, a name is missing or twice there, or a number is out of range.
    """

    _threshold: Tensor
    _log_odds_shift: Tensor

    def __init__(
        self,
        transform: FeatureTransform,
        classifier: FraudClassifier,
        *,
        columns: Sequence[str] = COLUMNS,
        threshold: float = 0.5,
        trained_on: TrainedOn | None = None,
        log_odds_shift: float = 0.0,
    ) -> None:
        super().__init__()
        widths = (len(columns), len(transform.mean), classifier.in_features)
        if len(set(widths)) > 1:
            raise ValueError(
                f"FraudPipeline: {widths[0]} columns, a transform of {widths[1]} and a classifier "
                f"of {widths[2]}; expected one width"
            )
        named = all(isinstance(c, str) and c and c.isprintable() for c in columns)
        if not named or len({*columns}) < len(columns):
            raise ValueError(
                f"FraudPipeline: columns={columns!r}; expected printable names that differ"
            )
        number = classifier.hidden.weight.detach().new_zeros(())
        self.transform, self.classifier = transform.to(number.dtype), classifier
        self.columns = tuple(columns)
        self.trained_on = None if trained_on is None else _checked(trained_on)
        self.register_buffer("_threshold", number)
        self.register_buffer("_log_odds_shift", number.clone())
        self.threshold = threshold
        self.log_odds_shift = log_odds_shift

    @property
    def threshold(self) -> float:
        """Above it a probability is called fraud; held in the classifier's dtype."""
        return float(self._threshold)

    @threshold.setter
    def threshold(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"FraudPipeline: threshold={value}; expected 0 to 1")
        self._threshold.fill_(value)

    @property
    def log_odds_shift(self) -> float:
        """What is added to every logit; held in the classifier's dtype."""
        return float(self._log_odds_shift)

    @log_odds_shift.setter
    def log_odds_shift(self, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(f"FraudPipeline: log_odds_shift={value}; expected it finite")
        self._log_odds_shift.fill_(value)

    def set_base_rate(self, rate: float | None = None) -> FraudPipeline:
        """Gives probabilities for rows among which `rate` are frauds.

        Class weights and oversampling multiply the odds of fraud in training, and the
        classifier's with them; rows of another base rate do likewise. By Bayes' rule the
        logits are then off by a constant, the difference of the prior log-odds, which is
        taken out here exactly (Elkan, "The foundations of cost-sensitive learning", IJCAI
        2001). The classifier's weights stay as they are, so that it can be set again.

        Args:
            rate: share of frauds, between 0 and 1; that of the training rows if None.

        Returns:
            The pipeline itself.

        Raises:
            ValueError: the rate is outside its range, or nobody knows what the classifier was
                trained on.
        """
        if self.trained_on is None:
            raise ValueError("FraudPipeline.set_base_rate: trained_on is None; expected counts")
        if rate is None:
            self.log_odds_shift = 0.0 - math.log(self.trained_on.odds_factor)
        else:
            self.log_odds_shift = log_odds(rate) - self.trained_on.log_odds()
        return self

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (N, 1) of fraud, and whether each is above the threshold (N, 1), bool.

        Args:
            rows: (N, F) raw rows, float64.

        Raises:
            ValueError: the rows have another width.
        """
        probabilities = torch.sigmoid(self.logits(rows))
        return probabilities, probabilities > self._threshold

    def logits(self, rows: Tensor) -> Tensor:
        """Log-odds (N, 1) of fraud, at the base rate that is set."""
        logits: Tensor = self.classifier(self.transform(rows)) + self._log_odds_shift
        return logits

    def predict_proba(self, rows: ArrayLike | Tensor) -> Tensor:
        """Probabilities (N, 1), without dropout whatever mode the module is in.

        In one pass over memory: see `torch_impl.scoring`.

        Args:
            rows: (N, F) raw rows, a tensor or an array.

        Raises:
            ValueError: the rows are no table, or of another width.
        """
        table = as_tensor(rows, self.transform.mean)
        if table.ndim != 2:
            raise ValueError(
                f"FraudPipeline: rows came as {tuple(table.shape)}; "
                f"expected (N, {len(self.columns)})"
            )
        return probabilities(self.transform, self.classifier, table, self.log_odds_shift)

    def decide(self, rows: ArrayLike | Tensor) -> Tensor:
        """Whether each row's probability is above the threshold, bool (N, 1).

        Raises:
            ValueError: the rows are no table, or of another width.
        """
        return self.predict_proba(rows) > self._threshold

    def extra_repr(self) -> str:
        """What `print(pipeline)` shows besides its modules."""
        told = f"threshold={self.threshold:.9g}, log_odds_shift={self.log_odds_shift:.9g}"
        return told if self.trained_on is None else f"{told}, {self.trained_on}"


def _checked(trained_on: TrainedOn) -> TrainedOn:
    positives, negatives = (
        whole(f"TrainedOn: {name}", getattr(trained_on, name), 1)
        for name in ("positives", "negatives")
    )
    factor = trained_on.odds_factor
    number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
    if not (number and 0 < factor <= sys.float_info.max):
        raise ValueError(f"TrainedOn: odds_factor={factor!r}; expected a number above 0")
    return TrainedOn(positives, negatives, float(factor))
