"""RMSprop as Keras computes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from torch_impl.keras.optimizers.base import KerasOptimizer

__all__ = ["KerasRMSprop"]


class KerasRMSprop(KerasOptimizer):
    """`keras.optimizers.RMSprop`, in Keras's order of floating-point operations.

    v ← ρ v + (1 - ρ) g²,  w ← w - lr g / √(v + ε),

    with `centered`  a ← ρ a + (1 - ρ) g  and  v - a² + ε  under the root, and with a momentum μ
    m ← μ m + lr g / √…,  w ← w - m.

    Differs from `torch.optim.RMSprop`:

    1. ε is under the root (torch adds it to √v), and 1e-7, not 1e-8: a gradient far below
       √ε = 3e-4 makes as much smaller a step, where torch's step keeps its size down to 1e-8.
    2. ρ is 0.9, where torch's `alpha` is 0.99.
    3. lr is 1e-3, not 0.01, and it is within m (torch's buffer knows no lr): another path as soon
       as lr changes.
    4. ρ, μ and ε are the Python numbers; none of them is rounded to float32.
    5. Decay and clipping are `KerasOptimizer`'s.

    Source: keras/src/optimizers/rmsprop.py.

    Args:
        params: parameters or groups of them, as for any torch optimizer.
        lr: learning rate (`learning_rate`); schedulers may change it.
        rho: ρ, from 0 to 1, the share of the average that is kept.
        momentum: μ, from 0 to 1; with 0 none is kept.
        eps: ε (`epsilon`), 0 or more.
        centered: whether the variance of the gradient takes the place of its mean square.
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
        lr: float = 1e-3,
        rho: float = 0.9,
        momentum: float = 0.0,
        eps: float = 1e-7,
        centered: bool = False,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        numbers = {"lr": lr, "rho": rho, "momentum": momentum, "eps": eps, "centered": centered}
        options = {
            "weight_decay": weight_decay, "clipnorm": clipnorm, "clipvalue": clipvalue,
            "global_clipnorm": global_clipnorm,
        }  # fmt: skip
        super().__init__(params, numbers, options)

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        for name in ("rho", "momentum"):
            if not 0 <= group[name] <= 1:
                self._refuse(f"{name}={group[name]}; expected it from 0 to 1")
        if not group["eps"] >= 0:
            self._refuse(f"eps={group['eps']}; expected it to be 0 or more")

    def _variables(self, group: dict[str, Any]) -> tuple[str, ...]:
        kept = {
            "velocity": True,
            "momentum": group["momentum"] > 0,
            "average_gradient": group["centered"],
        }
        return tuple(name for name, wanted in kept.items() if wanted)

    def _update(
        self,
        w: list[Tensor],
        g: list[Tensor],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        rho, v = group["rho"], self._held(states, "velocity")
        _average(v, list(torch._foreach_mul(g, g)), rho)
        if group["centered"]:
            average = self._held(states, "average_gradient")
            _average(average, g, rho)
            scale = torch._foreach_sub(v, torch._foreach_mul(average, average))
            torch._foreach_add_(scale, group["eps"])
        else:
            scale = torch._foreach_add(v, group["eps"])
        torch._foreach_sqrt_(scale)
        change = torch._foreach_mul(g, float(group["lr"]))
        torch._foreach_div_(change, scale)
        if group["momentum"] > 0:
            m = self._held(states, "momentum")
            torch._foreach_mul_(m, group["momentum"])
            torch._foreach_add_(m, change)
            torch._foreach_sub_(w, m)
        else:
            torch._foreach_sub_(w, change)


def _average(kept: list[Tensor], new: list[Tensor], rho: float) -> None:
    torch._foreach_mul_(kept, rho)
    torch._foreach_add_(kept, torch._foreach_mul(new, 1 - rho))
