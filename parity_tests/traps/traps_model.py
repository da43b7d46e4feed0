"""What goes wrong, and by how much, where a model, its rows or its numbers are carried over."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from parity_tests.judge.sigmoid import float64_sigmoid
from parity_tests.reference.recording_file import FOLDER, read
from parity_tests.traps.plain_loop import BATCH_SIZE, SEED, Lab
from torch_impl import FeatureTransform, FraudClassifier
from torch_impl.keras.random import glorot_uniform, layer_seeds

__all__ = ["NotMeasuredHereError"]


def kernel_reshaped(lab: Lab) -> dict[str, float]:
    """The trained kernel brought to (out, in) by `reshape`, and not by a transpose."""
    bent = lab.model()
    bent.load_state_dict(lab.keras.model.state_dict())
    with torch.no_grad():
        bent.hidden.weight.copy_(bent.hidden.weight.T.reshape(bent.hidden.weight.shape))
    return {"right": lab.pr_auc(lab.keras.model), "wrong": lab.pr_auc(bent)}


def _from_torchs_generator(lab: Lab, prior: bool = True) -> FraudClassifier:
    """The two layers as `nn.Linear` starts them, with the prior in the output bias or not."""
    model = lab.model()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for layer in (model.hidden, model.output):
            fresh = nn.Linear(layer.in_features, layer.out_features)
            layer.load_state_dict(fresh.state_dict())
    if prior:
        nn.init.constant_(model.output.bias, lab.prior)
    return model


def torchs_initial_weights(lab: Lab) -> dict[str, float]:
    """`nn.Linear` as it comes, and the prior set."""
    theirs = _from_torchs_generator(lab)
    ratio = lab.model().hidden.weight.abs().max() / theirs.hidden.weight.abs().max()
    return {"ratio": ratio.item(), "weights": lab.apart(lab.run(theirs).model)}


def rows_off_their_place(lab: Lab) -> dict[str, float]:
    """The hidden layer in float64, of rows that begin eight bytes later in memory."""
    x, weight = (t.detach().double() for t in (lab.train[0], lab.keras.model.hidden.weight))
    memory = torch.empty(x.numel() + 16, dtype=torch.float64)
    here, there = (memory[at : at + x.numel()].view_as(x) for at in (0, 1))
    outputs = [linear(place.copy_(x), weight) for place in (here, there)]
    apart = (outputs[0] - outputs[1]).abs().max().item()
    if apart == 0:
        raise NotMeasuredHereError("this processor's product is the same wherever its rows lie")
    return {"decimal": round(-math.log10(apart))}


def bias_none(lab: Lab) -> dict[str, float]:
    """What Keras draws for the output bias with the tutorial's `bias_initializer=None`."""
    del lab
    drawn = glorot_uniform(layer_seeds(SEED, 5)[-1], (1,))
    return {"bias": drawn.item(), "probability": torch.sigmoid(drawn).item()}


def no_prior(lab: Lab) -> dict[str, float]:
    """The output bias left at zero."""
    zero = lab.run(lab.model(output_bias=None))
    return {
        "first": zero.losses[0][0],
        "right": lab.keras.losses[0][0],
        "auc": lab.pr_auc(zero.model),
        "auc_right": lab.pr_auc(lab.keras.model),
    }


def torchs_seed(lab: Lab) -> dict[str, float]:
    """`torch.manual_seed` in place of `keras.utils.set_random_seed`."""
    ours, theirs = lab.model(), _from_torchs_generator(lab, prior=False)
    pairs = [(ours.hidden.weight, theirs.hidden.weight), (ours.output.weight, theirs.output.weight)]
    equal = sum(int((a == b).sum()) for a, b in pairs)
    return {"equal": equal, "weights": sum(a.numel() for a, _ in pairs)}


def left_in_training_mode(lab: Lab) -> dict[str, float]:
    """Validation without `model.eval()`: dropout stays on."""
    model = lab.model()
    model.load_state_dict(lab.keras.model.state_dict())
    x, _ = lab.validation
    with torch.no_grad():
        dropped = model.train()(x)
        right = model.eval()(x)
    return {"moved": (dropped - right).abs().max().item()}


def hidden_nan(lab: Lab) -> dict[str, float]:
    """The probability of a row with a NaN in `predict`, whose ReLU turns NaN into 0."""
    return {"probability": torch.sigmoid(lab.keras.model.output.bias).item()}


def subnormal(lab: Lab) -> dict[str, float]:
    """A logit of -88 through a float32 sigmoid that keeps subnormal numbers."""
    del lab
    return {"kept": torch.sigmoid(torch.tensor(-88.0)).item()}


