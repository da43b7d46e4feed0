"""What goes wrong, and by how much, where a model leaves PyTorch for another runtime."""

# ruff: noqa: E501 (a row is a row)

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime
import torch
from torch import nn

from parity_tests.judge.sigmoid import float64_sigmoid
from parity_tests.traps.plain_loop import Lab
from parity_tests.traps.trap import Trap
from torch_impl import FeatureTransform
from torch_impl.pipeline.export import quiet

__all__ = ["RUNTIMES"]


def _as_it_comes(module: nn.Module, x: torch.Tensor) -> np.ndarray:
    """What ONNX Runtime gives of the module as torch exports it."""
    with quiet():
        program = torch.onnx.export(module.eval(), (x,), dynamo=True, verbose=False)
    content = program.model_proto.SerializeToString()
    (name,) = (i.name for i in program.model_proto.graph.input)
    return onnxruntime.InferenceSession(content).run(None, {name: x.numpy()})[0]


def onnx_sigmoid(lab: Lab) -> Mapping[str, float]:
    """`torch.sigmoid` in float32, of 20,001 logits from -20 to 0, exported and run."""
    del lab
    logits = torch.linspace(-20, 0, 20_001)
    found = _as_it_comes(nn.Sigmoid(), logits)
    right = float64_sigmoid(logits.numpy())
    return {
        "apart": float(np.abs(found - right).max()),
        "lost": float(right[found == 0].max()),
    }


def onnx_constants(lab: Lab) -> Mapping[str, float]:
    """A `FeatureTransform` in float64 of the lab's raw rows, exported as it comes and run."""
    rows = torch.from_numpy(lab.prepared.train.raw)
    transform = FeatureTransform.fit(rows).double()
    with torch.no_grad():
        apart = np.abs(_as_it_comes(transform, rows) - transform(rows).numpy())
    return {"apart": float(apart.max())}


RUNTIMES = (
    Trap(
        "sigmoid in ONNX Runtime",
        "within 7 ULP of the probability, however small",
        "`torch.sigmoid` as well; ONNX Runtime's `Sigmoid`, in float32, is as far off near 0 as near ½",
        onnx_sigmoid,
        "off by up to {apart:.0e} whatever the probability: {lost:.0e} becomes 0",
        "pipeline/onnx_operators.py::exact_translations",
        "decisions/test_export.py::test_small_probabilities_are_right_in_every_runtime",
    ),
    Trap(
        "a number in the code, exported to ONNX",
        "Keras's `export` was not measured",
        "`torch.onnx.export` rounds it to float32, also beside float64 rows",
        onnx_constants,
        "log(Amount + 0.001) and a clip at 5 move features in float64 by up to {apart:.0e}",
        "pipeline/onnx_operators.py::exact_translations",
        "decisions/test_export.py::test_a_pipeline_in_float64_is_exported_as_such",
    ),
)  # fmt: skip
