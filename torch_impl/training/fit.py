"""`fit`, `evaluate` and `predict` as Keras runs them, for PyTorch modules that give logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike
from typing import Any

import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from torch_impl.base.arguments import whole
from torch_impl.base.arrays import as_tensor
from torch_impl.base.modes import inference, own_modes
from torch_impl.keras.adam import KerasAdam
from torch_impl.keras.callbacks import Callback
from torch_impl.keras.losses import (
    binary_crossentropy_from_logits,
    class_weight_to_sample_weight,
    mean_loss,
)
from torch_impl.keras.metrics import KerasMetrics, metrics_from_sums
from torch_impl.keras.random import shuffle_permutation
from torch_impl.training.checkpoint import Checkpoint, digest, optimizer_text
from torch_impl.training.history import History
from torch_impl.training.native import NativeEpoch
from torch_impl.training.rows import Rows, column, held_out, like_of, table

__all__ = ["evaluate", "fit", "predict"]


def fit(
    model: nn.Module,
    x: Rows,
    y: ArrayLike | Tensor | None = None,
    *,
    batch_size: int = 32,
    epochs: int = 1,
    validation_data: tuple[Any, ...] | Dataset[Any] | None = None,
    class_weight: Mapping[int, float] | None = None,
    sample_weight: ArrayLike | Tensor | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    metrics: bool = True,
    compiled: bool = True,
    steps_per_epoch: int | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | PathLike[str] | None = None,
    progress: bool = True,
) -> History:
    """Trains a module as `keras.Model.fit` trains the tutorial's network.

    With a model from `FraudClassifier(seed=n)` and `seed=n` it follows
    `keras.utils.set_random_seed(n)`, building and `fit`, step by step: the same initial
    weights, the same order of rows in every epoch, the same dropout masks, Keras's Adam.

    Args:
        model: gives logits (N, 1); trained in place, on the device and in the dtype of its
            parameters. Every module in it gets its own mode back, also after an error.
        x: (N, F) rows, an array or tensor; or a Dataset of (row, label) pairs, read once.
            It is copied at most once, in training order.
        y: (N, 1) or (N,) labels, 0 or 1; None if `x` is a Dataset.
        batch_size: rows per step; the last step of an epoch takes what is left.
        epochs: passes over the rows.
        validation_data: (x, y) or a Dataset, evaluated after each epoch; or (x, y, weights),
            in `val_loss` and not in the metrics.
        class_weight: weight of each class in the loss; not in the metrics.
        sample_weight: (N,) or (N, 1) weight of each row in the loss, instead.
        shuffle: whether rows are permuted, once, as Keras permutes them from `seed`.
        seed: of the permutation, 0 to 2**32 - 1; drawn from torch's generator if None.
        optimizer: `KerasAdam(model.parameters())` if None.
        metrics: whether the tutorial's eleven are measured besides the loss.
        compiled: whether a seeded `FraudClassifier` on the CPU with `KerasAdam` is
            trained by the compiled epoch; anything else (a hook, a learning-rate scheduler, a
            frozen parameter), or where no C++ compiler is (warned of once), takes the eager
            path, which computes the same.
        steps_per_epoch: makes epochs of so many batches that walk through the rows, as the
            tutorial does with oversampled rows, instead of epochs of all rows. As in Keras,
            an epoch in which the rows end is shorter, and the next one starts over.
        callbacks: called after each epoch, in order.
        checkpoint: a file that is replaced after each epoch. If it is there, the run it
            holds is continued, to the same bits as if it had never stopped; another run (other
            rows, weights, options, …) is refused. `.NAME.lock` beside it keeps a second process
            from writing it.
        progress: whether to show a progress bar on a terminal.

    Returns:
        The history, with Keras's keys.

    Raises:
        ValueError: shapes do not fit, a label is not 0 or 1, a number of rows or epochs is
            not positive, or both kinds of weights are given.
        CheckpointError: the checkpoint is damaged, of another run (what differs is named), or
            another process is writing it.
        NotADirectoryError: the checkpoint's folder is not there.
    """
    batch_size = whole("fit: batch_size", batch_size, 1)
    epochs = whole("fit: epochs", epochs, 0)
    if steps_per_epoch is not None:
        steps_per_epoch = whole("fit: steps_per_epoch", steps_per_epoch, 1)
    if seed is not None:
        seed = whole("fit: seed", seed, 0, 2**32 - 1)
    if class_weight is not None and sample_weight is not None:
        raise ValueError("fit: class_weight and sample_weight came both; expected one of them")
    _check_end(model, "fit")
    like = like_of(model)
    rows, labels = table(x, y, like, "fit")
    if len(rows) == 0:
        raise ValueError("fit: x has no rows; expected at least 1")
    weights = None
    if class_weight is not None:
        weights = class_weight_to_sample_weight(labels, class_weight)
    elif sample_weight is not None:
        weights = column(sample_weight, like.numbers, "fit: sample_weight", len(rows))
    validation = None if validation_data is None else held_out(validation_data, like)
    if validation is not None and validation[0].shape[1] != rows.shape[1]:
        raise ValueError(
            f"fit: validation_data: x came as {tuple(validation[0].shape)}; "
            f"expected (N, {rows.shape[1]}) as the rows trained on"
        )
    optimizer = optimizer or KerasAdam(model.parameters())
    order_seed = seed
    if order_seed is None:
        order_seed = int(torch.randint(2**32, ())) if shuffle else 0
    history = History()
    for callback in callbacks:
        callback.on_train_begin(model)
    with ExitStack() as opened:
        store = None
        if checkpoint is not None:
            store = opened.enter_context(Checkpoint(checkpoint))
            # What makes it this very run, but for how long it lasts.
            run: dict[str, Any] = {
                "batch_size": batch_size,
                "steps_per_epoch": steps_per_epoch,
                "shuffle": shuffle,
                "seed": seed,
                "order": order_seed,
                "metrics": metrics,
                "optimizer": optimizer_text(optimizer),
                "x": digest(rows),
                "y": digest(labels),
                "weight of rows": digest(weights),
                "validation_data": None if validation is None else [*map(digest, validation)],
                "dtype": sorted({str(p.dtype) for p in model.parameters()}),
            }
            if store.exists():
                run = store.restore(model, optimizer, callbacks, history, run)
                order_seed = run["order"]
        if shuffle:
            order = shuffle_permutation(order_seed, len(rows)).to(rows.device)
            # One shuffled copy: Keras takes the same permutation in every epoch.
            rows, labels = rows[order], labels[order]
            weights = None if weights is None else weights[order]
        rows = rows.contiguous()
        opened.enter_context(own_modes(model))
        opened.enter_context(_few_threads(model))
        bar = opened.enter_context(_bar(range(len(history.epoch), epochs), progress))
        for epoch in bar:
            if any(callback.stop_training for callback in callbacks):
                break
            # Chosen anew: a callback may have frozen a parameter, or hung a hook on one.
            native = NativeEpoch.create(model, optimizer, rows) if compiled else None
            epoch_engine = _Eager(model, optimizer) if native is None else _Native(model, native)
            model.train()
            part = _part(epoch, len(rows), batch_size, steps_per_epoch)
            logs = epoch_engine.train(
                rows[part],
                labels[part],
                None if weights is None else weights[part],
                batch_size,
                metrics,
            )
            if validation is not None:
                measured = epoch_engine.evaluate(*validation, batch_size, metrics)
                logs |= {f"val_{name}": value for name, value in measured.items()}
            history.append(epoch, logs)
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs, model)
            if store is not None:
                store.save(model, optimizer, callbacks, history, run)
            bar.set_postfix(loss=f"{logs['loss']:.4g}")
    for callback in callbacks:
        callback.on_train_end(model)
    return history


def _part(epoch: int, rows: int, batch_size: int, steps: int | None) -> slice:
    """Which rows an epoch takes (keras/src/trainers/epoch_iterator.py)."""
    if steps is None:
        return slice(None)
    epochs_per_pass = -(-rows // (steps * batch_size))
    start = epoch % epochs_per_pass * steps * batch_size
    return slice(start, min(start + steps * batch_size, rows))


def evaluate(
    model: nn.Module,
    x: Rows,
    y: ArrayLike | Tensor | None = None,
    *,
    batch_size: int = 8192,
    metrics: bool = True,
) -> dict[str, float]:
    """Loss and metrics of a module on rows, without dropout, as `keras.Model.evaluate`.

    Args:
        model: gives logits (N, 1).
        x: (N, F) rows, or a Dataset of (row, label) pairs.
        y: (N, 1) or (N,) labels, 0 or 1.
        batch_size: rows at a time.
        metrics: whether the eleven metrics are measured besides the loss.

    Raises:
        ValueError: shapes do not fit or a label is not 0 or 1.
    """
    batch_size = whole("evaluate: batch_size", batch_size, 1)
    _check_end(model, "evaluate")
    rows, labels = table(x, y, like_of(model), "evaluate")
    return _evaluate(model, rows, labels, None, batch_size, metrics)


def predict(
    model: nn.Module,
    x: ArrayLike | Tensor,
    *,
    batch_size: int = 8192,
    from_logits: bool | None = None,
) -> Tensor:
    """What Keras's `predict` gives of rows (N, F), (N, units): no dropout, no gradient.

    Args:
        model: a `FraudClassifier` or what `load_keras` gives, alone or at the end of an
            `nn.Sequential` (behind a `FeatureTransform`, say), which know how they end; or any
            other module with `from_logits`.
        x: an array or tensor. A `FeatureTransform` gets float64 rows as they are.
        batch_size: rows at a time.
        from_logits: whether the module's outputs are logits, and their sigmoid is what is
            predicted; a module may say so itself in an attribute `ends_in_sigmoid`.

    Raises:
        ValueError: nothing says what the outputs are.
    """
    batch_size = whole("predict: batch_size", batch_size, 1)
    if from_logits is None:
        from_logits = _ends_in_sigmoid(model)
    rows = as_tensor(x, like_of(model).rows)
    with inference(model):
        # Of no rows too, for the shape of the outputs.
        parts = [
            model(rows[start : start + batch_size])
            for start in range(0, max(len(rows), 1), batch_size)
        ]
        outputs = torch.cat(parts)
        return torch.sigmoid(outputs) if from_logits else outputs


def _check_end(model: nn.Module, where: str) -> None:
    """Raises ValueError for a network whose outputs are no logits, nor their sigmoid."""
    for part in model.modules():
        end = getattr(part, "last_activation", "linear")
        # Behind a sigmoid may stand a Dropout, which leaves it where it is.
        if end != "linear" and not (end == "sigmoid" and getattr(part, "ends_in_sigmoid", False)):
            raise ValueError(
                f"{where}: the network ends in {end}; the loss is binary cross-entropy of logits, "
                "expected a sigmoid at the very end, or nothing behind the last layer"
            )


def _ends_in_sigmoid(model: nn.Module) -> bool:
    """Whether the module leaves a sigmoid out at its end, by what it, or its last part, says."""
    part: Any = model
    while not isinstance(getattr(part, "ends_in_sigmoid", None), bool):
        if isinstance(part, nn.Sequential) and len(part):
            part = part[-1]
        elif isinstance(getattr(part, "module", None), nn.Module):  # DistributedDataParallel
            part = part.module
        else:
            raise ValueError(
                f"predict: {type(part).__name__} does not say what its outputs are; expected "
                "from_logits=True (logits, whose sigmoid is predicted) or False"
            )
    return bool(part.ends_in_sigmoid)


class _Eager:
    """Epochs in plain PyTorch: any module, any optimizer, any device."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.optimizer = model, optimizer

    def train(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batch_size: int, metrics: bool
    ) -> dict[str, float]:
        """One epoch over rows in the order given; its loss and metrics."""
        parameters = list(self.model.parameters())
        totals = KerasMetrics(rows.device) if metrics else None
        loss_sum = torch.zeros((), dtype=torch.float64, device=rows.device)
        for start in range(0, len(rows), batch_size):
            batch = slice(start, start + batch_size)
            y = labels[batch]
            logits = self.model(rows[batch])
            losses = binary_crossentropy_from_logits(logits, y)
            loss = mean_loss(losses, None if weights is None else weights[batch])
            for parameter in parameters:
                parameter.grad = None  # zero_grad's, in a tenth of its time
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            loss_sum += loss.detach().double() * len(y)
            if totals is not None:
                totals.update(logits, y)
        return _logs(loss_sum, len(rows), totals, labels.dtype)

    def evaluate(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batch_size: int, metrics: bool
    ) -> dict[str, float]:
        """Loss and metrics without dropout."""
        return _evaluate(self.model, rows, labels, weights, batch_size, metrics)


