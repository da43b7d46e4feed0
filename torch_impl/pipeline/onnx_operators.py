"""Operators whose usual translation to ONNX gives other numbers than torch does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["exact_translations"]


def exact_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For `torch.onnx.export`, as its `custom_translation_table`.

    Numbers that stand in a module's code (a clip, an offset) would be rounded to float32 before
    they meet float64. ONNX Runtime's `Sigmoid` errs by up to 1.5e-7 in float32: of a probability
    of 1e-4 a thousandth, of one of 1e-7 all of it. By its definition it is as exact as torch's.

    Raises:
        ModuleNotFoundError: onnx or onnxscript is not installed.
    """
    from onnx import TensorProto, helper
    from onnxscript import opset20 as op

    def scalar_tensor(
        s: float,
        dtype: int = TensorProto.FLOAT,
        layout: str = "",
        device: str = "",
        pin_memory: bool = False,
    ) -> Any:
        return op.Constant(value=helper.make_tensor("number", dtype, [], [s]))

    def sigmoid(x: Any) -> Any:
        return op.Reciprocal(op.Add(op.Exp(op.Neg(x)), op.CastLike(scalar_tensor(1.0), x)))

    aten = torch.ops.aten
    return {aten.scalar_tensor.default: scalar_tensor, aten.sigmoid.default: sigmoid}
