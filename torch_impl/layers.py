"""Layers under Keras's names and with Keras's arguments, for `KerasNetwork.build`.

Example:
    >>> from torch_impl import KerasNetwork, layers
    >>> model = KerasNetwork.build(29, [
    ...     layers.Dense(16, kernel_initializer="he_normal", kernel_regularizer="l2"),
    ...     layers.BatchNormalization(),
    ...     layers.LeakyReLU(0.2),
    ...     layers.Dropout(0.5),
    ...     layers.Dense(1, activation="sigmoid"),
    ... ], seed=7)
    >>> [name for name, _ in model.named_parameters()][:2]
    ['layers.0.0.weight', 'layers.0.0.bias']
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from torch_impl.keras.layers.initializers import initializer_of
from torch_impl.keras.layers.kinds import KINDS, layer_of
from torch_impl.keras.layers.network import WEIGHTS, Layer
from torch_impl.keras.layers.regularizers import regularizer_of

__all__ = [
    "ELU", "Activation", "AlphaDropout", "BatchNormalization", "Dense", "Dropout", "Flatten",
    "GaussianDropout", "GaussianNoise", "Identity", "LayerNormalization", "LeakyReLU",
    "Normalization", "PReLU", "ReLU", "Rescaling", "Reshape", "Softmax",
]  # fmt: skip


_NOTHING = ("_constraint", "activity_regularizer")
"""What stands for nothing where it is None."""


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays, and tuples, as a config has them."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    plain = isinstance(value, tuple) and type(value) is tuple
    return [_plain(item) for item in value] if plain else value


def _maker(kind: str) -> Callable[..., Layer]:
    weights, arguments = WEIGHTS.get(kind, ()), KINDS[kind].arguments
    of_weights = [f"{w}_{part}" for w in weights for part in ("initializer", "regularizer")]
    options = [*arguments, *of_weights, "name"]

    def make(*values: Any, **more: Any) -> Layer:
        if len(values) > len(arguments):
            takes = ", ".join(arguments) or "nothing but its name"
            raise TypeError(f"{kind} takes {takes}; {len(values)} values came")
        given = dict(zip(arguments, values, strict=False))
        for name in list(more):
            if more[name] is None and name.endswith(_NOTHING):
                del more[name]
                continue
            if name not in options or name in given:
                why = "came twice" if name in given else f"is none of {', '.join(options)}"
                raise TypeError(f"{kind}: {name} {why}")
        given = {name: _plain(value) for name, value in (given | more).items()}
        shown = str(given.pop("name", "") or "")
        starting = [f"{weight}_initializer" for weight in weights]
        if none := [name for name in starting if given.get(name, "") is None]:
            # Keras makes a Glorot-uniform of it where the model is built, after all others.
            raise ValueError(f"{kind}: {none[0]}=None; expected the name of an initializer")
        for weight in weights:  # a fault is raised here, where a file's is a note
            if given.get(f"{weight}_regularizer") is not None:
                regularizer_of(given[f"{weight}_regularizer"])
        starts = {
            weight: initializer_of(given[f"{weight}_initializer"])
            for weight in weights
            if f"{weight}_initializer" in given
        }
        return replace(layer_of(kind, shown or kind, given), name=shown, initializers=starts)

    make.__name__ = make.__qualname__ = kind
    make.__doc__ = f"""`keras.layers.{kind}`.

        Args:
            values: {", ".join(arguments) or "none"}, as Keras takes them.
            more: the same by name, {", ".join(of_weights) + ", " if of_weights else ""}name.

        Raises:
            TypeError: an argument is none of Keras's, or not supported.
            ValueError: its value is not.
        """
    return make


Activation = _maker("Activation")
AlphaDropout = _maker("AlphaDropout")
BatchNormalization = _maker("BatchNormalization")
Dense = _maker("Dense")
Dropout = _maker("Dropout")
ELU = _maker("ELU")
Flatten = _maker("Flatten")
GaussianDropout = _maker("GaussianDropout")
GaussianNoise = _maker("GaussianNoise")
Identity = _maker("Identity")
LayerNormalization = _maker("LayerNormalization")
LeakyReLU = _maker("LeakyReLU")
Normalization = _maker("Normalization")
PReLU = _maker("PReLU")
ReLU = _maker("ReLU")
Rescaling = _maker("Rescaling")
Reshape = _maker("Reshape")
Softmax = _maker("Softmax")
