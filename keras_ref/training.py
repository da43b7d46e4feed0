"""The reference's own training: `fit`, and one step looked at closely."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_ref.compat import (
    adam_moments,
    apply_gradients,
    computing_in,
    gradients,
    iterations,
    to_numpy,
)
from keras_ref.model import DropoutOfFloat32, Layers, get_weights, make_model, set_weights

__all__ = [
    "early_stopping",
    "fit",
    "fits",
    "one_step",
    "one_step_in_both",
    "oversample",
    "timed_fit",
    "tutorial_metrics",
]

_DTYPES = ("float32", "float64")
_STEPPED = ("tp", "fp", "tn", "fn", "accuracy", "precision", "recall", "auc", "prc")
"""Metrics that are step functions of the probabilities."""


def tutorial_metrics() -> list[keras.metrics.Metric]:
    """The eleven of the tutorial, in its order and under its names."""
    return [
        keras.metrics.BinaryCrossentropy(name="cross entropy"),
        keras.metrics.MeanSquaredError(name="Brier score"),
        keras.metrics.TruePositives(name="tp"),
        keras.metrics.FalsePositives(name="fp"),
        keras.metrics.TrueNegatives(name="tn"),
        keras.metrics.FalseNegatives(name="fn"),
        keras.metrics.BinaryAccuracy(name="accuracy"),
        keras.metrics.Precision(name="precision"),
        keras.metrics.Recall(name="recall"),
        keras.metrics.AUC(name="auc"),
        keras.metrics.AUC(name="prc", curve="PR"),
    ]


class _WeightsPerEpoch(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.weights: list[dict[str, np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.weights.append(get_weights(self.model))


class _WeightsAfterSteps(keras.callbacks.Callback):
    def __init__(self, steps: Sequence[int]) -> None:
        super().__init__()
        self.steps, self.done = set(steps), 0
        self.weights: list[dict[str, np.ndarray]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.done += 1
        if self.done in self.steps:
            self.weights.append(get_weights(self.model))


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    output_bias: float | None = None,
    hidden_units: int = 16,
    dropout: float = 0.5,
    batch_size: int = 2048,
    epochs: int = 1,
    validation_data: tuple[np.ndarray, np.ndarray] | None = None,
    class_weight: dict[int, float] | None = None,
    sample_weight: np.ndarray | None = None,
    shuffle: bool = True,
    metrics: bool = True,
    learning_rate: float = 1e-3,
    early_stopping: dict[str, Any] | None = None,
    steps_per_epoch: int | None = None,
    trace: Sequence[int] = (),
    built: bool = True,
    dtype: str = "float32",
    drawn_in_float32: bool = False,
    layers: Layers | None = None,
    more_metrics: Sequence[keras.metrics.Metric] = (),
) -> dict[str, Any]:
    """`set_random_seed(seed)`, build, compile, `fit`.

    In float64 it is the same run: the float32 run's initial weights, masks and order, and all
    that is computed from them in float64.

    Args:
        features: float32 (N, in_features).
        labels: float32 (N, 1), 0 or 1.
        seed: for `keras.utils.set_random_seed`.
        output_bias: start of the output bias, zero if None.
        hidden_units: width of the hidden layer.
        dropout: rate.
        batch_size: rows per step.
        epochs: passes over the rows.
        validation_data: features and labels, or None.
        class_weight: as `fit` takes it.
        sample_weight: (N,), as `fit` takes it.
        shuffle: as `fit` takes it.
        metrics: whether the tutorial's eleven are compiled in.
        learning_rate: of Adam.
        early_stopping: arguments of `keras.callbacks.EarlyStopping`, or None for none.
        steps_per_epoch: as `fit` takes it.
        trace: numbers of the steps, from 1, after which the weights are kept.
        built: whether Adam's variables are made before the first step. If they are made in it,
            TensorFlow traces the step twice: the same bits, 0.4 s later.
        dtype: `"float32"` or `"float64"`.
        drawn_in_float32: whether to draw the masks as float64 does, in float32 too.
        layers: of the network; Keras's own if None, in float64 with the mask of float32.
        more_metrics: measured beside the eleven.

    Returns:
        `history` and `epoch` of the History; `initial` and `final` weights; `weights` after
        each epoch; `trace`, the weights after the steps asked for; Adam's `momentum` and
        `velocity` under the weights' names; `iterations`; and how many rows a `batch` has.
    """
    network = (features.shape[1], hidden_units, dropout, output_bias, seed)
    initial = get_weights(make_model(*network))
    if layers is None:
        layers = _layers(drawn_in_float32 or dtype != "float32")
    with computing_in(dtype):
        model = make_model(*network, layers=layers)  # which seeds everything anew
        set_weights(model, {name: array.astype(dtype) for name, array in initial.items()})
        optimizer = keras.optimizers.Adam(learning_rate=learning_rate)
        model.compile(
            optimizer=optimizer,
            loss=keras.losses.BinaryCrossentropy(),
            metrics=[*tutorial_metrics(), *more_metrics] if metrics else None,
        )
        if built:
            optimizer.build(model.trainable_variables)
        recorder, tracer = _WeightsPerEpoch(), _WeightsAfterSteps(trace)
        callbacks = [recorder, tracer] if trace else [recorder]
        if early_stopping is not None:
            callbacks.append(keras.callbacks.EarlyStopping(**early_stopping))
        history = model.fit(
            _as(dtype, features),
            _as(dtype, labels),
            batch_size=batch_size,
            epochs=epochs,
            validation_data=_as(dtype, validation_data),
            class_weight=class_weight,
            sample_weight=_as(dtype, sample_weight),
            shuffle=shuffle,
            steps_per_epoch=steps_per_epoch,
            callbacks=callbacks,
            verbose=0,
        )
    return {
        "history": {name: [float(v) for v in values] for name, values in history.history.items()},
        "epoch": list(history.epoch),
        "initial": initial,
        "weights": recorder.weights,
        "trace": tracer.weights,
        "final": get_weights(model),
        **_moments(optimizer, initial),
        "iterations": iterations(optimizer),
        "batch": min(batch_size, len(features)),
    }


def _layers(drawn_in_float32: bool) -> Layers:
    return Layers(dropout=DropoutOfFloat32) if drawn_in_float32 else Layers()


def _as(dtype: str, data: Any) -> Any:
    if isinstance(data, tuple):
        return tuple(array.astype(dtype) for array in data)
    return None if data is None else data.astype(dtype)


def _moments(optimizer: Any, names: Iterable[str]) -> dict[str, dict[str, np.ndarray]]:
    return {
        kind: dict(zip(names, map(to_numpy, variables), strict=True))
        for kind, variables in adam_moments(optimizer).items()
    }


def fits(
    features: np.ndarray, labels: np.ndarray, *, sigmoid_ulp: float, **options: Any
) -> dict[str, dict[str, Any]]:
    """One run three times, as `fit` gives it.

    Args:
        features: as `fit` takes it.
        labels: likewise.
        sigmoid_ulp: what a float32 sigmoid may err by.
        **options: arguments of `fit`, but for `dtype`, `layers` and `more_metrics`.

    Returns:
        The runs in `float32`; in `float64`; and in float32 on the other side of all `edges`
        that rounding may leave it on either side of (`keras_ref.edges`), whose `spread` says by
        epoch how far each metric that is a step function may jump.
    """
    from keras_ref.edges import Edges  # here: Keras 2 has no `keras.ops`

    runs = {dtype: fit(features, labels, dtype=dtype, **options) for dtype in _DTYPES}
    edges = Edges(options.get("dropout", 0.5), sigmoid_ulp)
    at_edges = edges.metrics([m for m in tutorial_metrics() if m.name in _STEPPED])
    runs["edges"] = fit(features, labels, layers=edges.layers, more_metrics=at_edges, **options)
    for run in runs.values():
        del run["weights"]  # of each epoch, which nobody compares
    history = runs["edges"]["history"]
    ends = {metric.name: history.pop(metric.name) for metric in at_edges if metric.name in history}
    ends |= {f"val_{name}": history.pop(f"val_{name}") for name in ends if f"val_{name}" in history}
    runs["edges"]["spread"] = {
        name: [
            max(abs(best - value), abs(worst - value))
            for value, best, worst in zip(
                values, ends[f"{name} +1"], ends[f"{name} -1"], strict=True
            )
        ]
        for name, values in history.items()
        if f"{name} +1" in ends
    }
    return runs


def oversample(
    features: np.ndarray, labels: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The tutorial's own lines that draw positives until they are as many as negatives."""
    keras.utils.set_random_seed(seed)
    bool_labels = labels[:, 0] != 0
    pos_features, neg_features = features[bool_labels], features[~bool_labels]
    pos_labels, neg_labels = labels[bool_labels], labels[~bool_labels]
    ids = np.arange(len(pos_features))
    choices = np.random.choice(ids, len(neg_features))  # noqa: NPY002 (as the tutorial)
    resampled_features = np.concatenate([pos_features[choices], neg_features], axis=0)
    resampled_labels = np.concatenate([pos_labels[choices], neg_labels], axis=0)
    order = np.arange(len(resampled_labels))
    np.random.shuffle(order)  # noqa: NPY002 (as the tutorial)
    return resampled_features[order], resampled_labels[order]


