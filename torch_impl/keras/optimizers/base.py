"""What Keras's optimizers share: clipped gradients, decayed weights and the count of steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NoReturn, overload

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["KerasOptimizer", "as_cast"]

# Without the wrapper that loads torch's compiler; see the class.
_add_param_group = inspect.unwrap(Optimizer.add_param_group)


def as_cast(number: float) -> float:
    """A Python number as Keras's `ops.cast` leaves it: TensorFlow makes it float32 first."""
    return float(np.float32(number))


class KerasOptimizer(Optimizer):
    """What every optimizer of `keras.optimizers` does around its own update.

    Gradients are clipped, in one of three ways, where c is the number given:

    - `clipnorm`: g ← g c / max(‖g‖, c) for each parameter, a kernel and its bias apart.
    - `global_clipnorm`: g ← g · c min(1 / ‖G‖, 1 / c), G being all gradients together.
    - `clipvalue`: g ← max(min(g, c), -c).

    Then the weights decay, w ← w - w λ lr (`weight_decay`), and then the update is made.

    Differs from what torch has for it:

    1. `torch.nn.utils.clip_grad_norm_` knows the norm of all gradients alone, adds 1e-6 to it,
       and leaves what is short enough as it is; Keras multiplies and divides that too.
    2. A norm is √Σg² with nothing done against overflow: where that is infinite, `clipnorm`
       makes the gradient 0 and `global_clipnorm` makes every one NaN.
    3. A number of 0 or less clips nothing.
    4. λ is of the weights, as with `torch.optim.AdamW`; torch's Adam, SGD and RMSprop add λ w to
       the gradient. It is as float32 holds it, in float64 too; what clips is not rounded.

    A group may have options of its own, also None, which turns one off (Keras's
    `exclude_from_weight_decay`). What is off from the start stands in no group. A group's
    `global_clipnorm` is held against the norm of all groups. Each parameter counts its own steps,
    where Keras counts the optimizer's: the same, unless a parameter has no gradient at times.

    Source: keras/src/optimizers/base_optimizer.py, keras/src/backend/tensorflow/optimizer.py.

    Args:
        params: parameters or groups of them, as for any torch optimizer.
        numbers: what stands in each group, `lr` among it.
        options: what stands there where it is on, of the names in `OPTIONS`.

    Raises:
        ValueError: a number is outside its range, more than one option clips, or a parameter
            is not of real floating-point numbers.
    """

    OPTIONS: ClassVar[tuple[str, ...]] = (
        "weight_decay", "clipnorm", "clipvalue", "global_clipnorm",
    )  # fmt: skip

    # torch's own, without the wrapper that loads torch's compiler, which takes a whole second,
    # where one of them is called for the first time in a process.
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)

    def __init__(
        self, params: Iterable[Any], numbers: dict[str, Any], options: dict[str, Any]
    ) -> None:
        self._check({**numbers, **options})
        on = {name: value for name, value in options.items() if value}
        super().__init__(params, {**numbers, **on})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, whose own options go before the optimizer's.

        Raises:
            ValueError: as for the class; no group is added then.
        """
        self._check({**self.defaults, **param_group})
        _add_param_group(self, param_group)
        for parameter in self.param_groups[-1]["params"]:
            if not parameter.is_floating_point():
                del self.param_groups[-1]
                kind = str(parameter.dtype).removeprefix("torch.")
                self._refuse(f"a parameter is {kind}; expected real floating-point numbers")

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
            norm = self._global_norm()
            for group in self.param_groups:
                parameters = [p for p in group["params"] if p.grad is not None]
                if parameters:
                    states = [self.state_of(p) for p in parameters]
                    for state in states:
                        state["step"] += 1
                    gradients = _clipped(_gradients(parameters), group, norm)
                    if group.get("weight_decay"):
                        _decay(parameters, as_cast(group["weight_decay"]), float(group["lr"]))
                    self._update(parameters, gradients, states, group)
        return loss

    def state_of(self, w: Tensor) -> dict[str, Any]:
        """`step` of a parameter, and by their Keras names its variables, zero at first.

        Raises:
            ValueError: the parameter is none of this optimizer's.
        """
        state: dict[str, Any] = self.state.get(w, {})
        if not state:
            group = next((g for g in self.param_groups if any(p is w for p in g["params"])), None)
            if group is None:
                self._refuse(f"a parameter {tuple(w.shape)} is in none of the optimizer's groups")
            state = self.state[w]
            state["step"] = torch.zeros((), dtype=torch.float32)
            for name in self._variables(group):
                state[name] = torch.zeros_like(w)
        return state

    def has_options(self) -> bool:
        """Whether any group clips, decays or has another of the `OPTIONS`."""
        return any(group.get(name) for group in self.param_groups for name in self.OPTIONS)

    def _update(
        self,
        w: list[Tensor],
        g: list[Tensor],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        """Changes parameters and their states; the gradients are not to be changed."""
        raise NotImplementedError

    def _variables(self, group: dict[str, Any]) -> tuple[str, ...]:
        """Names of what is kept of each parameter of a group."""
        raise NotImplementedError

    def _check(self, group: dict[str, Any]) -> None:
        """Refuses a group's numbers."""
        for name in ("lr", "weight_decay"):
            value = group.get(name)
            if value is not None and not value >= 0:
                self._refuse(f"{name}={value}; expected it to be 0 or more")
        clips = [name for name in self.OPTIONS if "clip" in name and group.get(name) is not None]
        if len(clips) > 1:
            given = ", ".join(f"{name}={group[name]}" for name in clips)
            self._refuse(f"{given}; expected one of them alone")

    def _refuse(self, fault: str) -> NoReturn:
        raise ValueError(f"{type(self).__name__}: {fault}")

    def _held(self, states: list[dict[str, Any]], name: str) -> list[Tensor]:
        """A variable that an option needs, of each parameter."""
        if not all(name in state for state in states):
            self._refuse(f"a parameter took steps without {name}; expected its option on at first")
        return [state[name] for state in states]

    def _global_norm(self) -> Tensor | None:
        """√Σg² over all groups, where one of them asks for it."""
        if not any(group.get("global_clipnorm") for group in self.param_groups):
            return None
        every = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        sums = _sums_of_squares(_gradients(every))
        return torch.stack([part.to(sums[0]) for part in sums]).sum().sqrt() if sums else None


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def _sums_of_squares(g: list[Tensor]) -> list[Tensor]:
    return [square.sum() for square in torch._foreach_mul(g, g)]


def _clipped(g: list[Tensor], group: dict[str, Any], norm: Tensor | None) -> list[Tensor]:
    """The gradients as the one option of the group that clips leaves them, new ones."""
    if (limit := group.get("clipnorm")) and limit > 0:
        longest = torch._foreach_clamp_min(torch._foreach_sqrt(_sums_of_squares(g)), limit)
        return list(torch._foreach_div(torch._foreach_mul(g, limit), longest))
    if norm is not None and (limit := group.get("global_clipnorm")) and limit > 0:
        scale = limit * (1.0 / norm).clamp_max(1.0 / limit) + (norm - norm)
        return [each * scale.to(each) for each in g]
    if (limit := group.get("clipvalue")) and limit > 0:
        return list(torch._foreach_clamp_min(torch._foreach_clamp_max(g, limit), -limit))
    return g


def _decay(w: list[Tensor], decay: float, lr: float) -> None:
    change = torch._foreach_mul(w, decay)
    torch._foreach_mul_(change, lr)
    torch._foreach_sub_(w, change)
