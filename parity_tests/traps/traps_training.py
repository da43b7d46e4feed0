"""What goes wrong, and by how much, where training is carried over."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from parity_tests.traps.plain_loop import BATCH_SIZE, EPOCHS, SEED, Lab, Loss, keras_loss
from torch_impl import EarlyStopping, KerasAdam, fit
from torch_impl.keras.losses.functions import (
    binary_crossentropy,
    binary_crossentropy_from_logits,
    class_weight_to_sample_weight,
    mean_loss,
)
from torch_impl.keras.random import dropout_mask, layer_seeds

__all__ = ["class_weighted"]


def logits_through_a_sigmoid_twice(lab: Lab) -> dict[str, float]:
    """Keras's sigmoid layer kept, and `BCEWithLogitsLoss` behind it."""
    wrong = lab.run(
        loss=lambda z, y: binary_cross_entropy_with_logits(torch.sigmoid(z), y),
    )
    return {"loss": wrong.losses[0][0], "right": lab.keras.losses[0][0]}


def clipped_loss(lab: Lab) -> dict[str, float]:
    """A negative row with a logit of 20, whose float32 probability is 1."""
    del lab

    def of(loss: Callable[[Tensor, Tensor], Tensor]) -> tuple[float, float]:
        z = torch.full((1, 1), 20.0, requires_grad=True)
        value = loss(z, torch.zeros(1, 1)).mean()
        value.backward()
        assert z.grad is not None
        return value.item(), z.grad.item()

    fit_loss, fit_gradient = of(binary_crossentropy_from_logits)
    bce, bce_gradient = of(lambda z, y: nn.functional.binary_cross_entropy(torch.sigmoid(z), y))
    on_predict, _ = of(lambda z, y: binary_crossentropy(torch.sigmoid(z), y))
    return {
        "fit": fit_loss,
        "fit_gradient": fit_gradient,
        "predict": on_predict,
        "bce": bce,
        "bce_gradient": bce_gradient,
    }


def _class_weight(lab: Lab) -> dict[int, float]:
    """The tutorial's: half of all rows over those of the class."""
    _, y = lab.train
    positives = int(y.sum())
    return {0: len(y) / (len(y) - positives) / 2, 1: len(y) / positives / 2}


def class_weighted(lab: Lab) -> Loss:
    """Keras's loss with the tutorial's class weights."""
    class_weight = _class_weight(lab)

    def loss(z: Tensor, y: Tensor) -> Tensor:
        weights = class_weight_to_sample_weight(y, class_weight)
        return mean_loss(binary_crossentropy_from_logits(z, y), weights)

    return loss


def mean_over_weights(lab: Lab) -> dict[str, float]:
    """Class-weighted batches, divided by the sum of their weights."""
    class_weight, right = _class_weight(lab), class_weighted(lab)
    ratios: list[float] = []

    def wrong(z: Tensor, y: Tensor) -> Tensor:
        weights = class_weight_to_sample_weight(y, class_weight)
        ratios.append((len(weights) / weights.sum()).item())
        return right(z, y) * ratios[-1]

    reference, model = lab.run(loss=right).model, lab.run(loss=wrong).model
    return {
        "least": min(ratios),
        "most": max(ratios),
        "weights": lab.apart(model, reference),
    }


def positives_weighted_alone(lab: Lab) -> dict[str, float]:
    """`pos_weight` with the ratio of the two weights."""
    class_weight = _class_weight(lab)
    ratio = torch.tensor(class_weight[1] / class_weight[0], dtype=lab.dtype)
    x, y = lab.train
    with torch.no_grad():
        logits = lab.model().eval()(x)
    right = mean_loss(
        binary_crossentropy_from_logits(logits, y), class_weight_to_sample_weight(y, class_weight)
    )
    wrong = binary_cross_entropy_with_logits(logits, y, pos_weight=ratio)
    return {"ratio": (wrong / right).item()}


def labels_in_a_row(lab: Lab) -> dict[str, float]:
    """Labels (N,) beside predictions (N, 1): all pairs of rows are compared."""
    x, y = lab.validation
    p = lab.keras.model.predict_proba(x)
    brier = (p - y.flatten()).square()
    return {
        "pairs": brier.numel(),
        "rows": len(y),
        "wrong": brier.mean().item(),
        "right": (p - y).square().mean().item(),
    }


