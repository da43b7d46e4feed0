"""Layers that draw numbers in training, and count how often."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torch_impl.base.arguments import whole
from torch_impl.base.processes import Part
from torch_impl.base.scripting import Unscriptable

__all__ = ["Drawing"]


class Drawing(Unscriptable, nn.Module):
    """What it draws is a function of its seed, and of how many training calls came before.

    Args:
        seed: the layer's, as given or as `layer_seeds` draws it; None for torch's generator.

    Attributes:
        calls: training calls so far, which Keras keeps in the layer's seed state. The
            `state_dict` holds it as the layer's extra state, so that a resumed run draws what
            one draws that never stopped; one without it leaves the count as it is.
        part: which rows of the batch come, where several processes share it out; None for all.
    """

    part: Part | None = None

    def __init__(self, seed: int | None) -> None:
        super().__init__()
        name = type(self).__name__
        self.seed = None if seed is None else whole(f"{name}: seed", seed, -(2**63))
        self.calls = 0

    def _counted(self, draw: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """`draw(x)`, where torch can count the call.

        Raises:
            RuntimeError: it is traced or exported.
        """
        if torch.jit.is_tracing() or torch.compiler.is_exporting():  # type: ignore[attr-defined, no-untyped-call]
            raise RuntimeError(
                f"{type(self).__name__}: what it draws depends on how often it was called, which "
                "no exported program counts; export model.eval()"
            )
        if torch.compiler.is_compiling():
            # torch.compile would take the count of calls for a constant and compile anew at
            # every step. The decorator form of this would import the compiler with the
            # package, which doubles the time that importing torch takes.
            draw = torch.compiler.disable(draw)  # type: ignore[no-untyped-call]
        return draw(x)

    def _before(self, x: Tensor) -> int:
        """How many numbers of the batch come before those of `x`."""
        return 0 if self.part is None else self.part.first * math.prod(x.shape[1:])

    def get_extra_state(self) -> Tensor:
        """The count of calls, for the `state_dict`."""
        return torch.tensor(self.calls)

    def set_extra_state(self, state: Tensor) -> None:
        """Takes it from a `state_dict`."""
        self.calls = whole(f"{type(self).__name__}: calls", state, 0)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        *others: Any,
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, *others
        )
        if f"{prefix}_extra_state" in missing_keys:  # weights alone
            missing_keys.remove(f"{prefix}_extra_state")
