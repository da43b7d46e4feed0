"""`fit`, `evaluate` and `predict` as Keras runs them, for PyTorch modules that give logits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.utils.data import Dataset

from torch_impl.base.arguments import whole
from torch_impl.base.arrays import as_tensor
from torch_impl.base.modes import inference, own_modes
from torch_impl.base.processes import ALONE, ProcessLostError, processes
from torch_impl.keras.callbacks.watching import Callback
from torch_impl.keras.optimizers.adam import KerasAdam
from torch_impl.keras.order import take_rows
from torch_impl.keras.random import shuffle_permutation
from torch_impl.training.checkpoint import Checkpoint, digest, optimizer_text
from torch_impl.training.epochs import Eager, Native, measure
from torch_impl.training.history import History
from torch_impl.training.native import NativeEpoch
from torch_impl.training.objective import Objective, ends_in_sigmoid
from torch_impl.training.rows import Rows, column, held_out, like_of, table
from torch_impl.training.scheduled import Scheduled
from torch_impl.training.shares import Batches
from torch_impl.training.together import check_alike, check_shareable, whole_batches

__all__ = ["evaluate", "fit", "predict"]


def fit(
    model: nn.Module,
    x: Rows,
    y: ArrayLike | Tensor | None = None,
    *,
    batch_size: int = 32,
    epochs: int = 1,
    validation_data: tuple[Any, ...] | Dataset[Any] | None = None,
    validation_split: float = 0.0,
    class_weight: Mapping[int, float] | None = None,
    sample_weight: ArrayLike | Tensor | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    metrics: bool = True,
    loss: str | nn.Module = "binary_crossentropy",
    compiled: bool = True,
    steps_per_epoch: int | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | PathLike[str] | None = None,
    same_bits: bool = False,
    progress: bool = True,
) -> History:
    """Trains a module as `keras.Model.fit` trains it.

    With a model from `FraudClassifier(seed=n)` and `seed=n` it follows
    `keras.utils.set_random_seed(n)`, building and `fit`, step by step: the same initial
    weights, the same order of rows in every epoch, the same dropout masks, Keras's Adam.

    Inside `torch.distributed`'s default group all processes call it with the same arguments. They
    share out the rows of each batch in tiles of 64, add gradients and sums up, and end with the
    same weights and history, those of one process. An x that is a `numpy.memmap` of the model's
    dtype is read where a process has rows.

    Args:
        model: gives logits (N, 1), or what the loss takes; trained in place, on the device and
            in the dtype of its parameters. Every module in it gets its own mode back, also after
            an error. What its `regularizers` say (see `L1L2`) is added to the loss.
        x: (N, F) rows, an array or tensor; or a Dataset of (row, label) pairs, read once.
            It is copied at most once, in training order.
        y: (N, 1) or (N,) labels, 0 or 1, or what the loss takes; None if `x` is a Dataset.
        batch_size: rows per step; the last step of an epoch takes what is left.
        epochs: passes over the rows.
        validation_data: (x, y) or a Dataset, evaluated after each epoch; or (x, y, weights),
            in `val_loss` and not in the metrics.
        validation_split: share of the rows, the last ones as they came, that is held out so.
        class_weight: weight of each class in the loss; not in the metrics.
        sample_weight: (N,) or (N, 1) weight of each row in the loss, instead.
        shuffle: whether rows are permuted, once, as Keras permutes them from `seed`.
        seed: of the permutation, 0 to 2**32 - 1; drawn from torch's generator if None.
        optimizer: `KerasAdam(model.parameters())` if None.
        scheduler: of the optimizer's learning rate, Keras's or torch's; stepped after each batch.
        metrics: whether the tutorial's eleven are measured besides the loss; of a categorical
            loss the accuracy is, of others nothing.
        loss: a name that Keras's `compile` takes, or one of `torch_impl.losses`.
        compiled: whether a seeded `FraudClassifier` on the CPU with `KerasAdam` is
            trained by the compiled epoch; anything else (a hook, a learning-rate scheduler, a
            frozen parameter), or where no C++ compiler is (warned of once), takes the eager
            path, which computes the same.
        steps_per_epoch: makes epochs of so many batches that walk through the rows, as the
            tutorial does with oversampled rows, instead of epochs of all rows. As in Keras,
            an epoch in which the rows end is shorter, and the next one starts over.
        callbacks: called before and after each epoch, in order.
        checkpoint: a file that is replaced after each epoch. If it is there, the run it
            holds is continued, to the same bits as if it had never stopped; another run (other
            rows, weights, options, …) is refused. `.NAME.lock` beside it keeps a second process
            from writing it. Of several processes the first one reads and writes it; another
            number of them may go on.
        same_bits: whether the eager path adds up tile by tile too, so that its weights and history
            have the same bits for any number of processes, as the compiled epoch's always have.
            Slow: each tile goes forward and back alone.
        progress: whether to show a progress bar on a terminal.

    Returns:
        The history, with Keras's keys.

    Raises:
        ValueError: shapes do not fit, a label is none, a number of rows or epochs is not
            positive, or both kinds of weights, or both kinds of validation, are given; or the
            processes were given different things, or a module that cannot be shared out.
        ProcessLostError: another process of the group is gone.
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
    group, threads = processes(), torch.get_num_threads()
    check_shareable(model, group, same_bits)
    objective = Objective(model, loss, "fit")
    like = like_of(model)
    rows, labels = table(x, y, like, "fit", objective.labels)
    if len(rows) == 0:
        raise ValueError("fit: x has no rows; expected at least 1")
    weights = validation = None
    if sample_weight is not None:
        weights = column(sample_weight, like.numbers, "fit: sample_weight", len(rows))
    if validation_data is not None:
        validation = held_out(validation_data, like, objective.labels)
    if validation_split:
        kept = _kept(validation_split, len(rows), validation_data)
        held = None if weights is None else weights[kept:].contiguous()
        validation = rows[kept:].contiguous(), labels[kept:].contiguous(), held
        rows, labels = rows[:kept], labels[:kept]
        weights = None if weights is None else weights[:kept]
    if class_weight is not None:
        weights = objective.class_weights(labels, class_weight)
    if validation is not None and validation[0].shape[1] != rows.shape[1]:
        raise ValueError(
            f"fit: validation_data: x came as {tuple(validation[0].shape)}; "
            f"expected (N, {rows.shape[1]}) as the rows trained on"
        )
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise ValueError(
            f"fit: optimizer={optimizer!r}; expected a torch optimizer of the module's parameters, "
            "such as KerasAdam(model.parameters())"
        )
    optimizer = optimizer or KerasAdam(model.parameters())
    if scheduler is not None:
        callbacks = [*callbacks, Scheduled(scheduler, optimizer, callbacks)]
    order_seed = seed
    if order_seed is None:
        order_seed = group.from_first(lambda: int(torch.randint(2**32, ()))) if shuffle else 0
    history = History()
    for callback in callbacks:
        callback.on_train_begin(model)
    with ExitStack() as opened:
        store = None
        run: dict[str, Any] = {}
        if checkpoint is not None or group.count > 1:
            mapped = isinstance(x, np.memmap)
            # What makes it this very run, but for how long it lasts.
            run = {
                "batch_size": batch_size,
                "steps_per_epoch": steps_per_epoch,
                "shuffle": shuffle,
                "seed": seed,
                "order": order_seed,
                "metrics": metrics,
                "optimizer": optimizer_text(optimizer),
                "x": digest(rows, mapped),
                "y": digest(labels),
                "weight of rows": digest(weights),
                "validation_data": None if validation is None else [*map(digest, validation)],
                "dtype": sorted({str(p.dtype) for p in model.parameters()}),
            }
            if objective.told:
                run["loss"] = objective.told
            if same_bits:
                run["same_bits"] = True
            check_alike(group, run, model, callbacks, epochs, compiled)
        if checkpoint is not None:
            store = opened.enter_context(Checkpoint(checkpoint, group))
            if store.exists():
                run = store.restore(model, optimizer, callbacks, history, run)
                order_seed = run["order"]
        # One copy of this process's rows as they come: Keras's order is the same in every epoch.
        every = Batches(len(rows), batch_size, group)
        order = shuffle_permutation(order_seed, len(rows)) if shuffle else None
        if group.count > 1:
            order = every.places() if order is None else order[every.places()]
        if order is not None:
            order = order.to(rows.device)
            rows, labels = take_rows(rows, order), take_rows(labels, order)
            weights = None if weights is None else take_rows(weights, order)
        rows = rows.contiguous()
        opened.enter_context(own_modes(model))
        opened.enter_context(_few_threads(model))
        opened.enter_context(whole_batches(model))
        if store is not None:
            opened.enter_context(_telling(store))
        bar = opened.enter_context(
            _bar(range(len(history.epoch), epochs), progress and group.first)
        )
        for epoch in bar:
            if any(callback.stop_training for callback in callbacks):
                break
            for callback in callbacks:
                callback.on_epoch_begin(epoch, model)
            # Chosen anew: a callback may have frozen a parameter, or hung a hook on one.
            plain = compiled and not objective.told
            native = NativeEpoch.create(model, optimizer, rows, threads) if plain else None
            epoch_engine = (
                Eager(objective, optimizer, scheduler, same_bits)
                if native is None
                else Native(objective, native)
            )
            model.train()
            part = _part(epoch, every.rows, batch_size, steps_per_epoch)
            own = every.own(part)
            logs = epoch_engine.train(
                rows[own],
                labels[own],
                None if weights is None else weights[own],
                Batches(part.stop - part.start, batch_size, group),
                metrics,
            )
            if validation is not None:
                batches = Batches(len(validation[0]), batch_size, group)
                measured = epoch_engine.evaluate(*validation, batches, metrics)
                logs |= {f"val_{name}": value for name, value in measured.items()}
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs, model)
            history.append(epoch, logs)
            if store is not None:
                store.save(model, optimizer, callbacks, history, run)
            bar.set_postfix(loss=f"{logs['loss']:.4g}")
    for callback in callbacks:
        callback.on_train_end(model)
    return history


