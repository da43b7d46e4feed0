"""Callbacks and learning-rate schedules of Keras: alone, on courses written down, and in `fit`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_ref.compat import computing_in, learning_rate
from keras_ref.model import DropoutOfFloat32, Layers, get_weights, make_model, set_weights

__all__ = ["Course", "checkpoints", "courses", "fits", "schedules", "schedules_op_by_op"]

Made = tuple[str, dict[str, Any]]
"""A class of Keras's and its options."""

# Functions do not cross the border of the process.
SCHEDULES = {
    "thirds": lambda epoch, rate: rate / 3 if epoch % 2 else rate,
    "of the epoch": lambda epoch, rate: 0.1 / (epoch + 3),
}


class Course(NamedTuple):
    """What is monitored from epoch to epoch, and who watches it."""

    values: list[float | None]
    callbacks: list[Made]
    learning_rate: float = 1e-3
    dtype: str = "float32"
    monitor: str = "val_loss"


def courses(asked: dict[str, tuple[Any, ...]]) -> dict[str, dict[str, list[Any]]]:
    """What callbacks make of each course.

    Args:
        asked: a `Course` by its name; of a value None `loss` alone is in the logs.

    Returns:
        By name, for each epoch run: the `rates` in use in it and after it, what was `logged` of
        them, and the `counts` of `ReduceLROnPlateau`, its waiting and its cooldown.
    """
    found = {}
    for name, course in asked.items():
        with computing_in(Course(*course).dtype):
            found[name] = _course(Course(*course))
    return found


def _course(course: Course) -> dict[str, list[Any]]:
    told: dict[str, list[Any]] = {"rates": [], "logged": [], "counts": []}
    optimizer = keras.optimizers.SGD(course.learning_rate)
    model = SimpleNamespace(optimizer=optimizer, stop_training=False)
    callbacks = [_callback(*made) for made in course.callbacks]
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    for epoch, value in enumerate(course.values):
        for callback in callbacks:
            callback.on_epoch_begin(epoch)
        rate = learning_rate(optimizer)
        logs = {"loss": 1.0} | ({} if value is None else {course.monitor: value})
        for callback in callbacks:
            callback.on_epoch_end(epoch, logs)
        told["rates"].append((rate, learning_rate(optimizer)))
        told["logged"].append(logs.get("learning_rate"))
        told["counts"].append([
            (callback.wait, callback.cooldown_counter)
            for callback in callbacks
            if hasattr(callback, "cooldown_counter")
        ])  # fmt: skip
        if model.stop_training:
            break
    return told


def _callback(kind: str, options: dict[str, Any]) -> keras.callbacks.Callback:
    if "schedule" in options:
        options = {**options, "schedule": SCHEDULES[options["schedule"]]}
    return getattr(keras.callbacks, kind)(**options)


def checkpoints(path: str, runs: list[list[float]], **options: Any) -> list[list[str]]:
    """Which files `ModelCheckpoint` writes, for each epoch of runs one after the other.

    Args:
        path: of the files.
        runs: what is monitored, `val_loss`, in each epoch of each.
        **options: arguments of `keras.callbacks.ModelCheckpoint`.
    """
    written: list[str] = []
    model = SimpleNamespace(save=lambda filepath, overwrite: written.append(filepath))
    callback = keras.callbacks.ModelCheckpoint(path, **options)
    callback.set_model(model)
    found = []
    for run in runs:
        callback.on_train_begin()
        for epoch, value in enumerate(run):
            callback.on_epoch_begin(epoch)
            callback.on_epoch_end(epoch, {"loss": value + 1, "val_loss": value})
            found.append(list(written))
            written.clear()
    return found


def schedules(asked: dict[str, Made], steps: int) -> dict[str, list[float]]:
    """Rates at steps from 0, computed in a graph, as `fit` does, by the name of each."""
    import tensorflow as tf

    made = [_schedule(*one) for one in asked.values()]
    # One count for each: what two of them computed alike, the graph would compute once for both.
    counts = [tf.Variable(0, dtype=tf.int64) for _ in made]

    @tf.function
    def graph() -> list[tf.Tensor]:
        # To float64, as an optimizer of float64 weights casts it.
        rates = [tf.cast(of(count), tf.float64) for of, count in zip(made, counts, strict=True)]
        for count in counts:
            count.assign_add(1)
        return rates

    found = np.array([[float(rate) for rate in graph()] for _ in range(steps)]).T
    return dict(zip(asked, found.tolist(), strict=True))


def schedules_op_by_op(asked: dict[str, Made], steps: list[int]) -> dict[str, list[float]]:
    """Rates at some steps as `optimizer.learning_rate` tells them."""
    found = {}
    for name, made in asked.items():
        optimizer = keras.optimizers.SGD(_schedule(*made))
        found[name] = []
        for step in steps:
            optimizer.iterations.assign(step)
            found[name].append(learning_rate(optimizer))
    return found


def _schedule(kind: str, options: dict[str, Any]) -> Any:
    return getattr(keras.optimizers.schedules, kind)(**options)


def fits(
    features: np.ndarray,
    labels: np.ndarray,
    validation_data: tuple[np.ndarray, np.ndarray],
    *,
    seed: int,
    hidden_units: int,
    rate: float | Made,
    callbacks: list[Made],
    **options: Any,
) -> dict[str, dict[str, Any]]:
    """One run of `fit` with Adam in float32 and in float64.

    Args:
        features: float32 (N, in_features).
        labels: float32 (N, 1), 0 or 1.
        validation_data: features and labels.
        seed: for `keras.utils.set_random_seed`.
        hidden_units: width of the hidden layer.
        rate: the learning rate or its schedule.
        callbacks: of the run.
        **options: arguments of `fit`.

    Returns:
        By dtype, the `history` and the `weights` at the end.
    """
    network = (features.shape[1], hidden_units, 0.5, None, seed)
    initial = get_weights(make_model(*network))
    found = {}
    for dtype in ("float32", "float64"):
        with computing_in(dtype):
            model = make_model(*network, layers=Layers(dropout=DropoutOfFloat32))
            set_weights(model, {name: array.astype(dtype) for name, array in initial.items()})
            optimizer = keras.optimizers.Adam(rate if isinstance(rate, float) else _schedule(*rate))
            model.compile(optimizer, keras.losses.BinaryCrossentropy())
            optimizer.build(model.trainable_variables)  # or the first step is traced twice
            history = model.fit(
                features.astype(dtype),
                labels.astype(dtype),
                validation_data=tuple(array.astype(dtype) for array in validation_data),
                callbacks=[_callback(*made) for made in callbacks],
                verbose=0,
                **options,
            )
            found[dtype] = {"history": history.history, "weights": get_weights(model)}
    return found
