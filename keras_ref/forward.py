"""What each stage of the forward pass gives in Keras, read off the real layers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import keras
import numpy as np

from keras_ref.compat import to_numpy
from keras_ref.model import make_model, set_weights

__all__ = ["forward_stages", "initial_loss", "op_by_op_stages", "sigmoid"]

# (stage, layer whose output it is, whether that layer's own activation is applied)
_STAGES = (
    ("hidden pre-activations", "dense", False),
    ("hidden activations", "dense", True),
    ("logits", "dense_1", False),
    ("probabilities", "dense_1", True),
)


def forward_stages(
    weights: Mapping[str, np.ndarray], features: np.ndarray, batch_size: int = 8192
) -> dict[str, np.ndarray]:
    """What each stage of `predict` gives, read off the real layers.

    A pre-activation is the output of the layer itself with its activation swapped for
    the identity, so that it is what the layer computes and not a recomputation.

    Args:
        weights: `layer/weight` to array, as `keras_ref.model.get_weights` gives them.
        features: float32 (N, in_features); `predict` refuses N = 0.
        batch_size: rows per batch of `predict`.

    Returns:
        Stage name to float32 array: hidden stages (N, hidden_units), the others (N, 1).
    """
    answers = {}
    for stage, (model, up_to_layer) in _stage_models(*weights["dense/kernel"].shape).items():
        set_weights(model, weights)
        answers[stage] = up_to_layer.predict(features, batch_size=batch_size, verbose=0)
    return answers


@cache
def _stage_models(
    in_features: int, hidden_units: int
) -> dict[str, tuple[keras.Sequential, keras.Model]]:
    """For each stage a network, and what of it leads up to the stage; traced once a size."""
    models = {}
    for stage, layer_name, activated in _STAGES:
        model = make_model(in_features, hidden_units)
        layer = model.get_layer(layer_name)
        if not activated:
            layer.activation = keras.activations.linear
        models[stage] = model, keras.Model(model.inputs[0], layer.output)
    return models


def op_by_op_stages(
    weights: Mapping[str, np.ndarray], features: np.ndarray
) -> dict[str, np.ndarray]:
    """The same stages from calling the layers one by one, without a graph.

    `predict` compiles a graph, which fuses the hidden layer into one oneDNN operation, whose
    ReLU gives 0 for NaN. Op by op NaN stays NaN. N = 0 is fine too.
    """
    model = _model_of(weights)
    answers = {}
    for stage, layer_name, activated in _STAGES:
        layer = model.get_layer(layer_name)
        own_activation = layer.activation
        if not activated:
            layer.activation = keras.activations.linear
        below = features if layer_name == "dense" else answers["hidden activations"]
        answers[stage] = to_numpy(layer(below))
        layer.activation = own_activation
    return answers


def _model_of(weights: Mapping[str, np.ndarray]) -> keras.Sequential:
    in_features, hidden_units = weights["dense/kernel"].shape
    model = make_model(in_features, hidden_units)
    set_weights(model, weights)
    return model


def initial_loss(
    weights: Mapping[str, np.ndarray], features: np.ndarray, labels: np.ndarray
) -> float:
    """The binary cross-entropy that `evaluate` reports for these weights."""
    model = _model_of(weights)
    model.compile(loss=keras.losses.BinaryCrossentropy())
    return float(model.evaluate(features, labels, batch_size=8192, verbose=0))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Keras's float32 probabilities of float32 logits, any shape."""
    return to_numpy(keras.activations.sigmoid(logits))
