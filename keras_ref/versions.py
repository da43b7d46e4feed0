"""Which reference this is."""

from __future__ import annotations

import importlib
import sys

import keras

__all__ = ["loaded_modules", "versions"]


def versions() -> dict[str, str]:
    """Versions of Keras and of its backend."""
    backend = keras.backend.backend()
    loaded = importlib.import_module(backend)
    return {
        "keras": keras.__version__,
        "keras backend": backend,
        backend: loaded.__version__.partition("+")[0],
    }


def loaded_modules() -> list[str]:
    """Top-level modules loaded in this process; what may not be imported stands as None."""
    return sorted({name.partition(".")[0] for name, module in sys.modules.items() if module})


def mean_of_float64(numbers: list[float]) -> float:
    """`keras.ops.mean` of a tensor in float64."""
    tensor = keras.ops.convert_to_tensor(numbers, dtype="float64")
    return float(keras.ops.convert_to_numpy(keras.ops.mean(tensor)))


def onednn_is_on() -> bool:
    """Whether TensorFlow's CPU kernels are oneDNN's, as by default on x86-64 Linux."""
    if keras.backend.backend() != "tensorflow":
        return False
    from tensorflow.python.util import _pywrap_util_port

    return bool(_pywrap_util_port.IsMklEnabled())