def one_step(
    weights: dict[str, np.ndarray],
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    dropout: float = 0.5,
    sample_weight: np.ndarray | None = None,
    dtype: str = "float32",
) -> dict[str, dict[str, np.ndarray]]:
    """One training step from given weights: every gradient, every moment, every weight.

    Args:
        weights: to start from, by name.
        features: float32 (N, in_features), one batch.
        labels: float32 (N, 1).
        seed: for `keras.utils.set_random_seed`, which the dropout's seed follows from.
        dropout: rate.
        sample_weight: (N, 1) or None.
        dtype: `"float32"` or `"float64"`, which all that came is turned into.

    Returns:
        `gradient`, `momentum`, `velocity` and `weight`, each by the weights' names.
    """
    in_features, hidden_units = weights["dense/kernel"].shape
    layers = _layers(dtype != "float32")
    with computing_in(dtype):
        model = make_model(in_features, hidden_units, dropout, seed=seed, layers=layers)
        set_weights(model, {name: array.astype(dtype) for name, array in weights.items()})
        optimizer = keras.optimizers.Adam(learning_rate=1e-3)
        model.compile(optimizer=optimizer, loss=keras.losses.BinaryCrossentropy())
        data = (_as(dtype, array) for array in (features, labels, sample_weight))
        came = gradients(model, *data)
        apply_gradients(optimizer, came, model)
    stepped = get_weights(model)
    return {
        "gradient": dict(zip(stepped, came, strict=True)),
        **_moments(optimizer, stepped),
        "weight": stepped,
    }


