"""How far a library's float32 sigmoid lies from the true one, over all float32 inputs.

A sigmoid has no forward error bound that follows from its formula alone: it depends on the
library's exponential. It has one argument, though, so that its error can be measured at
every float32 there is. `python -m parity_tests.judge.sigmoid` does that for both libraries;
the suite repeats it on a sample.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

__all__ = ["SIGMOID_ULP", "float64_sigmoid", "keras_error", "largest_error", "torch_error"]

SIGMOID_ULP = 6.58
"""Neither library's sigmoid errs by more, in units in the last place of the result.

Measured at all 2**32 float32: Keras 6.5792 (TensorFlow 2.21.0), PyTorch 2.4807 (2.13.0).
"""

TINY = 2.0**-126
"""The smallest normal float32. TensorFlow flushes smaller results to zero, torch does not."""

_CHUNK = 1 << 22


def float64_sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)) in float64, stable at both ends, NaN and infinities included."""
    with np.errstate(invalid="ignore"):  # widening a signalling NaN
        z = np.asarray(logits, dtype=np.float64)
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def largest_error(
    sigmoid: Callable[[np.ndarray], np.ndarray], stride: int = 1
) -> tuple[float, float]:
    """Measures a float32 sigmoid against the float64 one.

    Args:
        sigmoid: float32 array to float32 array of the same shape.
        stride: 1 for all 2**32 bit patterns, n for every n-th of them.

    Returns:
        The largest error in ULP where the true value is a normal float32, and the largest
        absolute error, in units of 2**-126, where it is smaller.

    Raises:
        ValueError: an input that is NaN did not give NaN, or another one did.
    """
    normal = subnormal = 0.0
    for start in range(0, 1 << 32, _CHUNK * stride):
        bits = np.arange(start, min(start + _CHUNK * stride, 1 << 32), stride, dtype=np.uint64)
        logits = bits.astype(np.uint32).view(np.float32)
        came, true = sigmoid(logits).astype(np.float64), float64_sigmoid(logits)
        if not np.array_equal(np.isnan(came), np.isnan(logits)):
            raise ValueError(f"NaN does not match as such near bit pattern {start:#010x}")
        error = np.nan_to_num(np.abs(came - true))
        small = true < TINY
        ulp = np.spacing(np.maximum(np.nan_to_num(true), TINY).astype(np.float32))
        normal = max(normal, float((error / ulp)[~small].max(initial=0.0)))
        subnormal = max(subnormal, float(error[small].max(initial=0.0)) / TINY)
    return normal, subnormal


def torch_error(stride: int = 1) -> tuple[float, float]:
    """`largest_error` of PyTorch's sigmoid."""
    import torch

    return largest_error(lambda z: torch.sigmoid(torch.from_numpy(z)).numpy(), stride)


def keras_error(stride: int = 1) -> tuple[float, float]:
    """`largest_error` of Keras's sigmoid; for the Keras process."""
    from keras_ref.forward import sigmoid

    return largest_error(sigmoid, stride)


def main() -> None:
    """Measures both libraries at every float32, or at every n-th, and prints the result."""
    from parity_tests.reference.keras_process import KerasProcess

    parser = argparse.ArgumentParser(
        prog="python -m parity_tests.judge.sigmoid", description=__doc__
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th (default 1)")
    stride = parser.parse_args().every
    if stride < 1:
        parser.error("expected --every of at least 1")
    # The Keras process can import this file, but not the main module that it may be here.
    from parity_tests.judge.sigmoid import keras_error

    with KerasProcess() as keras:
        theirs = keras.submit(keras_error, stride)
        errors = {"PyTorch": torch_error(stride), "Keras": keras.wait(theirs)}
    for name, (normal, subnormal) in errors.items():
        print(f"{name}: {normal:.4f} ULP; where the result is below 2**-126: {subnormal:.4f} of it")


if __name__ == "__main__":
    main()
