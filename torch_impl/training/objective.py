"""What `fit` minimises and `evaluate` measures: a loss of a module's outputs, and penalties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from torch_impl.base.arrays import as_tensor
from torch_impl.base.modes import inference
from torch_impl.keras.layers.regularizers import penalty
from torch_impl.keras.losses.categorical import (
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    SparseCategoricalCrossentropy,
)
from torch_impl.keras.losses.elementwise import BinaryCrossentropy, BinaryFocalCrossentropy
from torch_impl.keras.losses.functions import (
    binary_crossentropy_from_logits,
    class_weight_to_sample_weight,
)
from torch_impl.keras.losses.names import keras_loss
from torch_impl.keras.metrics import CategoricalAccuracy, KerasMetrics
from torch_impl.training.rows import column

__all__ = ["Metrics", "Objective", "ends_in_sigmoid", "ends_in_softmax"]

_BINARY = (BinaryCrossentropy, BinaryFocalCrossentropy)
_ONE_HOT = (CategoricalCrossentropy, CategoricalFocalCrossentropy)


class Metrics(Protocol):
    """What is measured besides the loss, over batches: sums, float64, and counts, int64."""

    sums: Tensor
    counts: Tensor

    def update(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Adds a batch, and gives its sums."""

    def result(self) -> dict[str, float]:
        """Of all batches so far, by Keras's names."""


