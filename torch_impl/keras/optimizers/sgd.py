"""Stochastic gradient descent as Keras computes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from torch_impl.keras.optimizers.base import KerasOptimizer, as_cast

__all__ = ["KerasSGD"]


class KerasSGD(KerasOptimizer):
    """`keras.optimizers.SGD`, in Keras's order of floating-point operations.

    w ← w - lr g, and with a momentum μ

    m ← μ m - lr g,  w ← w + m,  or with `nesterov`  w ← w + (μ m - lr g).

    Differs from `torch.optim.SGD`:

    1. The learning rate is within m (torch's buffer is μ b + g, of which lr makes the step): the
       same path as long as lr stays, another one as soon as it changes.
    2. lr is 0.01, not 1e-3.
    3. μ is as float32 holds it, in float64 too, because TensorFlow's `cast` of a Python number
       makes it float32 first.
    4. Decay and clipping are `KerasOptimizer`'s: a decay does not go into m.

    Source: keras/src/optimizers/sgd.py.

    Args:
        params: parameters or groups of them, as for any torch optimizer.
        lr: learning rate (`learning_rate`); schedulers may change it.
        momentum: μ, from 0 to 1; with 0 nothing is kept.
        nesterov: whether to look one step ahead; without a momentum it changes nothing.
        weight_decay: share of a weight, times lr, that it loses before each step.
        clipnorm: largest norm of each gradient; see `KerasOptimizer`.
        clipvalue: largest number in a gradient.
        global_clipnorm: largest norm of all gradients together.

    Raises:
        ValueError: a number is outside its range, or more than one option clips.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        numbers = {"lr": lr, "momentum": momentum, "nesterov": nesterov}
        options = {
            "weight_decay": weight_decay, "clipnorm": clipnorm, "clipvalue": clipvalue,
            "global_clipnorm": global_clipnorm,
        }  # fmt: skip
        super().__init__(params, numbers, options)

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        if not 0 <= group["momentum"] <= 1:
            self._refuse(f"momentum={group['momentum']}; expected it from 0 to 1")

    def _variables(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum",) if group["momentum"] else ()

    def _update(
        self,
        w: list[Tensor],
        g: list[Tensor],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        change = torch._foreach_mul(g, float(group["lr"]))
        if not group["momentum"]:
            torch._foreach_sub_(w, change)
            return
        m, momentum = self._held(states, "momentum"), as_cast(group["momentum"])
        torch._foreach_mul_(m, momentum)
        torch._foreach_sub_(m, change)
        if group["nesterov"]:
            ahead = torch._foreach_mul(m, momentum)
            torch._foreach_sub_(ahead, change)
            torch._foreach_add_(w, ahead)
        else:
            torch._foreach_add_(w, m)
