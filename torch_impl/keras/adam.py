"""Adam as Keras computes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["KerasAdam"]


class KerasAdam(Optimizer):
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

    Source: keras/src/optimizers/adam.py.

    Args:
        params: parameters or groups of them, as for any torch optimizer.
        lr: learning rate; schedulers may change it.
        betas: decay of the two moments, each in [0, 1).
        eps: ε, above or equal to 0.

    Raises:
        ValueError: a number is outside its range.
    """

    # torch's own, without the wrapper that loads torch's compiler, which takes a whole second,
    # where one of them is called for the first time in a process.
    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
    ) -> None:
        if not lr >= 0:
            raise ValueError(f"KerasAdam: lr={lr}; expected it to be 0 or more")
        if not eps >= 0:
            raise ValueError(f"KerasAdam: eps={eps}; expected it to be 0 or more")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"KerasAdam: betas={betas}; expected both in [0, 1)")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Takes one step; parameters without a gradient stay.

        Args:
            closure: evaluates the model anew and returns the loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                parameters = [p for p in group["params"] if p.grad is not None]
                if parameters:
                    self._update(parameters, group)
        return loss

    def state_of(self, w: Tensor) -> dict[str, Any]:
        """`step`, `momentum` and `velocity` of a parameter, zero before its first step."""
        state: dict[str, Any] = self.state[w]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["momentum"] = torch.zeros_like(w)
            state["velocity"] = torch.zeros_like(w)
        return state

    def _update(self, w: list[Tensor], group: dict[str, Any]) -> None:
        # Each line works on all parameters at once (torch's foreach kernels): the tensors of
        # a small network are so short that calling the kernels is what costs.
        g = [p.grad for p in w if p.grad is not None]
        states = [self.state_of(p) for p in w]
        for state in states:
            state["step"] += 1
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
