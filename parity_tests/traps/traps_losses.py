"""What goes wrong, and by how much, in losses and penalties that the tutorial lacks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot, softmax

from parity_tests.traps.plain_loop import SEED, Lab, Loss, keras_loss
from parity_tests.traps.traps_family import RELU, network
from torch_impl import KerasAdam, KerasAdamW, KerasNetwork, layers, losses
from torch_impl.keras.layers.regularizers import L1L2, penalty, regularizer_of

__all__: list[str] = []


def smoothed_otherwise(lab: Lab) -> dict[str, float]:
    """A smoothing of 0.1: none, as `BCEWithLogitsLoss` has it, and 0.1 of the other class."""

    def first(loss: Loss) -> float:
        return lab.run(loss=loss, epochs=1).losses[0][0]

    def whole(z: Tensor, y: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(z, y * 0.9 + (1 - y) * 0.1)

    binary = losses.BinaryCrossentropy(label_smoothing=0.1)
    categorical = losses.CategoricalCrossentropy(label_smoothing=0.1)
    z = lab.train[0][:, :3]
    classes = z.argmin(dim=1)
    return {
        "right": first(lambda z, y: binary(z, y).mean()),
        "none": first(binary_cross_entropy_with_logits),
        "whole": first(whole),
        "categorical": categorical(z, one_hot(classes, 3)).mean().item(),
        "torchs": cross_entropy(z, classes, label_smoothing=0.1).item(),
    }


def focal_with_alpha(lab: Lab) -> dict[str, float]:
    """The formula of torchvision's `sigmoid_focal_loss`, whose α of 0.25 is on by default."""

    def theirs(z: Tensor, y: Tensor) -> Tensor:
        p = torch.sigmoid(z)
        of_label = y * p + (1 - y) * (1 - p)
        alpha = y * 0.25 + (1 - y) * 0.75
        entropy = binary_cross_entropy_with_logits(z, y, reduction="none")
        return (alpha * (1 - of_label) ** 2 * entropy).mean()

    ours = losses.BinaryFocalCrossentropy()
    right, wrong = lab.run(loss=lambda z, y: ours(z, y).mean()), lab.run(loss=theirs)
    return {
        "ratio": wrong.losses[0][0] / right.losses[0][0],
        "weights": lab.apart(wrong.model, right.model),
    }


def softmax_twice(lab: Lab) -> dict[str, float]:
    """Two classes, a softmax at the end and `CrossEntropyLoss` behind it, Adam at 0.01."""
    chain = [layers.Dense(16, activation="relu"), layers.Dropout(0.5), layers.Dense(2)]

    def last(end: Callable[[Tensor], Tensor]) -> float:
        model = KerasNetwork.build(lab.train[0].shape[1], chain, seed=SEED)
        run = lab.run(
            model,
            optimizer=lambda weights: KerasAdam(weights, lr=0.01),
            loss=lambda z, y: cross_entropy(end(z), y[:, 0].long()),
        )
        return run.losses[-1][-1]

    sure = torch.tensor([[100.0, 0.0]])
    return {
        "right": last(lambda z: z),
        "wrong": last(lambda z: softmax(z, dim=-1)),
        "least": cross_entropy(softmax(sure, dim=-1), torch.tensor([0])).item(),
    }


def decayed_for_penalised(lab: Lab) -> dict[str, float]:
    """`l2(0.01)` of the first kernel as `weight_decay=0.01` of Adam, and of AdamW."""
    c = 0.01
    right, decayed = (network(lab, RELU, kernel_regularizer=L1L2(l2=c)) for _ in range(2))

    def penalised(z: Tensor, y: Tensor) -> Tensor:
        added = penalty(right)
        assert added is not None
        return keras_loss(z, y) + added

    def adams(z: Tensor, y: Tensor) -> Tensor:
        # Its gradient is what torch's Adam adds, to that of every parameter.
        squares = torch.stack([w.square().sum() for w in decayed.parameters()])
        return keras_loss(z, y) + c / 2 * squares.sum()

    run = lab.run(right, loss=penalised)
    lab.run(decayed, loss=adams)
    adamw = lab.run(optimizer=lambda weights: KerasAdamW(weights, weight_decay=c))
    return {
        "right": run.losses[0][0],
        "first": adamw.losses[0][0],
        "adam": lab.apart(decayed, right),
        "adamw": lab.apart(adamw.model, right),
    }


def factors_of_zero(lab: Lab) -> dict[str, float]:
    """What each name adds to the first loss, for the first kernel."""
    kernel = lab.model().hidden.weight.detach()
    return {
        "keras_3": regularizer_of("l1l2")(kernel).item(),
        "keras_2": regularizer_of("l1_l2")(kernel).item(),
    }
