"""Which reference this is."""

from __future__ import annotations

import sys

import keras

__all__ = ["loaded_modules", "versions"]


def versions() -> dict[str, str]:
    """Versions of Keras and of its backend."""
    found = {"keras": keras.__version__, "keras backend": keras.backend.backend()}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found["tensorflow"] = tf.__version__
    return found


def loaded_modules() -> list[str]:
    """Top-level modules loaded in this process."""
    return sorted({name.partition(".")[0] for name in sys.modules})


def onednn_is_on() -> bool:
    """Whether TensorFlow's CPU kernels are oneDNN's, as by default on x86-64 Linux."""
    from tensorflow.python.util import _pywrap_util_port

    return bool(_pywrap_util_port.IsMklEnabled())