def torchs_dropout(lab: Lab) -> dict[str, float]:
    """`nn.Dropout` in the layer's place, seeded by `torch.manual_seed`."""
    ours = dropout_mask(layer_seeds(SEED, 2)[1], 0, 0.5, range(BATCH_SIZE), 16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        theirs = nn.Dropout(0.5)(torch.ones(BATCH_SIZE, 16)) > 0
        torch.manual_seed(SEED)
        model = lab.model()
        model.dropout = nn.Dropout(0.5)
        trained = lab.run(model).model
    return {
        "equal": (ours == theirs).float().mean().item(),
        "weights": lab.apart(trained),
    }


def shuffled_anew(lab: Lab) -> dict[str, float]:
    """The order of `DataLoader(shuffle=True)`: another one in each epoch."""
    generator = torch.Generator().manual_seed(SEED)
    model = lab.run(order=lambda: torch.randperm(len(lab.order), generator=generator)).model
    return {"weights": lab.apart(model)}


def last_batch_dropped(lab: Lab) -> dict[str, float]:
    """`DataLoader(drop_last=True)`, in Keras's order of rows."""
    return {
        "rows": len(lab.order) % BATCH_SIZE,
        "of": len(lab.order),
        "weights": lab.apart(lab.run(drop_last=True).model),
    }


def mean_of_batch_means(lab: Lab) -> dict[str, float]:
    """The epoch's loss as the plain mean of its batches' losses, the last one short."""
    rows = [len(batch) for batch in lab.order.split(BATCH_SIZE)]
    errors = [
        abs(float(np.mean(losses)) / float(np.average(losses, weights=rows)) - 1)
        for losses in lab.keras.losses
    ]
    return {"off": max(errors)}


def torchs_adam(lab: Lab) -> dict[str, float]:
    """`torch.optim.Adam` at Keras's learning rate; for one step with Keras's ε too."""

    def theirs(weights: Iterable[Tensor], eps: float = 1e-8) -> torch.optim.Adam:
        return torch.optim.Adam(weights, lr=1e-3, eps=eps)

    def after_one_step(optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer]) -> Any:
        model = lab.model().train()
        x, y = (tensor[lab.order[:BATCH_SIZE]] for tensor in lab.train)
        keras_loss(model(x), y).backward()
        optimizer(model.parameters()).step()
        return model

    ours = after_one_step(KerasAdam)
    return {
        "step": lab.apart(after_one_step(theirs), ours),
        "same_epsilon": lab.apart(after_one_step(partial(theirs, eps=1e-7)), ours),
        "weights": lab.apart(lab.run(optimizer=theirs).model),
    }


def exact_areas(lab: Lab) -> dict[str, float]:
    """scikit-learn's areas under the curves of the same probabilities."""
    x, y = lab.validation
    p = lab.keras.model.predict_proba(x).flatten().numpy()
    labels = y.flatten().numpy()
    scores = lab.scores(lab.keras.model)
    return {
        "prc": scores["prc"],
        "exact_prc": float(average_precision_score(labels, p)),
        "auc": scores["auc"],
        "exact_auc": float(roc_auc_score(labels, p)),
    }


def last_weights_kept(lab: Lab) -> dict[str, float]:
    """Early stopping that stops as Keras does and restores nothing."""
    scores = {}
    for restore in (True, False):
        model = lab.model()
        stopping = EarlyStopping("val_loss", patience=5, restore_best_weights=restore)
        history = fit(
            model, *lab.train, batch_size=BATCH_SIZE, epochs=20, seed=SEED, compiled=False,
            optimizer=KerasAdam(model.parameters(), lr=0.05), validation_data=lab.validation,
            callbacks=[stopping], progress=False, metrics=False,
        )  # fmt: skip
        scores[restore] = lab.scores(model)["loss"]
    return {"restored": scores[True], "kept": scores[False], "epochs": len(history.epoch)}


def betas_not_rounded(lab: Lab) -> dict[str, float]:
    """Training in float64 with the corrections of Adam's bias from β itself."""
    del lab  # which is in float32

    class Unrounded(KerasAdam):
        @staticmethod
        def alpha(step: int, group: dict[str, Any], dtype: torch.dtype) -> Tensor:
            beta1, beta2 = (1 - torch.tensor(beta, dtype=dtype) ** step for beta in group["betas"])
            return group["lr"] * beta2.sqrt() / beta1

    wide = Lab(torch.float64)
    group: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.999)}
    first = [float(kind.alpha(1, group, torch.float64)) for kind in (KerasAdam, Unrounded)]
    moved = group["lr"] * abs(1 - first[1] / first[0])
    return {"weights": wide.apart(wide.run(optimizer=Unrounded).model), "step": moved}


def improvements_too_small(lab: Lab) -> dict[str, float]:
    """A `val_loss` in float64 that falls by 1e-9 in each epoch, with a patience of 3."""
    course = [lab.scores(lab.keras.model)["loss"] - 1e-9 * epoch for epoch in range(10)]
    stopping, model = EarlyStopping("val_loss", patience=3), lab.model()
    stopped = next(
        epoch
        for epoch, value in enumerate(course)
        if stopping.on_epoch_end(epoch, {"val_loss": value}, model) or stopping.stop_training
    )
    return {"stopped": stopped + 1}


def moments_lost(lab: Lab) -> dict[str, float]:
    """One more epoch from a file that holds the weights alone: Adam starts over."""
    resumed = copy.deepcopy(lab.keras.model)
    lab.run(resumed, epochs=1)
    whole = lab.run(epochs=EPOCHS + 1).model
    return {"weights": lab.apart(resumed, whole), "epoch": lab.apart(whole)}
