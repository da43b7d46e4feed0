"""How far the activations of TensorFlow and of PyTorch lie from the true ones, in float32.

`python -m parity_tests.judge.layers.measure` asks each activation of Keras, in its process,
and of PyTorch, in this one, at every float32 from 2**-6 to 2**7 in size and at every 64th other.
It prints what the table of `parity_tests.judge.layers.elementwise` holds.

One library has several answers, and all are measured. Its loops take eight or sixteen numbers at
a time and the rest one by one, by other code. TensorFlow makes one kernel of a Dense layer and
its activation where it compiles both, as `fit` and `predict` do; it is oneDNN's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from parity_tests.judge.bounds import MAX32
from parity_tests.judge.layers.elementwise import ACTIVATIONS, FLOOR, Elementwise, ulp_of

__all__ = [
    "Worst",
    "every",
    "keras_errors",
    "keras_errors_at",
    "keras_ways",
    "largest_error",
    "torch_errors",
    "torch_errors_at",
    "torch_ways",
]

Answer = Callable[[np.ndarray], np.ndarray]
Ways = Mapping[str, Answer]
"""What one library may answer, by how it is asked."""

_FULL = range(127 - 6, 127 + 7)
"""The biased exponents of which every number counts."""
_UNITS = 16
"""Of that Dense layer; TensorFlow leaves some activations alone after a Dense layer of one."""
_CHUNK = 1 << 17
_FEW = 1 << 14
"""Every how many-th number is asked for in arrays of one to seven."""


class Worst(NamedTuple):
    """Where a library errs most."""

    ulp: float = 0.0
    """In ULP of the function's scale, beyond what underflow may add."""
    at: float = 0.0
    way: str = ""


def largest_error(f: Elementwise, ways: Ways, numbers: Iterable[np.ndarray]) -> Worst:
    """The largest error of a library's answers, of finite numbers that something is claimed of.

    Args:
        f: the function, whose scale the error is measured by.
        ways: float32 array (N,), N a multiple of 16, to float32 array.
        numbers: the arrays that are asked for.
    """
    worst = Worst()
    for x in numbers:
        wide = x.astype(np.float64)
        with np.errstate(all="ignore"):
            true = f.function(wide)
            scale = np.abs(true) if f.scale is None else f.scale(wide, wide)
            per_ulp = 1 / ulp_of(scale)  # infinite of nothing: what is exact there has no error
            unclaimed = (np.abs(true) >= MAX32) | (np.abs(wide) > f.limit)
            for way, answer in ways.items():
                error = (np.abs(answer(x) - true) - FLOOR) * per_ulp
                error[unclaimed] = 0
                place = int(error.argmax())  # that of NaN, if there is one
                if not error[place] <= worst.ulp:
                    worst = Worst(float(error[place]), float(x[place]), way)
    return worst


