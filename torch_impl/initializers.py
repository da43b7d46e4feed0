"""Keras's initializers under its names, for `torch_impl.layers`.

Example:
    >>> from torch_impl import initializers, layers
    >>> layers.Dense(16, kernel_initializer=initializers.RandomNormal(stddev=0.1)).units
    16

One that is made without a seed takes one from Keras's stream where a layer first has it; two layers
that share it start alike, as they do in Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_impl.keras.layers.initializers import INITIALIZERS, Initializer, initializer_of

__all__ = [
    "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity",
    "LecunNormal", "LecunUniform", "Ones", "Orthogonal", "RandomNormal", "RandomUniform",
    "TruncatedNormal", "VarianceScaling", "Zeros",
]  # fmt: skip


def _maker(kind: str) -> Callable[..., Initializer]:
    names = [*INITIALIZERS[kind].options, *(["seed"] if INITIALIZERS[kind].random else [])]

    def make(*values: Any, **more: Any) -> Initializer:
        if len(values) > len(names):
            raise TypeError(f"{kind} takes {', '.join(names) or 'nothing'}; {len(values)} came")
        given = dict(zip(names, values, strict=False))
        if twice := sorted(given.keys() & more):
            raise TypeError(f"{kind}: {twice[0]} came twice")
        return initializer_of(kind, **given | more)

    make.__name__ = make.__qualname__ = kind
    make.__doc__ = f"""`keras.initializers.{kind}`.

        Args:
            values: {", ".join(names) or "none"}, as Keras takes them.
            more: the same by name.

        Raises:
            TypeError: there are too many.
            ValueError: an option is none of Keras's, or not in its range.
        """
    return make


Constant = _maker("Constant")
GlorotNormal = _maker("GlorotNormal")
GlorotUniform = _maker("GlorotUniform")
HeNormal = _maker("HeNormal")
HeUniform = _maker("HeUniform")
Identity = _maker("Identity")
LecunNormal = _maker("LecunNormal")
LecunUniform = _maker("LecunUniform")
Ones = _maker("Ones")
Orthogonal = _maker("Orthogonal")
RandomNormal = _maker("RandomNormal")
RandomUniform = _maker("RandomUniform")
TruncatedNormal = _maker("TruncatedNormal")
VarianceScaling = _maker("VarianceScaling")
Zeros = _maker("Zeros")
