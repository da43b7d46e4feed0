"""The tutorial's fraud network in PyTorch.

Ports the model of TensorFlow's "Classification on imbalanced data"
(tensorflow.org/tutorials/structured_data/imbalanced_data): Dense 16, ReLU → Dropout 0.5 →
Dense 1, sigmoid. Two things are as PyTorch has them: `forward` gives logits, since that is
what a stable loss needs, and a weight has shape (out, in), the transpose of Keras's kernel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from torch_impl.base.arguments import whole
from torch_impl.base.arrays import as_tensor
from torch_impl.base.scripting import Unscriptable
from torch_impl.keras.layers.dropout import KerasDropout
from torch_impl.keras.layers.network import Network
from torch_impl.keras.layers.regularizers import L1L2
from torch_impl.keras.random import glorot_uniform, layer_seeds

__all__ = ["FraudClassifier", "prior_log_odds"]


def _own_start(device: torch.device | str | None) -> AbstractContextManager[None]:
    """What is drawn within leaves torch's generators as they were: `nn.Linear` starts itself.

    (`skip_init` would not, but it makes a process import sympy.)
    """
    place = torch.empty(0, device=device).device
    if place.type in ("cpu", "meta"):
        return torch.random.fork_rng([])
    return torch.random.fork_rng([place], device_type=place.type)


def prior_log_odds(positives: int, negatives: int) -> float:
    """Start of the output bias, `log(positives / negatives)`, in float64.

    With it the untrained network predicts the base rate, so that training does not spend
    its first epochs on learning that fraud is rare.

    Args:
        positives: number of positive rows, at least 1.
        negatives: number of negative rows, at least 1.

    Raises:
        ValueError: a count is below 1.
    """
    if positives < 1 or negatives < 1:
        raise ValueError(
            f"prior_log_odds: positives={positives}, negatives={negatives}; "
            "expected both to be at least 1 (the log-odds of one class alone are infinite)"
        )
    return math.log(positives / negatives)


class FraudClassifier(Unscriptable, nn.Module):
    """Dense, ReLU → Dropout → Dense 1, with logits out.

    Weights start as in Keras: Glorot-uniform kernels, a zero hidden bias, and
    `output_bias` in the output layer. (`nn.Linear` alone would start all four from a
    uniform distribution over ±1/sqrt(fan_in).)

    Args:
        in_features: width of a feature row.
        hidden_units: width of the hidden layer.
        dropout: share of hidden units dropped in training, 0 to 1.
        output_bias: start of the output bias, for example `prior_log_odds(492, 284315)`;
            zero if None.
        seed: what `keras.utils.set_random_seed` would get, 0 to 2**32 - 1. The initial
            weights and every dropout mask are then Keras's in float32, bit for bit, whatever
            the dtype. If None, both come from torch's global generator.
        device: where the parameters are made.
        dtype: of the parameters, a floating-point type.

    Raises:
        ValueError: a size is below 1, `dropout` is outside 0 to 1, or `output_bias` is
            not finite.
    """

    ends_in_sigmoid: bool = True
    """`forward` gives logits: `predict` takes their sigmoid."""

    keras_network: Network | None = None
    """The chain of layers in the Keras file that the model came from, if it came from one."""

    regularizers: Mapping[str, L1L2] = MappingProxyType({})
    """What `fit` adds to the loss, by the parameters' names; a file may say so."""

    def __init__(
        self,
        in_features: int = 29,
        hidden_units: int = 16,
        dropout: float = 0.5,
        output_bias: float | None = None,
        *,
        seed: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        in_features = whole("FraudClassifier: in_features", in_features, 1)
        hidden_units = whole("FraudClassifier: hidden_units", hidden_units, 1)
        if not 0 <= dropout <= 1:
            raise ValueError(f"FraudClassifier: dropout={dropout}; expected a share from 0 to 1")
        if output_bias is not None and not math.isfinite(output_bias):
            raise ValueError(f"FraudClassifier: output_bias={output_bias}; expected it finite")
        self.in_features = in_features
        self.hidden_units = hidden_units
        self.output_bias = 0.0 if output_bias is None else float(output_bias)
        with _own_start(device):
            self.hidden = nn.Linear(in_features, hidden_units, device=device, dtype=dtype)
        self.activation = nn.ReLU()
        # Keras's layers draw their seeds as they are made: kernel, dropout (unless its rate is
        # 0), kernel.
        self.seeds = None if seed is None else layer_seeds(seed, 3 if dropout else 2)
        self.dropout: nn.Module = (
            nn.Dropout(dropout) if self.seeds is None else KerasDropout(dropout, self.seeds[1])
        )
        with _own_start(device):
            self.output = nn.Linear(hidden_units, 1, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Starts the parameters afresh, from Keras's stream if the module has a seed."""
        for layer, position in ((self.hidden, 0), (self.output, -1)):
            if self.seeds is None:
                nn.init.xavier_uniform_(layer.weight)
            else:
                kernel = glorot_uniform(self.seeds[position], layer.weight.shape[::-1])
                with torch.no_grad():
                    layer.weight.copy_(kernel.T)
        nn.init.zeros_(self.hidden.bias)
        nn.init.constant_(self.output.bias, self.output_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 1) of feature rows (N, in_features).

        Raises:
            ValueError: the rows have another width.
        """
        logits: Tensor = self.output(self.dropout(self._hidden_activations(x)))
        return logits

    @torch.no_grad()
    def predict_proba(self, x: ArrayLike | Tensor) -> Tensor:
        """Probabilities (N, 1) of fraud for feature rows (N, in_features), a tensor or array.

        As Keras's `predict` it drops no units and tracks no gradient, whatever mode the
        module is in, and leaves the mode alone.

        Raises:
            ValueError: the rows have another width.
        """
        rows = x if isinstance(x, Tensor) else as_tensor(x, self.hidden.weight)
        return torch.sigmoid(self.output(self._hidden_activations(rows)))

    def _hidden_activations(self, x: Tensor) -> Tensor:
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"FraudClassifier: features came as {tuple(x.shape)}; "
                f"expected (N, {self.in_features})"
            )
        activations: Tensor = self.activation(self.hidden(x))
        return activations

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        if not isinstance(self.dropout, KerasDropout):  # has no count of calls to take over
            state_dict.pop(f"{prefix}dropout._extra_state", None)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def extra_repr(self) -> str:
        """What `print(model)` shows besides the layers."""
        return f"output_bias={self.output_bias:.9g}"
