"""What goes wrong, and by how much, in optimizers and schedules, and in rows held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.utils.data import TensorDataset, random_split

from parity_tests.traps.plain_loop import BATCH_SIZE, EPOCHS, SEED, Lab
from parity_tests.traps.traps_training import class_weighted
from torch_impl import KerasAdam, KerasAdamW, KerasRMSprop, KerasSGD, fit
from torch_impl.keras.callbacks.learning_rate import ReduceLROnPlateau
from torch_impl.keras.callbacks.schedules import CosineDecay

__all__: list[str] = []

Made = Callable[[Iterable[Tensor]], Optimizer]


def torchs_rmsprop(lab: Lab) -> dict[str, float]:
    """`torch.optim.RMSprop` at Keras's learning rate; with Keras's ρ and ε too."""

    def theirs(weights: Iterable[Tensor]) -> Optimizer:
        return torch.optim.RMSprop(weights, lr=1e-3)

    def same_numbers(weights: Iterable[Tensor]) -> Optimizer:
        return torch.optim.RMSprop(weights, lr=1e-3, alpha=0.9, eps=1e-7)

    def first_step(make: Made) -> float:
        weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        weight.grad = torch.full_like(weight, 1e-6)
        make([weight]).step()
        return -weight.item()

    right = lab.run(optimizer=KerasRMSprop).model
    return {
        "weights": lab.apart(lab.run(optimizer=theirs).model, right),
        "same": lab.apart(lab.run(optimizer=same_numbers).model, right),
        "step": first_step(KerasRMSprop),
        "torchs_step": first_step(theirs),
    }


def rate_outside_the_buffer(lab: Lab) -> dict[str, float]:
    """`torch.optim.SGD` with a momentum of 0.9; its rate divided by 10 half-way, or never."""

    def trained(kind: Any, later: float) -> Any:
        model = lab.model()
        optimizer = kind(model.parameters(), lr=0.01, momentum=0.9)
        for rate in (0.01, later):
            optimizer.param_groups[0]["lr"] = rate
            lab.run(model, optimizer=lambda _: optimizer, epochs=EPOCHS // 2)
        return model

    def apart(later: float) -> float:
        return lab.apart(trained(torch.optim.SGD, later), trained(KerasSGD, later))

    return {"changed": apart(0.001), "constant": apart(0.01)}


def torchs_decay(lab: Lab) -> dict[str, float]:
    """`KerasAdamW` with the decay that is PyTorch's default."""
    right, wrong = (
        lab.run(optimizer=lambda weights, decay=decay: KerasAdamW(weights, weight_decay=decay))
        for decay in (0.004, 0.01)
    )
    return {"weights": lab.apart(wrong.model, right.model)}


class _ClippedTogether(KerasSGD):
    def step(self, closure: Any = None) -> Any:
        nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 1.0)
        return super().step(closure)


def norm_of_all(lab: Lab) -> dict[str, float]:
    """`clip_grad_norm_(…, 1.0)` for `clipnorm=1.0`, with class weights and plain SGD."""
    loss = class_weighted(lab)
    right = lab.run(optimizer=lambda weights: KerasSGD(weights, clipnorm=1.0), loss=loss)
    wrong = lab.run(optimizer=_ClippedTogether, loss=loss)
    return {"weights": lab.apart(wrong.model, right.model)}


def relative_threshold(lab: Lab) -> dict[str, float]:
    """A loss that stands still, and one of 0.03 that falls by 2e-5 in each of 100 epochs."""
    del lab

    def reduced(losses: Iterable[float], keras: bool) -> list[int]:
        model = nn.Linear(1, 1)
        optimizer = KerasAdam(model.parameters(), lr=1.0)
        ours = ReduceLROnPlateau(optimizer, mode="min", patience=3)
        theirs = lr_scheduler.ReduceLROnPlateau(optimizer, patience=3, eps=0)
        epochs = []
        for epoch, loss in enumerate(losses):
            before = optimizer.param_groups[0]["lr"]
            if keras:
                ours.on_epoch_end(epoch, {"val_loss": loss}, model)
            else:
                theirs.step(loss)
            if optimizer.param_groups[0]["lr"] < before:
                epochs.append(epoch + 1)
        return epochs

    still, falling = [0.03] * 10, [0.03 - 2e-5 * epoch for epoch in range(100)]
    return {
        "still": reduced(still, keras=True)[0],
        "torchs_still": reduced(still, keras=False)[0],
        "falling": len(reduced(falling, keras=True)),
        "torchs_falling": len(reduced(falling, keras=False)),
    }


def stepped_each_epoch(lab: Lab) -> dict[str, float]:
    """`CosineAnnealingLR` from 0.01 to 0, stepped once an epoch: of all steps, and of epochs."""
    batches = len(lab.order.split(BATCH_SIZE))
    steps = batches * EPOCHS
    rates: list[float] = []

    def trained(make: Callable[[Optimizer], Any], every: int) -> Any:
        rates.clear()

        def with_schedule(weights: Iterable[Tensor]) -> Optimizer:
            optimizer = KerasAdam(weights, lr=0.01)
            schedule = make(optimizer)

            def after_a_step(*_: Any) -> None:
                rates.append(optimizer.param_groups[0]["lr"])
                if len(rates) % every == 0:
                    schedule.step()

            optimizer.register_step_post_hook(after_a_step)
            return optimizer

        return lab.run(optimizer=with_schedule).model

    right = trained(lambda optimizer: CosineDecay(optimizer, 0.01, steps), 1)
    rate = rates[-1]
    late = trained(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, steps), batches)
    late_rate = rates[-1]
    stairs = trained(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS), batches)
    return {
        "steps": steps,
        "rate": rate,
        "late_rate": late_rate,
        "late": lab.apart(late, right),
        "stairs": lab.apart(stairs, right),
    }


def drawn_rows_held_out(lab: Lab) -> dict[str, float]:
    """`random_split` in the place of `validation_split=0.2`; and rows sorted by their class."""
    x, y = lab.train
    kept = round(0.8 * len(x))
    generator = torch.Generator().manual_seed(SEED)
    trained, held = random_split(TensorDataset(x, y), [kept, len(x) - kept], generator)

    def val_loss(x: Tensor, y: Tensor, **validation: Any) -> float:
        history = fit(
            lab.model(), x, y, batch_size=BATCH_SIZE, epochs=EPOCHS, seed=SEED, compiled=False,
            progress=False, metrics=False, **validation,
        )  # fmt: skip
        return history.history["val_loss"][-1]

    return {
        "rows": len(held),
        "same": sum(i >= kept for i in held.indices),
        "right": val_loss(x, y, validation_split=0.2),
        "wrong": val_loss(*trained[:], validation_data=held[:]),
        "sorted": int(y.sort(dim=0).values[kept:].sum()),
        "frauds": int(y.sum()),
    }