class _Native:
    """The same epochs by one call each into compiled code."""

    def __init__(self, model: nn.Module, native: NativeEpoch) -> None:
        self.model, self.native = model, native

    def train(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batch_size: int, metrics: bool
    ) -> dict[str, float]:
        """One epoch over rows in the order given; its loss and metrics."""
        totals = self.native.train(rows, labels, weights, batch_size, metrics)
        return _native_logs(totals, "weighted_loss", rows, metrics)

    def evaluate(
        self, rows: Tensor, labels: Tensor, weights: Tensor | None, batch_size: int, metrics: bool
    ) -> dict[str, float]:
        """Loss and metrics without dropout."""
        if weights is not None:
            return _evaluate(self.model, rows, labels, weights, batch_size, metrics)
        return _native_logs(self.native.evaluate(rows, labels), "loss", rows, metrics)


def _evaluate(
    model: nn.Module,
    rows: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    batch_size: int,
    metrics: bool,
) -> dict[str, float]:
    totals = KerasMetrics(rows.device) if metrics else None
    loss_sum = torch.zeros((), dtype=torch.float64, device=rows.device)
    with inference(model):
        for start in range(0, len(rows), batch_size):
            y = labels[start : start + batch_size]
            logits = model(rows[start : start + batch_size])
            losses = binary_crossentropy_from_logits(logits, y)
            if weights is not None:
                losses = losses * weights[start : start + batch_size]
            loss_sum += losses.sum(dtype=torch.float64)
            if totals is not None:
                totals.update(logits, y)
    return _logs(loss_sum, len(rows), totals, labels.dtype)


