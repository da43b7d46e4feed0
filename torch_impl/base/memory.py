"""Which tensors compiled code may read past torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import has_torch_function

__all__ = ["plain_numbers"]


def plain_numbers(*tensors: Tensor) -> bool:
    """Whether tensors are numbers in the CPU's memory, and nobody follows them.

    Whoever does would see nothing of what compiled code computes: a compiler, an exporter or a
    tracer, a gradient in either direction, a transform such as `torch.vmap`, a subclass, a mode.
    """
    # First, and alone: a compiler or a tracer would take what else is asked for as a condition.
    if torch.compiler.is_compiling():
        return False
    if torch._C._get_tracing_state() is not None:
        return False
    watched = has_torch_function(tensors) or torch._C._len_torch_dispatch_stack() > 0
    return not watched and all(map(_is_plain, tensors))


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) is Tensor
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not (tensor.requires_grad or tensor.is_conj() or tensor.is_neg())
        and forward_ad.unpack_dual(tensor).tangent is None  # type: ignore[no-untyped-call]
    )
