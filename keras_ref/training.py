"""The reference's own training: `fit`, and one step looked at closely."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_ref.compat import adam_moments, apply_gradients, gradients, iterations, to_numpy
from keras_ref.model import get_weights, make_model, set_weights

__all__ = ["early_stopping", "fit", "one_step", "oversample", "timed_fit", "tutorial_metrics"]


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
) -> dict[str, Any]:
    """`set_random_seed(seed)`, build, compile, `fit`.

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

    Returns:
        `history` and `epoch` of the History; `initial` and `final` weights; `weights` after
        each epoch; `trace`, the weights after the steps asked for; Adam's `momentum` and
        `velocity` under the weights' names; `iterations`.
    """
    model = make_model(features.shape[1], hidden_units, dropout, output_bias, seed)
    initial = get_weights(model)
    optimizer = keras.optimizers.Adam(learning_rate=learning_rate)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.BinaryCrossentropy(),
        metrics=tutorial_metrics() if metrics else None,
    )
    if built:
        optimizer.build(model.trainable_variables)
    recorder, tracer = _WeightsPerEpoch(), _WeightsAfterSteps(trace)
    callbacks = [recorder, tracer] if trace else [recorder]
    if early_stopping is not None:
        callbacks.append(keras.callbacks.EarlyStopping(**early_stopping))
    history = model.fit(
        features,
        labels,
        batch_size=batch_size,
        epochs=epochs,
        validation_data=validation_data,
        class_weight=class_weight,
        sample_weight=sample_weight,
        shuffle=shuffle,
        steps_per_epoch=steps_per_epoch,
        callbacks=callbacks,
        verbose=0,
    )
    names = list(initial)
    moments = adam_moments(optimizer)
    return {
        "history": {name: [float(v) for v in values] for name, values in history.history.items()},
        "epoch": list(history.epoch),
        "initial": initial,
        "weights": recorder.weights,
        "trace": tracer.weights,
        "final": get_weights(model),
        **{
            kind: dict(zip(names, map(to_numpy, variables), strict=True))
            for kind, variables in moments.items()
        },
        "iterations": iterations(optimizer),
    }


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
) -> dict[str, dict[str, np.ndarray]]:
    """One training step from given weights: every gradient, every moment, every weight.

    Args:
        weights: to start from, by name.
        features: float32 (N, in_features), one batch.
        labels: float32 (N, 1).
        seed: for `keras.utils.set_random_seed`, which the dropout's seed follows from.
        dropout: rate.
        sample_weight: (N, 1) or None.

    Returns:
        `gradient`, `momentum`, `velocity` and `weight`, each by the weights' names.
    """
    in_features, hidden_units = weights["dense/kernel"].shape
    model = make_model(in_features, hidden_units, dropout, seed=seed)
    set_weights(model, weights)
    optimizer = keras.optimizers.Adam(learning_rate=1e-3)
    model.compile(optimizer=optimizer, loss=keras.losses.BinaryCrossentropy())

    came = gradients(model, features, labels, sample_weight)
    apply_gradients(optimizer, came, model)
    names = list(get_weights(model))
    moments = adam_moments(optimizer)
    return {
        "gradient": dict(zip(names, came, strict=True)),
        **{
            kind: dict(zip(names, map(to_numpy, variables), strict=True))
            for kind, variables in moments.items()
        },
        "weight": get_weights(model),
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