class Objective:
    """A loss and the module whose outputs it takes.

    Keras's losses want the logits behind a sigmoid or softmax at the end, as Keras's `fit` finds
    them, or else what `predict` gives; `loss.from_logits` says which.

    Args:
        model: the module.
        loss: a name that Keras's `compile` takes, or a module that gives one loss per row,
            (N, 1), of outputs and labels.
        where: the caller, for errors.

    Raises:
        ValueError: the loss is unknown, or wants logits that the module does not give.
    """

    def __init__(self, model: nn.Module, loss: str | nn.Module, where: str) -> None:
        self.model, self.where = model, where
        if not isinstance(loss, (str, nn.Module)):
            raise ValueError(
                f"{where}: loss={loss!r}; expected a name, or a loss such as "
                "torch_impl.losses.BinaryCrossentropy()"
            )
        self.loss: nn.Module = keras_loss(loss) if isinstance(loss, str) else loss
        self.from_logits = bool(getattr(self.loss, "from_logits", False))
        self._penalised = any(getattr(m, "regularizers", None) for m in model.modules())
        self.categorical = isinstance(self.loss, (*_ONE_HOT, SparseCategoricalCrossentropy))
        self._softmax = _last_softmax(model) if self.from_logits and self.categorical else None
        if self.from_logits and self._softmax is None:
            self._check_end()
        try:
            self._sigmoid = not self.from_logits and ends_in_sigmoid(model)
        except ValueError:  # it says nothing: its outputs are taken as they are
            self._sigmoid = False

    @property
    def plain(self) -> bool:
        """Whether it is binary cross-entropy of logits, and nothing more."""
        loss = self.loss
        return type(loss) is BinaryCrossentropy and loss.from_logits and not loss.label_smoothing

    @property
    def told(self) -> str:
        """By what a checkpoint tells it; empty where it is plain and nothing is penalised."""
        penalties = [
            f"{name}: {told}"
            for module in self.model.modules()
            for name, told in getattr(module, "regularizers", {}).items()
        ]
        return "; ".join([*([] if self.plain else [repr(self.loss)]), *penalties])

    def outputs(self, rows: Tensor) -> Tensor:
        """What the loss takes, by one call of the module."""
        if self._softmax is not None:
            caught: list[Tensor] = []
            with self._softmax.register_forward_pre_hook(lambda _, given: caught.append(given[0])):
                self.model(rows)
            return caught[-1]
        outputs: Tensor = self.model(rows)
        return torch.sigmoid(outputs) if self._sigmoid else outputs

    def of_rows(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row, (N, 1).

        Raises:
            ValueError: the loss gives something else.
        """
        if self.plain and outputs.shape[1:] == (1,):
            return binary_crossentropy_from_logits(outputs, labels)
        losses: Tensor = self.loss(outputs, labels)
        if losses.shape != (len(outputs), 1):
            raise ValueError(
                f"{self.where}: the loss came as {(*losses.shape,)}; "
                f"expected one number per row, ({len(outputs)}, 1)"
            )
        return losses

    def penalty(self) -> Tensor | None:
        """What the weights add, whatever the rows."""
        return penalty(self.model) if self._penalised else None

    def metrics(self, device: torch.device) -> Metrics | None:
        """The tutorial's eleven of one logit, accuracy of categories, else none."""
        if isinstance(self.loss, _BINARY) and self.from_logits:
            return KerasMetrics(device)
        return CategoricalAccuracy(device) if self.categorical else None

    def labels(self, y: Any, like: Tensor, where: str, rows: Tensor) -> Tensor:
        """Labels as the loss takes them: (N, 1), or (N, units).

        Args:
            y: an array or tensor.
            like: of the dtype and device wanted.
            where: the caller, for errors.
            rows: (N, F), that they are of.

        Raises:
            ValueError: they are of another shape, or labels of one logit other than 0 and 1.
        """
        labels = as_tensor(y, like)
        if labels.ndim == 2 and labels.shape[1] > 1 and len(labels) == len(rows) > 0:
            with inference(self.model):
                units = self.outputs(rows[:1]).shape[1:]
            if labels.shape[1:] == units:
                return labels
        labels = column(labels, like, f"{where}: y", len(rows))
        binary = isinstance(self.loss, _BINARY)
        if binary and not bool(((labels == 0) | (labels == 1)).all()):
            raise ValueError(f"{where}: y holds labels other than 0 and 1")
        return labels

    def class_weights(self, labels: Tensor, class_weight: Mapping[int, float]) -> Tensor:
        """The weight of each row's class, (N, 1); 1 for a class that is not named.

        Raises:
            ValueError: a class is none.
        """
        if labels.shape[1] > 1:
            classes = labels.argmax(-1, keepdim=True).to(labels.dtype)
            return class_weight_to_sample_weight(classes, class_weight, labels.shape[1] - 1)
        # Classes that do not occur may be weighed too.
        last = 2**31 - 1 if isinstance(self.loss, SparseCategoricalCrossentropy) else 1
        return class_weight_to_sample_weight(labels, class_weight, last)

    def _check_end(self) -> None:
        """Raises ValueError for a network whose outputs are no logits, nor their sigmoid."""
        for part in self.model.modules():
            end = getattr(part, "last_activation", "linear")
            # Behind a sigmoid may stand a Dropout, which leaves it where it is.
            if end == "linear" or (end == "sigmoid" and getattr(part, "ends_in_sigmoid", False)):
                continue
            wanted = "a softmax" if self.categorical else "a sigmoid"
            raise ValueError(
                f"{self.where}: the network ends in {end}; the loss is {_name(self.loss)} of "
                f"logits, expected {wanted} at the very end, or nothing behind the last layer"
            )


def _name(loss: nn.Module) -> str:
    return "binary cross-entropy" if type(loss) is BinaryCrossentropy else type(loss).__name__


def _last_softmax(model: nn.Module) -> nn.Softmax | None:
    """The softmax that a module ends in, if it does."""
    part = model
    while True:
        inner = getattr(part, "module", getattr(part, "layers", None))
        if isinstance(part, nn.Sequential) and len(part):
            part = part[-1]
        elif isinstance(inner, nn.Module):  # DistributedDataParallel's, a KerasNetwork's
            part = inner
        else:
            return part if isinstance(part, nn.Softmax) else None


def ends_in_softmax(model: nn.Module) -> bool:
    """Whether a softmax stands at the very end of a module."""
    return _last_softmax(model) is not None


def ends_in_sigmoid(model: nn.Module) -> bool:
    """Whether the module leaves a sigmoid out at its end, by what it, or its last part, says.

    Raises:
        ValueError: nothing says so.
    """
    part: Any = model
    while not isinstance(getattr(part, "ends_in_sigmoid", None), bool):
        if isinstance(part, nn.Sequential) and len(part):
            part = part[-1]
        elif isinstance(getattr(part, "module", None), nn.Module):  # DistributedDataParallel
            part = part.module
        else:
            raise ValueError(
                f"predict: {type(part).__name__} does not say what its outputs are; expected "
                "from_logits=True (logits, whose sigmoid is predicted) or False"
            )
    return bool(part.ends_in_sigmoid)