def _kept(split: float, rows: int, validation_data: Any) -> int:
    """How many rows a validation split leaves (keras/src/trainers/data_adapters)."""
    if validation_data is not None:
        raise ValueError("fit: validation_data and validation_split came both; expected one")
    kept = math.floor(rows * (1 - split)) if 0 < split < 1 else 0
    if not 0 < kept < rows:
        raise ValueError(
            f"fit: validation_split={split} of {rows} rows; expected rows on both sides"
        )
    return kept


def _part(epoch: int, rows: int, batch_size: int, steps: int | None) -> slice:
    """Which rows an epoch takes (keras/src/trainers/epoch_iterator.py)."""
    if steps is None:
        return slice(0, rows)
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
    loss: str | nn.Module = "binary_crossentropy",
) -> dict[str, float]:
    """Loss and metrics of a module on rows, without dropout, as `keras.Model.evaluate`.

    Args:
        model: gives logits (N, 1), or what the loss takes.
        x: (N, F) rows, or a Dataset of (row, label) pairs.
        y: (N, 1) or (N,) labels, 0 or 1, or what the loss takes.
        batch_size: rows at a time.
        metrics: whether metrics are measured besides the loss, as by `fit`.
        loss: as `fit` takes it.

    Raises:
        ValueError: shapes do not fit or a label is none.
    """
    batch_size = whole("evaluate: batch_size", batch_size, 1)
    objective = Objective(model, loss, "evaluate")
    rows, labels = table(x, y, like_of(model), "evaluate", objective.labels)
    batches = Batches(len(rows), batch_size, ALONE)  # whoever asks may be one of several
    return measure(objective, rows, labels, None, batches, metrics)


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
        from_logits = ends_in_sigmoid(model)
    rows = as_tensor(x, like_of(model).rows)
    with inference(model):
        # Of no rows too, for the shape of the outputs.
        parts = [
            model(rows[start : start + batch_size])
            for start in range(0, max(len(rows), 1), batch_size)
        ]
        outputs = torch.cat(parts)
        return torch.sigmoid(outputs) if from_logits else outputs


@contextmanager
def _telling(store: Checkpoint) -> Iterator[None]:
    """Says where a run that loses a process goes on: how far it was saved the first one knows."""
    try:
        yield
    except ProcessLostError as lost:
        raise ProcessLostError(f"{lost}; the same call goes on from {store.path}") from lost


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