def keras_sigmoid(lab: Lab) -> dict[str, float]:
    """The recorded reference's sigmoid against the correctly rounded one of its own logits."""
    del lab
    errors = []
    for name, call in read(FOLDER).calls.items():
        if name.startswith("forward pass") and "not finite" not in name:
            true = float64_sigmoid(call.answer["logits"])
            error = np.abs(call.answer["probabilities"] - true)
            errors.append((error / np.spacing(true.astype(np.float32))).max())
    return {"ulp": float(max(errors))}


def _steps(lab: Lab, dtype: torch.dtype, correction: int = 0) -> Tensor:
    """The validation rows' features by the tutorial's steps, computed in a dtype."""

    def logged(rows: np.ndarray) -> Tensor:
        table = torch.from_numpy(rows).to(dtype)
        return torch.cat([table[:, :-1], torch.log(table[:, -1:] + 0.001)], dim=1)

    train, rows = logged(lab.prepared.train.raw), logged(lab.prepared.validation.raw)
    scaled = (rows - train.mean(dim=0)) / train.std(dim=0, correction=correction)
    return scaled.clamp(-5, 5).float()


def _moved(lab: Lab, features: Tensor) -> dict[str, float]:
    right = FeatureTransform.fit(lab.prepared.train.raw)(
        torch.from_numpy(lab.prepared.validation.raw)
    )
    return {
        "in_ten": 10 * (features != right).float().mean().item(),
        "by": (features - right).abs().max().item(),
    }


def sample_deviation(lab: Lab) -> dict[str, float]:
    """Scaled by `Tensor.std`, which divides by n - 1."""
    return _moved(lab, _steps(lab, torch.float64, correction=1))


def float32_features(lab: Lab) -> dict[str, float]:
    """Rows rounded to float32 before they are scaled, and scaled in float32."""
    return _moved(lab, _steps(lab, torch.float32))


def order_of_a_sum(lab: Lab) -> dict[str, float]:
    """The 16 products of the output layer added up from the first and from the last."""
    model = lab.keras.model
    x, _ = lab.validation
    with torch.no_grad():
        products = torch.relu(model.hidden(x)) * model.output.weight
    forwards = backwards = torch.zeros(len(x), dtype=products.dtype)
    for i in range(products.shape[1]):
        forwards = forwards + products[:, i]
        backwards = backwards + products[:, -1 - i]
    bias = model.output.bias.detach()
    return {"in_ten": 10 * (forwards + bias != backwards + bias).float().mean().item()}


def tf32(x: Tensor) -> Tensor:
    """A factor as TF32 rounds it, to 11 bits, halves upwards."""
    bits = x.detach().float().contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def tf32_products(lab: Lab) -> dict[str, float]:
    """Both layers with factors rounded as a tensor core rounds them."""
    model = lab.keras.model
    x, _ = lab.validation

    def logits(rounded: Callable[[Tensor], Tensor]) -> Tensor:
        hidden = linear(rounded(x), rounded(model.hidden.weight), model.hidden.bias.float())
        weight, bias = rounded(model.output.weight), model.output.bias.float()
        return linear(rounded(torch.relu(hidden)), weight, bias).detach()

    right, wrong = logits(lambda tensor: tensor.float()), logits(tf32)
    moved = torch.sigmoid(wrong) - torch.sigmoid(right)
    return {
        "logit": (wrong - right).abs().max().item(),
        "probability": moved.abs().max().item(),
    }


def logits_of_zero(lab: Lab) -> dict[str, float]:
    """Training rows of the first epoch whose units all are 0, with an output bias of zero."""
    model = lab.model(output_bias=None).train()
    x, _ = lab.train
    with torch.no_grad():
        logits = torch.cat([model(x[batch]) for batch in lab.order.split(BATCH_SIZE)])
    return {"share": (logits == 0).float().mean().item()}


class NotMeasuredHereError(Exception):
    """This machine lacks what a figure is about."""


_BOTH = """
import tensorflow, torch
w = torch.nn.Parameter(torch.ones(1))
w.sum().backward()
torch.optim.Adam([w]).step()
import triton
"""


def one_process(lab: Lab) -> dict[str, float]:
    """Two processes that import TensorFlow, torch and triton, as torch's CUDA wheels do."""
    del lab
    for package in ("triton", "tensorflow"):
        if find_spec(package) is None:
            raise NotMeasuredHereError(f"{package} is not installed")
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", _BOTH]
    runs = [subprocess.run(command, capture_output=True, env=quiet) for _ in range(2)]
    # A signal's number stands there with a minus.
    return {"tries": len(runs), "dead": sum(run.returncode < 0 for run in runs)}
