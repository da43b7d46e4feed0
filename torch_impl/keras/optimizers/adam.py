"""Adam and AdamW as Keras computes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from torch_impl.keras.optimizers.base import KerasOptimizer

__all__ = ["KerasAdam", "KerasAdamW"]


class KerasAdam(KerasOptimizer):
    """`keras.optimizers.Adam`, in Keras's order of floating-point operations.

    m ← m + (g - m)(1 - β₁),  v ← v + (g² - v)(1 - β₂),
    w ← w - m α / (√v + ε)  with  α = lr √(1 - β₂ᵗ) / (1 - β₁ᵗ).

    Differs from `torch.optim.Adam`:

    1. ε is added to √v before the correction of its bias (Kingma and Ba's "ε hat"), so it
       weighs √(1 - β₂ᵗ) times less: at t = 1 a torch ε would have to be 32 times larger.
    2. ε is 1e-7, not 1e-8.
    3. The corrections are computed in the parameter's dtype, of β as float32 holds it: in
       float64 too Keras raises float32(β), because TensorFlow's `cast` of a Python number
       makes it float32 first. The 1 - β of the moments is the Python number's.
    4. Decay and clipping are `KerasOptimizer`'s: `weight_decay` makes it an AdamW.

    With `amsgrad` the largest v so far takes the place of v in the step, as with torch's.

    Source: keras/src/optimizers/adam.py.

    Args:
        params: parameters or groups of them, as for any torch optimizer.
        lr: learning rate (`learning_rate`); schedulers may change it.
        betas: decay of the two moments (`beta_1`, `beta_2`), each in [0, 1).
        eps: ε (`epsilon`), above or equal to 0.
        amsgrad: whether to step by the largest v so far.
        weight_decay: share of a weight, times lr, that it loses before each step.
        clipnorm: largest norm of each gradient; see `KerasOptimizer`.
        clipvalue: largest number in a gradient.
        global_clipnorm: largest norm of all gradients together.

    Raises:
        ValueError: a number is outside its range, or more than one option clips.
    """

    OPTIONS = ("amsgrad", *KerasOptimizer.OPTIONS)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        *,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        options = {
            "amsgrad": amsgrad, "weight_decay": weight_decay, "clipnorm": clipnorm,
            "clipvalue": clipvalue, "global_clipnorm": global_clipnorm,
        }  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps}, options)

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        if not group["eps"] >= 0:
            self._refuse(f"eps={group['eps']}; expected it to be 0 or more")
        if not all(0 <= beta < 1 for beta in group["betas"]):
            self._refuse(f"betas={group['betas']}; expected both in [0, 1)")

    def _variables(self, group: dict[str, Any]) -> tuple[str, ...]:
        hat = ("velocity_hat",) if group.get("amsgrad") else ()
        return ("momentum", "velocity", *hat)

    def _update(
        self,
        w: list[Tensor],
        g: list[Tensor],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        # Each line works on all parameters at once (torch's foreach kernels): the tensors of
        # a small network are so short that calling the kernels is what costs.
        m, v = ([state[name] for state in states] for name in ("momentum", "velocity"))
        beta1, beta2 = group["betas"]
        kinds = [(int(state["step"]), p.dtype) for state, p in zip(states, w, strict=True)]
        alpha = {kind: self.alpha(kind[0], group, kind[1]).item() for kind in set(kinds)}
        change = torch._foreach_sub(g, m)
        torch._foreach_mul_(change, 1 - beta1)
        torch._foreach_add_(m, change)
        change = torch._foreach_mul(g, g)
        torch._foreach_sub_(change, v)
        torch._foreach_mul_(change, 1 - beta2)
        torch._foreach_add_(v, change)
        change = torch._foreach_mul(m, [alpha[kind] for kind in kinds])
        if group.get("amsgrad"):
            hats = self._held(states, "velocity_hat")
            torch._foreach_maximum_(hats, v)
            v = hats
        scale = torch._foreach_sqrt(v)
        torch._foreach_add_(scale, group["eps"])
        torch._foreach_div_(change, scale)
        torch._foreach_sub_(w, change)

    @staticmethod
    def alpha(step: int, group: dict[str, Any], dtype: torch.dtype) -> Tensor:
        """The step size with both corrections, lr √(1 - β₂ᵗ) / (1 - β₁ᵗ), a scalar.

        Args:
            step: t, from 1.
            group: with `lr` and `betas`.
            dtype: in which Keras computes, the parameter's.
        """
        t = torch.tensor(float(step), dtype=dtype)
        betas = torch.tensor(group["betas"], dtype=torch.float32).to(dtype)
        corrections = 1 - betas**t
        return torch.as_tensor(group["lr"], dtype=dtype) * corrections[1].sqrt() / corrections[0]


class KerasAdamW(KerasAdam):
    """`keras.optimizers.AdamW`: `KerasAdam` whose weights decay, of 0.004 by default.

    Differs from `torch.optim.AdamW` by what `KerasAdam` differs in, and:

    1. The decay is 0.004, not 0.01.
    2. It is as float32 holds it, in float64 too.
    3. A weight loses w λ lr, where torch multiplies it by 1 - lr λ: the same but for rounding.
       All parameters decay, biases too, in both; a group with `weight_decay=None` does not.

    Source: keras/src/optimizers/adamw.py.

    Args:
        params: parameters or groups of them, as for any torch optimizer.
        lr: learning rate (`learning_rate`); schedulers may change it.
        betas: decay of the two moments (`beta_1`, `beta_2`), each in [0, 1).
        eps: ε (`epsilon`), above or equal to 0.
        weight_decay: share of a weight, times lr, that it loses before each step.
        amsgrad: whether to step by the largest v so far.
        clipnorm: largest norm of each gradient; see `KerasOptimizer`.
        clipvalue: largest number in a gradient.
        global_clipnorm: largest norm of all gradients together.

    Raises:
        ValueError: a number is outside its range, more than one option clips, or the decay is
            None.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        *,
        weight_decay: float = 0.004,
        amsgrad: bool = False,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        if weight_decay is None:
            self._refuse("weight_decay=None; expected a number")
        super().__init__(
            params, lr, betas, eps, amsgrad=amsgrad, weight_decay=weight_decay,
            clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm,
        )  # fmt: skip
