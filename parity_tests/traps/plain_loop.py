"""A loop as a PyTorch user writes it, and the rows that it runs on; each part can be another.

With every part from `torch_impl` it is `torch_impl.fit`, bit for bit. So what one part of
PyTorch's own in its place changes is the size of that one difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from data import Prepared, prepare, synthetic
from torch_impl import FraudClassifier, KerasAdam, evaluate, prior_log_odds
from torch_impl.keras.losses.functions import binary_crossentropy_from_logits, mean_loss
from torch_impl.keras.random import shuffle_permutation

__all__ = ["BATCH_SIZE", "EPOCHS", "SEED", "Lab", "Loss", "Trained", "keras_loss", "one_thread"]

ROWS, POSITIVES = 20_000, 200
SEED = 42
EPOCHS = 10
BATCH_SIZE = 2048  # the tutorial's

Loss = Callable[[Tensor, Tensor], Tensor]


class Trained(NamedTuple):
    """A model after a run, and what the run saw."""

    model: Any
    """A `FraudClassifier`, unless the run got another."""
    losses: list[list[float]]
    """Of each batch, by epoch."""


@contextmanager
def one_thread() -> Iterator[None]:
    """As `fit` computes: a second thread adds up in another order, to other bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def keras_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """What Keras takes the gradient of: the mean of the unclipped losses."""
    return mean_loss(binary_crossentropy_from_logits(logits, labels))


class Lab:
    """One small synthetic data set, and runs on it that differ in one part.

    Args:
        dtype: of features and weights; every draw is one of float32.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype

    @cached_property
    def prepared(self) -> Prepared:
        """The splits."""
        return prepare(synthetic(rows=ROWS, positives=POSITIVES))

    @cached_property
    def train(self) -> tuple[Tensor, Tensor]:
        """Features (N, 29) and labels (N, 1)."""
        return self._tensors(self.prepared.train)

    @cached_property
    def validation(self) -> tuple[Tensor, Tensor]:
        """Features (N, 29) and labels (N, 1)."""
        return self._tensors(self.prepared.validation)

    def _tensors(self, split: Any) -> tuple[Tensor, Tensor]:
        features, labels = torch.from_numpy(split.features), torch.from_numpy(split.labels)
        return features.to(self.dtype), labels.to(self.dtype)

    @property
    def prior(self) -> float:
        """log(positives / negatives) of all rows."""
        return prior_log_odds(self.prepared.positives, self.prepared.negatives)

    @cached_property
    def order(self) -> Tensor:
        """The order of rows that Keras takes, in every epoch."""
        return shuffle_permutation(SEED, len(self.train[0]))

    def model(self, **options: Any) -> FraudClassifier:
        """The tutorial's model as it starts in Keras, but for the options."""
        return FraudClassifier(
            **{"output_bias": self.prior, "seed": SEED, "dtype": self.dtype, **options}
        )

    def run(
        self,
        model: nn.Module | None = None,
        optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer] = KerasAdam,
        order: Callable[[], Tensor] | None = None,
        loss: Loss = keras_loss,
        drop_last: bool = False,
        epochs: int = EPOCHS,
    ) -> Trained:
        """Trains a model in a plain loop.

        Args:
            model: trained in place; `self.model()` if None.
            optimizer: makes one for the model's parameters.
            order: gives the next epoch's order of rows; Keras's if None.
            loss: of logits (N, 1) and labels (N, 1), a scalar.
            drop_last: whether a short last batch is left out.
            epochs: how many.
        """
        model = (self.model() if model is None else model).train()
        steps = optimizer(model.parameters())
        x, y = self.train
        losses: list[list[float]] = []
        for _ in range(epochs):
            rows = self.order if order is None else order()
            losses.append([])
            for batch in rows.split(BATCH_SIZE):
                if drop_last and len(batch) < BATCH_SIZE:
                    continue
                value = loss(model(x[batch]), y[batch])
                steps.zero_grad()
                value.backward()
                steps.step()
                losses[-1].append(value.item())
        return Trained(model, losses)

    @cached_property
    def keras(self) -> Trained:
        """The run with every part as in Keras; not to be trained on."""
        return self.run()

    def apart(self, model: nn.Module, reference: nn.Module | None = None) -> float:
        """The largest difference of any weight from the Keras run's, or another's."""
        pairs = zip(model.parameters(), (reference or self.keras.model).parameters(), strict=True)
        return max((a - b).abs().max().item() for a, b in pairs)

    def scores(self, model: nn.Module) -> dict[str, float]:
        """Loss and metrics on the validation rows, as Keras measures them."""
        return evaluate(model, *self.validation)

    def pr_auc(self, model: nn.Module) -> float:
        """Of the validation rows."""
        return self.scores(model)["prc"]