def one_step_in_both(
    weights: dict[str, np.ndarray],
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    dropout: float = 0.5,
    **options: Any,
) -> dict[str, Any]:
    """`one_step` in `float32` and in `float64`, and `kept`.

    That is which hidden units the step did not drop, bool (N, hidden_units).
    """
    in_features, hidden_units = weights["dense/kernel"].shape
    layer = make_model(in_features, hidden_units, dropout, seed=seed).get_layer("dropout")
    kept = layer(np.ones((len(features), hidden_units), np.float32), training=True)
    return {
        **{
            dtype: one_step(
                weights, features, labels, seed=seed, dropout=dropout, dtype=dtype, **options
            )
            for dtype in _DTYPES
        },
        "kept": to_numpy(kept) != 0,
    }


def early_stopping(values: list[float], **options: Any) -> dict[str, int]:
    """What `EarlyStopping` makes of a monitored value that goes as given.

    Args:
        values: one for each epoch, of what is monitored.
        **options: arguments of `keras.callbacks.EarlyStopping`.

    Returns:
        `epochs` run, the `stopped_epoch` and `best_epoch` that the callback tells, and
        `weights_of`, the epoch whose weights the run ends on.
    """
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    callback = keras.callbacks.EarlyStopping(**options)
    callback.set_model(model)
    model.stop_training = False
    callback.on_train_begin()
    epochs = 0
    for epoch, value in enumerate(values):
        model.set_weights([np.full((1, 1), epoch), np.zeros(1)])
        callback.on_epoch_end(epoch, {options["monitor"]: value})
        epochs += 1
        if model.stop_training:
            break
    callback.on_train_end()
    return {
        "epochs": epochs,
        "stopped_epoch": int(callback.stopped_epoch),
        "best_epoch": int(callback.best_epoch),
        "weights_of": int(model.get_weights()[0][0, 0]),
    }


class _Stopwatch(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.stamps: list[float] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.stamps.append(time.perf_counter())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.stamps.append(time.perf_counter())


def timed_fit(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    output_bias: float,
    batch_size: int,
    epochs: int,
    metrics: bool,
    validation_data: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[float]:
    """Seconds of each epoch of the tutorial's `fit` (arguments as `fit`)."""
    model = make_model(features.shape[1], output_bias=output_bias, seed=seed)
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=1e-3),
        loss=keras.losses.BinaryCrossentropy(),
        metrics=tutorial_metrics() if metrics else None,
    )
    stopwatch = _Stopwatch()
    model.fit(
        features,
        labels,
        batch_size=batch_size,
        epochs=epochs,
        validation_data=validation_data,
        callbacks=[stopwatch],
        verbose=0,
    )
    return list(np.diff(stopwatch.stamps))
