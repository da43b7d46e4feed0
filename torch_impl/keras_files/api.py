"""`load_keras` and `save_keras`: models in Keras's files, without TensorFlow."""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import Any

from torch import nn

from torch_impl.keras.optimizers.adam import KerasAdam
from torch_impl.keras_files.config import LONGEST_JSON, network_of, parsed_json
from torch_impl.keras_files.contents import Contents, KerasFileError
from torch_impl.keras_files.modules import (
    adam_for,
    contents_of,
    module_from,
    network_of_module,
    with_config,
    with_network,
)
from torch_impl.keras_files.reading import read_keras
from torch_impl.keras_files.writing import write_keras
from torch_impl.keras_network import KerasNetwork
from torch_impl.model import FraudClassifier

__all__ = [
    "KerasFileError",
    "load_keras",
    "load_keras_optimizer",
    "read_keras",
    "read_network",
    "save_keras",
]


def load_keras(
    path: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | dict[str, Any] | None = None,
    dropout: float = 0.5,
) -> FraudClassifier | KerasNetwork:
    """The model in a Keras file, with its weights bit for bit, in their own dtype.

    It is in eval mode, as `keras.models.load_model` gives a model that is ready to predict;
    `fit` trains it all the same. What the file says and the module does not do, or does not say
    and was assumed, is a warning.

    Takes `.keras`, `.weights.h5`, legacy `.h5`, a SavedModel folder, a `tf.train.Checkpoint`
    (its prefix or folder) and what `save_keras` writes, told apart by what is in them. Nothing
    in the file is executed or imported, and nothing outside of it is read.

    Args:
        path: of the file or folder.
        config: the architecture of a file that holds weights alone: what `model.to_json()`
            wrote, as a file, a text or parsed. Without it hidden layers are taken for ReLU's,
            and a last one of one unit for a sigmoid.
        dropout: the rate of a file that holds weights alone, which does not say it.

    Returns:
        A `FraudClassifier` where the network is one, of whatever sizes and layer names; else a
        `KerasNetwork`, for any chain of the layers in `torch_impl.keras.layers.kinds`.
        A Dropout with a seed in the file draws Keras's masks.

    Raises:
        KerasFileError: the file is damaged or hostile, or holds what is not supported.
        FileNotFoundError: nothing is there.
    """
    contents = read_network(path, config, dropout)
    for note in contents.notes:
        warnings.warn(KerasFileError(f"{path}: {note}").args[0], stacklevel=2)
    return module_from(contents)


def read_network(
    path: str | os.PathLike[str],
    config: str | os.PathLike[str] | dict[str, Any] | None,
    dropout: float,
) -> Contents:
    """What `read_keras` gives, with a network in any case: the file's, the config's, or a guess."""
    if config is None:
        return with_network(read_keras(path), dropout, str(path))
    root, where = _config(config)
    network, notes = network_of(root, where)
    return with_config(read_keras(path, network), network, notes, where)


def _config(config: str | os.PathLike[str] | dict[str, Any]) -> tuple[dict[str, Any], str]:
    if isinstance(config, dict):
        return config, "config"
    if isinstance(config, str) and config.lstrip().startswith("{"):
        return parsed_json(config, "config"), "config"
    with open(config, "rb") as file:
        return parsed_json(file.read(LONGEST_JSON + 1), str(config)), str(config)


def load_keras_optimizer(
    path: str | os.PathLike[str], model: FraudClassifier | KerasNetwork
) -> KerasAdam:
    """The Adam of a Keras file where it stood, so that training goes on as Keras would.

    Args:
        path: of the file or folder that the model was loaded from.
        model: what `load_keras` gave.

    Raises:
        KerasFileError: as for `load_keras`, or the file holds no Adam of this model.
    """
    own = network_of_module(model)
    contents = read_keras(path, own)
    if contents.optimizer is not None and contents.network is None:
        with contextlib.suppress(KerasFileError):  # told below, with both sides
            contents = with_config(contents, own, (), str(path))
    if contents.optimizer is None:
        why = "; ".join(contents.optimizer_notes)
        raise KerasFileError(f"{path}: holds no Adam{f' ({why})' if why else ''}")
    held = {name: tuple(t.shape) for name, t in contents.weights.items()}
    expected = {name: tuple(t.shape) for name, t in contents_of(model).weights.items()}
    if held != expected:
        raise KerasFileError(f"{path}: its Adam is of weights {held}; the model has {expected}")
    return adam_for(contents.optimizer, model)


def save_keras(
    model: nn.Module, path: str | os.PathLike[str], optimizer: KerasAdam | None = None
) -> None:
    """Writes a file that Keras itself opens, trains on and predicts with.

    Args:
        model: a `FraudClassifier` or `KerasNetwork`. One that came from a file keeps the names
            of its layers.
        path: ends in `.keras` (the model), `.weights.h5` (weights alone), `.h5` (the legacy
            form of a model) or `.safetensors` (Keras's names and layout, for `load_keras`).
        optimizer: the model's; Keras then finds it compiled and goes on where it stands.

    Raises:
        ValueError: another ending or module, or the optimizer is not the model's.
    """
    write_keras(contents_of(model, optimizer), path)