def every(stride: int) -> Iterator[np.ndarray]:
    """Finite float32 numbers: all of `_FULL` and every 64th other, or every n-th of these."""
    waiting: list[np.ndarray] = []
    for upper in range(0, 1 << 32, 1 << 23):
        exponent = (upper >> 23) % 256
        if exponent < 255:  # finite
            step = stride if exponent in _FULL else 64 * stride
            waiting.append(np.arange(upper, upper + (1 << 23), step, np.int64).astype(np.uint32))
        if waiting and (sum(map(len, waiting)) >= _CHUNK or exponent == 255):
            bits = np.concatenate(waiting)
            bits = np.resize(bits, -(-bits.size // _UNITS) * _UNITS)
            for start in range(0, bits.size, _CHUNK):
                yield bits[start : start + _CHUNK].view(np.float32)
            waiting = []


def _in_short_arrays(answer: Answer) -> Answer:
    """The same, asked for in arrays of one number to seven."""

    def short(x: np.ndarray) -> np.ndarray:
        ends = np.cumsum(np.arange(x.size) % 7 + 1)
        return np.concatenate([answer(part) for part in np.split(x, ends[ends < x.size])])

    return short


def _around(x: float) -> np.ndarray:
    """512 numbers next to one, every 53rd."""
    bits = int(np.float32(x).view(np.uint32)) + 53 * np.arange(-256, 256)
    found = np.clip(bits, 0, (1 << 32) - 1).astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(found), found, np.float32(x))


def _errors(ways_of: Callable[[str], Ways], names: Iterable[str], stride: int) -> dict[str, Worst]:
    found = {}
    for name in names:
        f, ways = ACTIVATIONS[name], ways_of(name)
        few = {f"{way}, short": _in_short_arrays(ways[way]) for way in ways if "Dense" not in way}
        worst = largest_error(f, ways, every(stride))
        # A short array is a call of its own: some numbers everywhere, more where it errs most.
        numbers = [*every(max(stride, _FEW)), _around(worst.at)]
        found[name] = max(worst, largest_error(f, few, numbers))
    return found


def _errors_at(ways_of: Callable[[str], Ways], places: Mapping[str, float]) -> dict[str, Worst]:
    return {
        name: largest_error(ACTIVATIONS[name], ways_of(name), [np.full(_UNITS, x, np.float32)])
        for name, x in places.items()
    }


def keras_ways(name: str) -> Ways:
    """Keras's answers to one activation; for the Keras process."""
    from keras_ref.family import activated

    return {
        "alone": lambda x: activated(name, x),
        "after Dense": lambda x: activated(name, x, _UNITS),
    }


def torch_ways(name: str) -> Ways:
    """PyTorch's answers; its loop for numbers that lie apart takes one at a time."""
    import torch
    from torch import Tensor
    from torch.nn import functional

    def squareplus(x: Tensor) -> Tensor:
        return (x + torch.sqrt(x * x + 4)) / 2

    def sparse_plus(x: Tensor) -> Tensor:
        return torch.where(x < 1, (x + 1).clamp(min=0) ** 2 / 4, x)

    def sparse_sigmoid(x: Tensor) -> Tensor:
        return ((x + 1) * 0.5).clamp(0, 1)

    by_name: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
        "linear": (lambda x: x,),
        "leaky_relu": (lambda x: functional.leaky_relu(x, 0.2),),
        "hard_tanh": (functional.hardtanh,),
        "hard_shrink": (functional.hardshrink,),
        "soft_shrink": (functional.softshrink,),
        "hard_sigmoid": (functional.hardsigmoid, lambda x: functional.relu6(x + 3) / 6),
        "hard_silu": (functional.hardswish, lambda x: x * (functional.relu6(x + 3) / 6)),
        "squareplus": (squareplus,),
        "sparse_plus": (sparse_plus,),
        "sparse_sigmoid": (sparse_sigmoid,),
        "exponential": (torch.exp,),
        "sigmoid": (torch.sigmoid,),
        "tanh": (torch.tanh,),
        "softplus": (functional.softplus, lambda x: functional.softplus(x, threshold=40)),
        "log_sigmoid": (functional.logsigmoid, lambda x: -functional.softplus(-x)),
        "silu": (functional.silu, lambda x: x * torch.sigmoid(x)),
        "gelu": (functional.gelu, lambda x: 0.5 * x * torch.erfc(-x * 0.5**0.5)),
        "mish": (functional.mish, lambda x: x * torch.tanh(functional.softplus(x))),
        "tanh_shrink": (functional.tanhshrink,),
    }
    own = by_name.get(name) or (getattr(functional, name),)

    def apart(function: Callable[[Tensor], Tensor]) -> Answer:
        def answer(x: np.ndarray) -> np.ndarray:
            return function(torch.from_numpy(np.stack([x, x], 1))[:, 0]).numpy()

        return answer

    together = {
        f"formula {i}": lambda x, f=f: f(torch.from_numpy(x)).numpy() for i, f in enumerate(own)
    }
    return together | {f"formula {i}, apart": apart(f) for i, f in enumerate(own)}


def keras_errors(names: Iterable[str], stride: int = 1) -> dict[str, Worst]:
    """The largest error of each activation of Keras's, by name; for the Keras process."""
    return _errors(keras_ways, names, stride)


def keras_errors_at(places: Mapping[str, float]) -> dict[str, Worst]:
    """The error of each at one number; for the Keras process."""
    return _errors_at(keras_ways, places)


def torch_errors(names: Iterable[str], stride: int = 1) -> dict[str, Worst]:
    """The largest error of each activation of PyTorch's, by name."""
    return _errors(torch_ways, names, stride)


def torch_errors_at(places: Mapping[str, float]) -> dict[str, Worst]:
    """The error of each at one number."""
    return _errors_at(torch_ways, places)


def main() -> None:
    """Measures both libraries and prints the result, one activation after the other."""
    from parity_tests.reference.keras_process import KerasProcess

    parser = argparse.ArgumentParser(
        prog="python -m parity_tests.judge.layers.measure", description=__doc__
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th (default 1)")
    parser.add_argument("names", nargs="*", help="Keras's, default every activation")
    asked = parser.parse_args()
    if asked.every < 1:
        parser.error("expected --every of at least 1")
    for name in asked.names:
        if name not in ACTIVATIONS:
            parser.error(f"no activation {name!r}; expected some of {', '.join(ACTIVATIONS)}")
    # The Keras process can import this file, but not the main module that it may be here.
    from parity_tests.judge.layers.measure import keras_errors

    with KerasProcess() as keras:
        for name in asked.names or ACTIVATIONS:
            theirs = keras.wait(keras.submit(keras_errors, [name], asked.every))
            ours = torch_errors([name], asked.every)
            for library, found in (("Keras", theirs), ("PyTorch", ours)):
                ulp, at, way = found[name]
                where = f" at {at:.9g} ({way})" if ulp else ""
                print(f"{name}, {library}: {ulp:.4f} ULP{where}", flush=True)


if __name__ == "__main__":
    main()