def _logs(
    loss_sum: Tensor, rows: int, totals: KerasMetrics | None, dtype: torch.dtype
) -> dict[str, float]:
    logs = {"loss": float(loss_sum) / max(rows, 1)}
    return _as_keras_logs(logs if totals is None else logs | totals.result(), dtype)


def _native_logs(totals: NDArray[Any], loss: str, rows: Tensor, metrics: bool) -> dict[str, float]:
    logs = {"loss": float(totals[loss]) / max(len(rows), 1)}
    if metrics:
        logs |= metrics_from_sums(
            torch.tensor(
                [float(totals["loss"]), float(totals["squared_error"])], dtype=torch.float64
            ),
            torch.tensor([int(totals[name]) for name in ("tn", "fp", "fn", "tp")]),
            torch.from_numpy(totals["buckets"].ravel()),
        )
    return _as_keras_logs(logs, rows.dtype)


def _as_keras_logs(logs: dict[str, float], dtype: torch.dtype) -> dict[str, float]:
    # Keras's history holds what a tensor of floatx held, in the order of the names.
    held = torch.float64 if dtype == torch.float64 else torch.float32
    return {name: torch.tensor(logs[name], dtype=held).item() for name in sorted(logs)}


# Below so many parameters an operation is too short to be shared out.
_SMALL = 100_000


@contextmanager
def _few_threads(model: nn.Module) -> Iterator[None]:
    """One thread for a small model on the CPU.

    A second one only waits for the first, and where another process wants its core every
    operation waits for that: epochs were seen to take twenty times longer.
    """
    threads = torch.get_num_threads()
    parameters = list(model.parameters())
    small = sum(p.numel() for p in parameters) < _SMALL and parameters[0].device.type == "cpu"
    try:
        if small:
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)


def _bar(epochs: range, progress: bool) -> Any:
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:  # torch and NumPy are enough to train
        return _SilentBar(epochs)
    return tqdm(epochs, unit="epoch", disable=None if progress else True)


class _SilentBar:
    def __init__(self, epochs: range) -> None:
        self._epochs = epochs

    def __enter__(self) -> _SilentBar:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def __iter__(self) -> Any:
        return iter(self._epochs)

    def set_postfix(self, **_: Any) -> None:
        """Shows nothing."""
