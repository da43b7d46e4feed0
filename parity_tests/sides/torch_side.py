"""What PyTorch gives at each stage, read off the real module by hooks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from torch_impl import FraudClassifier, load_keras_weights

__all__ = ["classifier", "forward_stages"]


def classifier(
    weights: Mapping[str, np.ndarray], device: str = "cpu", dropout: float = 0.5
) -> FraudClassifier:
    """A classifier of the weights' sizes and dtype, holding them."""
    kernel = weights["dense/kernel"]
    model = FraudClassifier(
        *kernel.shape, dropout=dropout, device=device, dtype=getattr(torch, kernel.dtype.name)
    )
    load_keras_weights(model, weights)
    return model


def forward_stages(
    model: torch.nn.Module, features: np.ndarray, batch_size: int | None = None
) -> dict[str, np.ndarray]:
    """Runs the module once in inference mode and records its stages.

    Args:
        model: a `FraudClassifier`, or what `torch.compile` made of one.
        features: (N, in_features) in the module's dtype.
        batch_size: rows per call; all at once if None.

    Returns:
        Stage name to array: hidden stages (N, hidden_units), the others (N, 1).
    """
    seen: dict[str, list[torch.Tensor]] = {}

    def record(stage: str, module: torch.nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(
            lambda _module, _inputs, output: seen.setdefault(stage, []).append(output)
        )

    handles = [
        record("hidden pre-activations", model.get_submodule("hidden")),
        record("hidden activations", model.get_submodule("activation")),
        record("logits", model.get_submodule("output")),
    ]
    device = next(model.parameters()).device
    step = batch_size or max(len(features), 1)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for start in range(0, max(len(features), 1), step):
                batch = torch.from_numpy(features[start : start + step]).to(device)
                logits = model(batch)
                assert torch.equal(logits.nan_to_num(), seen["logits"][-1].nan_to_num())
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            seen["probabilities"] = [
                model.predict_proba(torch.from_numpy(features[start : start + step]).to(device))
                for start in range(0, max(len(features), 1), step)
            ]
    finally:
        for handle in handles:
            handle.remove()
        model.train(was_training)
    return {stage: torch.cat(parts).cpu().numpy() for stage, parts in seen.items()}
