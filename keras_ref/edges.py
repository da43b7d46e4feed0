"""The float32 run in which all that rounding may do otherwise is done otherwise.

Sums over features and over rows are taken in reverse. And where a number lies on an edge,
rounding may put it on either side: a pre-activation at the bend of the ReLU, whose gradient then
flows or does not, and a probability at a threshold, where a metric counts the row or does not.
Two right float32 runs may differ in any of these, and so be farther apart than either happens to
be from float64. This run takes the other side of each unit that a rounding error of typical size
takes over the bend, so that it tells how far those can take a run; and it measures how far each
metric can jump at all, with every row at either end of what float32 may make of its probability.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ref.compat import to_numpy
from keras_ref.model import Layers

__all__ = ["Edges", "counts_at_ends", "layers_on"]

_U = 2.0**-24  # unit roundoff of float32


def _gamma(n: int) -> float:
    """γ_n = n u / (1 - n u), what no sum of n products exceeds (Higham, eq. 3.5)."""
    return n * _U / (1 - n * _U)


def _typical(n: int) -> float:
    """√n u, what rounding errors of either sign add up to (Higham and Mary, SISC 41, 2019)."""
    return math.sqrt(n) * _U


def _backwards(x: Any, kernel: Any, bias: Any) -> Any:
    """The affine map, with the gradients' sums over the rows taken in reverse."""
    return ops.flip(ops.matmul(ops.flip(x, 0), kernel) + bias, 0)


class Edges:
    """Layers and metrics of such a run.

    Args:
        dropout: the rate, which scales what the hidden layer is off by.
        sigmoid_ulp: what a float32 sigmoid may err by.
    """

    def __init__(self, dropout: float, sigmoid_ulp: float) -> None:
        self.scale = 1 / (1 - dropout) if dropout < 1 else 0.0
        self.sigmoid_ulp = sigmoid_ulp
        # Of the batch that goes through: tensors of the graph that is being traced.
        self.hidden_error: Any = None
        self.margin: Any = None

    @property
    def layers(self) -> Layers:
        """For `keras_ref.model.make_model`."""
        return Layers(hidden=partial(_Hidden, edges=self), output=partial(_Output, edges=self))

    def metrics(self, metrics: list[keras.metrics.Metric]) -> list[keras.metrics.Metric]:
        """Each with all rows at the best, and at the worst, end of their probabilities."""
        return [
            _AtEdge(type(metric).from_config(metric.get_config()), sign, self)
            for metric in metrics
            for sign in (1, -1)
        ]


class _Hidden(keras.layers.Dense):
    """Dense with a ReLU whose gradient takes the other way where float32 may."""

    def __init__(self, *args: Any, edges: Edges, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.edges = edges

    def call(self, x: Any, training: bool = False) -> Any:
        """The value is the ReLU's."""
        z = _backwards(ops.flip(x, -1), ops.flip(self.kernel, 0), self.bias)
        size = ops.matmul(ops.abs(x), ops.abs(self.kernel)) + ops.abs(self.bias)
        terms = x.shape[-1] + 1
        self.edges.hidden_error = _gamma(terms) * size * (self.edges.scale if training else 1)
        above = ops.cast(z > 0, z.dtype)
        open_ = ops.where(ops.abs(z) < _typical(terms) * size, 1 - above, above)
        through = open_ * z
        return ops.stop_gradient(ops.relu(z) - through) + through


class _Output(keras.layers.Dense):
    """Dense with a sigmoid that notes how far float32 may be from each probability."""

    def __init__(self, *args: Any, edges: Edges, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.edges = edges

    def call(self, x: Any, training: bool = False) -> Any:
        """As the layer's own."""
        z, steep = _backwards(x, self.kernel, self.bias), ops.abs(self.kernel)
        size = ops.matmul(ops.abs(x), steep) + ops.abs(self.bias)
        error = ops.matmul(self.edges.hidden_error, steep) + _gamma(x.shape[-1] + 4) * size
        p = ops.sigmoid(z)
        carried = ops.maximum(ops.sigmoid(z + error) - p, p - ops.sigmoid(z - error))
        # An ULP is at most 2u of its number; one more for the product with the thresholds' count.
        self.edges.margin = carried + (self.edges.sigmoid_ulp + 1) * 2 * _U * p
        return self.activation(z)


class _AtEdge(keras.metrics.Metric):
    """A metric of probabilities that are moved to one end of what float32 may make of them."""

    def __init__(self, metric: keras.metrics.Metric, sign: int, edges: Edges) -> None:
        super().__init__(name=f"{metric.name} {sign:+d}")
        self.metric, self.sign, self.edges = metric, sign, edges

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Positives move by the sign, negatives against it."""
        y_true = ops.cast(y_true, y_pred.dtype)
        moved = y_pred + self.sign * (2 * y_true - 1) * self.edges.margin
        self.metric.update_state(y_true, ops.clip(moved, 0, 1), sample_weight)

    def result(self) -> Any:
        """The metric's."""
        return self.metric.result()


def layers_on(
    rows: np.ndarray, kernel: np.ndarray, bias: np.ndarray,
    output_kernel: np.ndarray, output_bias: np.ndarray, sigmoid_ulp: float,
) -> dict[str, np.ndarray]:  # fmt: skip
    """What both layers, and Keras's own, make of rows, without dropout; all float32.

    Returns:
        `hidden`, which units let the gradient through (`open`), and `probabilities`; the same
        of Keras's layers as `plain …`; the `margin` of each probability.
    """
    import tensorflow as tf

    edges = Edges(0.0, sigmoid_ulp)
    answers = {}
    for name, layers in (("plain ", Layers()), ("", edges.layers)):
        hidden = layers.hidden(len(bias), activation="relu")
        output = layers.output(1, activation="sigmoid")
        x = tf.constant(rows)
        with tf.GradientTape() as tape:
            tape.watch(x)
            for layer, width, weights in (
                (hidden, len(kernel), [kernel, bias]),
                (output, len(bias), [output_kernel, output_bias]),
            ):
                layer.build((None, width))
                layer.set_weights(weights)
            h = hidden(x)
        answers[f"{name}hidden"] = to_numpy(h)
        # h_j grows with x_0 as the kernel says, or not at all.
        answers[f"{name}open"] = to_numpy(tape.batch_jacobian(h, x))[:, :, 0] / kernel[0]
        answers[f"{name}probabilities"] = to_numpy(output(h))
    return {**answers, "margin": to_numpy(edges.margin)}


def counts_at_ends(
    labels: np.ndarray, probabilities: np.ndarray, margin: np.ndarray
) -> list[dict[str, float]]:
    """Confusion counts with every row at its best end, and at its worst; all (N, 1)."""
    edges = Edges(0.0, 0.0)
    edges.margin = ops.convert_to_tensor(margin)
    kinds = {
        "tp": keras.metrics.TruePositives,
        "fp": keras.metrics.FalsePositives,
        "tn": keras.metrics.TrueNegatives,
        "fn": keras.metrics.FalseNegatives,
    }
    ends = {name: edges.metrics([kind()]) for name, kind in kinds.items()}
    for pair in ends.values():
        for metric in pair:
            metric.update_state(labels, probabilities)
    return [{name: float(pair[i].result()) for name, pair in ends.items()} for i in range(2)]
