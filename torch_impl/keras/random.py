"""TensorFlow's random stream, as Keras uses it, bit for bit.

Every number that the reference draws on Keras's TensorFlow backend comes from one
function, Philox4x32-10: a block cipher in miniature that turns a counter and a key into
four random 32-bit words (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC 2011). It has no state. Word i of a stream is a function of i, so any slice of a stream
is computed alone, on any device, in any order.

Reproduces, from the bottom up, TensorFlow's `core/lib/random/philox_random.h`,
`random_distributions_utils.h`, `core/kernels/stateless_random_ops.cc`, `random_op_cpu.h` and
`random_shuffle_op.cc`, and Keras's
`src/backend/tensorflow/random.py`, `src/random/seed_generator.py`,
`src/initializers/random_initializers.py` and
`src/trainers/data_adapters/array_data_adapter.py`.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_impl.keras.order import compiled_shuffle

__all__ = [
    "call_seed",
    "dropout_mask",
    "dropout_masks",
    "glorot_uniform",
    "layer_seeds",
    "normal",
    "philox4x32",
    "random_bits",
    "scaled_uniform",
    "shuffle_permutation",
    "stream_start",
    "truncated_normal",
    "uniform",
]

Device: TypeAlias = torch.device | str | None
Conversion: TypeAlias = Literal["op", "xla"]
_Words = TypeVar("_Words", Tensor, NDArray[np.int64])
Word: TypeAlias = Any  # 32 bits: an integer, or an int64 tensor or array of them

_MASK32 = 0xFFFFFFFF
_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, as 32-bit fractions
_SCRAMBLE_KEY = (0x3EC8F720, 0x02461E29)
_SWAPS = 2**16  # of a shuffle, made at a time
_GROUP, _GROUP_BLOCKS = 4, 256  # truncated numbers made together, and the blocks kept for them


def philox4x32(
    counter: tuple[Word, Word, Word, Word], key: tuple[Word, Word]
) -> tuple[Word, Word, Word, Word]:
    """The block function: four 32-bit words from a counter and a key.

    Each round multiplies two words by constants and mixes the high and low halves of the
    64-bit products into the other two. The same lines serve integers, tensors and arrays: in
    int64 the 64 bits of a product are kept, and a right shift followed by the mask reads its
    high half whatever its sign.

    Args:
        counter: four words in [0, 2**32): integers, and int64 tensors or NumPy arrays, of one
            kind and shape, with at least one axis.
        key: two such words.

    Returns:
        Four words: integers if all words came as integers, else int64 tensors or arrays.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0 = c0 * _MULTIPLIERS[0]
        product1 = c2 * _MULTIPLIERS[1]
        # In place on tensors and arrays. What lies above 32 bits in c1 and c3 is masked later.
        c0 = product1 >> 32
        c0 ^= c1
        c0 ^= k0
        c0 &= _MASK32
        c2 = product0 >> 32
        c2 ^= c3
        c2 ^= k1
        c2 &= _MASK32
        c1, c3 = product1, product0
        k0 = (k0 + _KEY_STEPS[0]) & _MASK32
        k1 = (k1 + _KEY_STEPS[1]) & _MASK32
    return c0, c1 & _MASK32, c2, c3 & _MASK32


def random_bits(seed: tuple[int, int], count: int, start: int = 0, device: Device = None) -> Tensor:
    """Words start … start + count - 1 of the stream of a stateless TensorFlow op.

    Args:
        seed: the op's `seed=[s0, s1]`, each an integer of 64 bits, signed or not.
        count: number of words.
        start: index of the first word; it need not be a multiple of four.
        device: where the words are computed.

    Returns:
        int64 (count,), each in [0, 2**32).

    Raises:
        ValueError: `count` or `start` is negative.
    """
    return _stream(*_opened(seed), count, start, device)


def uniform(
    seed: tuple[int, int],
    shape: Sequence[int],
    start: int = 0,
    conversion: Conversion = "op",
    device: Device = None,
) -> Tensor:
    """What `tf.random.stateless_uniform(shape, seed)` gives: float32 in [0, 1).

    23 random bits become the mantissa of a float in [1, 2), and 1 is subtracted.

    Args:
        seed: the op's `seed=[s0, s1]`.
        shape: of the result.
        start: index of the first element in the stream; a slice of a larger result is
            computed alone by its start and shape.
        conversion: which bits. `"op"` takes the low 23 of each word, as TensorFlow's
            kernels do op by op and in graphs; `"xla"` the high 23, as the compiler does
            under `jit_compile=True`.
        device: where the numbers are computed.

    Raises:
        ValueError: `conversion` is neither, or `start` is negative.
    """
    if conversion == "xla":
        seed = seed[0] & _MASK32, seed[1] & _MASK32  # the compiler drops the upper halves
    bits = random_bits(seed, math.prod(shape), start, device)
    return _mantissas(bits, conversion).reshape(tuple(shape)).float() * 2.0**-23


def normal(
    seed: tuple[int, int], shape: Sequence[int], start: int = 0, device: Device = None
) -> Tensor:
    """What `tf.random.stateless_normal(shape, seed)` gives: float32, mean 0, deviation 1.

    Box and Muller's transform of two words x₀, x₁ of the stream at a time: with
    u₁ = max(u(x₀), 1e-7), r = √(-2 log u₁) and v = 2π u(x₁) it gives r sin v, then r cos v;
    u is `uniform`'s of the word, and each step is rounded to float32.

    Logarithm, sine and cosine are correctly rounded here. TensorFlow calls the C library's, which
    are not: 98.5 % of its numbers are the same, the others up to 3 ULP away. XLA draws normal
    numbers in another way, which is not given here.

    Args:
        seed: the op's `seed=[s0, s1]`.
        shape: of the result.
        start: index of the first element in the stream, see `uniform`.
        device: where the numbers are computed; it must have float64.

    Raises:
        ValueError: `start` is negative.
    """
    count, pair = math.prod(shape), start // 2
    pairs = -(-(start + count) // 2) - pair
    numbers = _box_muller(random_bits(seed, 2 * pairs, 2 * pair, device))
    return numbers[start % 2 :][:count].reshape(tuple(shape))


def truncated_normal(
    seed: tuple[int, int], shape: Sequence[int], start: int = 0, device: Device = None
) -> Tensor:
    """What `tf.random.stateless_truncated_normal(shape, seed)` gives: float32 in (-2, 2).

    Four numbers at a time are the first four below 2 in size of a stream of `normal` numbers;
    group g reads its own from block 256 g on. The deviation is 0.8796.

    Args:
        seed: the op's `seed=[s0, s1]`.
        shape: of the result.
        start: index of the first element, see `uniform`.
        device: where the numbers are computed; it must have float64.

    Raises:
        ValueError: `start` is negative.
    """
    count, first = math.prod(shape), start // _GROUP
    if start < 0:
        raise ValueError(f"start is {start}, expected 0 or more")
    key, upper = _opened(seed)
    waiting = torch.arange(first, -(-(start + count) // _GROUP), device=device)
    drawn = torch.empty((len(waiting), _GROUP), device=device)
    blocks = 1  # read for each group; five of six have their four numbers then
    while len(waiting):
        of_group = torch.arange(blocks, device=device)
        block = (waiting[:, None] * _GROUP_BLOCKS + of_group).flatten()
        words = _interleave(_blocks_at(key, upper, block), 0, 4 * len(block))
        numbers = _box_muller(words).view(len(waiting), -1)
        taken = numbers.abs() < 2
        taken &= taken.cumsum(-1) <= _GROUP
        full = taken.sum(-1) == _GROUP
        drawn[waiting[full] - first] = numbers[full][taken[full]].view(-1, _GROUP)
        waiting, blocks = waiting[~full], 2 * blocks
    return drawn.flatten()[start % _GROUP :][:count].reshape(tuple(shape))


def scaled_uniform(
    seed: int, shape: Sequence[int], minval: float, maxval: float, device: Device = None
) -> Tensor:
    """What `keras.random.uniform(shape, minval, maxval, seed=seed)` gives: float32.

    Args:
        seed: an integer that fits int64.
        shape: of the result.
        minval: the least number there may be; rounded to float32, as `maxval`.
        maxval: what all numbers are below, where rounding does not take one up to it.
        device: where the numbers are computed.

    Raises:
        ValueError: `seed` does not fit.
    """
    least, most = np.float32(minval), np.float32(maxval)
    u = uniform(call_seed(seed, 0), shape, device=device)
    return u * float(most - least) + float(least)


def glorot_uniform(seed: int, shape: Sequence[int], device: Device = None) -> Tensor:
    """What `keras.initializers.GlorotUniform(seed)(shape)` gives, in Keras's layout.

    Args:
        seed: the initializer's, an integer that fits int64.
        shape: (fan_in, fan_out) of a kernel (the transpose of a torch weight), or (n,),
            which Keras takes for fan_in = fan_out = n.
        device: where the numbers are computed.

    Returns:
        float32 of that shape, in [-limit, limit) with limit = sqrt(6 / (fan_in + fan_out)).

    Raises:
        ValueError: `shape` has other than one or two axes, or `seed` does not fit.
    """
    if len(shape) not in (1, 2):
        raise ValueError(f"shape is {tuple(shape)}, expected (fan_in, fan_out) or (n,)")
    fan_in, fan_out = shape[0], shape[-1]
    limit = math.sqrt(6.0 / max(2, fan_in + fan_out))
    return scaled_uniform(seed, shape, -limit, limit, device)


def dropout_mask(
    seed: int,
    step: int,
    rate: float,
    rows: range,
    units: int,
    conversion: Conversion = "op",
    device: Device = None,
) -> Tensor:
    """Which units `keras.layers.Dropout(rate, seed=seed)` keeps: True where kept.

    The layer multiplies what it keeps by `1 / (1 - rate)`, rounded to float32.

    Args:
        seed: the layer's, an integer that fits int64 (see `layer_seeds` for a layer made
            without one).
        step: how many training calls the layer had before this one.
        rate: share of units dropped, 0 to 1. At 0 and 1 Keras draws nothing and does not
            count the call.
        rows: consecutive rows of the batch, `range(batch_size)` for all of them. The mask
            of a row does not depend on the size of its batch.
        units: width of a row.
        conversion: `"xla"` if the reference runs under `jit_compile=True`, see `uniform`.
        device: where the mask is computed.

    Returns:
        bool (len(rows), units).

    Raises:
        ValueError: `rate` is outside [0, 1], `rows` is not consecutive from 0 or later,
            `step` is negative, or `seed` or `step` does not fit int64.
    """
    steps = range(step, step + 1)
    return dropout_masks(seed, steps, rate, rows, units, conversion, device)[0]


def dropout_masks(
    seed: int,
    steps: range,
    rate: float,
    rows: range,
    units: int,
    conversion: Conversion = "op",
    device: Device = None,
) -> Tensor:
    """`dropout_mask` of consecutive training calls at once.

    Args:
        seed: see `dropout_mask`.
        steps: consecutive training calls, counted from 0.
        rate: see `dropout_mask`.
        rows: see `dropout_mask`.
        units: see `dropout_mask`.
        conversion: see `dropout_mask`.
        device: see `dropout_mask`.

    Returns:
        bool (len(steps), len(rows), units).

    Raises:
        ValueError: as `dropout_mask`.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is {rate}, expected 0 to 1")
    if rows.step != 1 or rows.start < 0:
        raise ValueError(f"rows is {rows}, expected consecutive rows from 0 or later")
    if steps.step != 1 or steps.start < 0:
        raise ValueError(f"step is {steps.start}, expected 0 or more")
    shape = (len(steps), len(rows), units)
    starts = stream_start(seed, steps.start, len(steps)).T.unsqueeze(-1)
    starts = starts.to(torch.empty(0, device=device).device)
    first, count = rows.start * units, len(rows) * units
    words = _blocks(starts[:2], starts[2:], first, count, device)
    # u ≥ rate in float32, to which Keras rounds the rate, without making the floats.
    threshold = math.ceil(float(np.float32(rate)) * 2**23)
    kept = [_mantissas(word, conversion) >= threshold for word in words]
    return _interleave(kept, first, count).reshape(shape)


def shuffle_permutation(seed: int, n: int) -> Tensor:
    """The order in which `fit(shuffle=True)` takes n rows after `set_random_seed(seed)`.

    Keras shuffles in a `tf.data` map that starts anew with every epoch, so the order is
    the same in all of them: batch b of size B takes rows `permutation[b * B : (b + 1) * B]`.

    Args:
        seed: what `keras.utils.set_random_seed` got, 0 to 2**32 - 1.
        n: number of rows.

    Returns:
        int64 (n,) on the CPU, each row once.

    Raises:
        ValueError: `seed` is outside its range, or `n` is negative.
    """
    _check_global_seed(seed)
    if n < 0:
        raise ValueError(f"n is {n}, expected 0 or more")
    # TensorFlow keeps its global seed below 2**31 - 1. A graph's first random op has op
    # seed 0, but the pair (0, 0) means "unseeded" there and is stepped around.
    key = seed % (2**31 - 1)
    op_seed = 0 if key else 2**31 - 1
    stream = _halves(key), _halves(op_seed)
    compiled = compiled_shuffle(n, *stream)
    if compiled is not None:
        return compiled
    # Fisher-Yates: place i gets one of the n - i rows not yet placed. Swaps depend on each
    # other, so they run in a plain loop, over an array of bytes to spare memory.
    order = array("q", range(n))
    for first in range(0, n - 1, _SWAPS):
        places = torch.arange(first, min(first + _SWAPS, n - 1))
        words = _stream(*stream, len(places), first)
        for i, partner in enumerate((places + words % (n - places)).tolist(), first):
            order[i], order[partner] = order[partner], order[i]
    return torch.tensor(order, dtype=torch.int64)


def layer_seeds(seed: int, count: int) -> list[int]:
    """The seeds that Keras draws, in order, after `keras.utils.set_random_seed(seed)`.

    A random initializer or a Dropout made without a seed takes the next one when it is
    constructed. For Dense, Dropout, Dense these are the first kernel's, the dropout's and
    the second kernel's. Zeros and constant initializers take none, and neither does
    `Dropout(0)`. `Dense(bias_initializer=None)` means Glorot-uniform and takes one when the
    layer is built: in a `Sequential` that is after all its layers were constructed.

    Args:
        seed: what `set_random_seed` got, 0 to 2**32 - 1.
        count: how many draws.

    Returns:
        Integers from 1 to 10**9.

    Raises:
        ValueError: `seed` is outside its range.
    """
    _check_global_seed(seed)
    generator = random.Random(seed)
    return [generator.randint(1, int(1e9)) for _ in range(count)]


def call_seed(seed: int, call: int) -> tuple[int, int]:
    """The op's seed in a layer's training call, counted from 0.

    Args:
        seed: the layer's, see `dropout_mask`.
        call: how many calls came before.
    """
    return _keras_seed(seed), _keras_seed(call)


def stream_start(seed: int, first_step: int, steps: int) -> Tensor:
    """Where the mask streams of successive training calls start.

    Args:
        seed: the dropout layer's.
        first_step: count of the first call.
        steps: how many calls.

    Returns:
        int64 (steps, 4): for each call the two words of the key, and the upper two of the
        counter, from which `dropout_mask` draws.
    """
    calls = range(first_step, first_step + steps)
    counts = np.array([_keras_seed(call) for call in calls], dtype=np.int64)
    seed_words = _halves(_keras_seed(seed))
    # A count is below 2**31, so its upper half is 0.
    words = philox4x32((*seed_words, counts, 0), _SCRAMBLE_KEY)
    return torch.from_numpy(np.stack(words, axis=-1))


def _mantissas(bits: _Words, conversion: Conversion) -> _Words:
    """The 23 bits of each word that become a uniform number, int64."""
    if conversion not in ("op", "xla"):
        raise ValueError(f"conversion is {conversion!r}, expected 'op' or 'xla'")
    return bits & 0x7FFFFF if conversion == "op" else bits >> 9


def _box_muller(words: Tensor) -> Tensor:
    """As many normal numbers as there are words, an even number of them; float32."""
    # In float64 and rounded, the three functions are correctly rounded: none of their values at
    # the 2**23 numbers that come here is within 20 ULP of float64 of a tie between two float32.
    # So is the root, which torch's CPU kernel does not round correctly in float32.
    u = _mantissas(words, "op").double() * 2.0**-23
    log = torch.log(u[0::2].clamp_min(float(np.float32(1e-7)))).float().double()
    angle = (u[1::2] * (2 * math.pi)).float().double()
    unit = torch.stack((torch.sin(angle), torch.cos(angle)), dim=-1).float()
    return (unit * torch.sqrt(-2 * log).float().unsqueeze(-1)).flatten()


def _halves(word64: int) -> tuple[int, int]:
    return word64 & _MASK32, (word64 >> 32) & _MASK32


def _opened(seed: tuple[int, int]) -> tuple[tuple[Word, Word], tuple[Word, Word]]:
    """The key, and the upper half of the counter, of the stream of a stateless op."""
    # A first block makes them of the seed, so that neighbouring seeds give unrelated streams.
    key0, key1, upper0, upper1 = philox4x32((*_halves(seed[0]), *_halves(seed[1])), _SCRAMBLE_KEY)
    return (key0, key1), (upper0, upper1)


def _stream(
    key: Sequence[Word], upper: Sequence[Word], count: int, start: int, device: Device = None
) -> Tensor:
    """Words start … start + count - 1 of a stream, int64 (count,).

    Args:
        key: the stream's two words.
        upper: the upper two of its counter.
        count: number of words.
        start: index of the first.
        device: where they are computed.
    """
    return _interleave(_blocks(key, upper, start, count, device), start, count)


def _blocks(
    key: Sequence[Word] | Tensor,
    upper: Sequence[Word] | Tensor,
    start: int,
    count: int,
    device: Device,
) -> Sequence[Word]:
    """The four words of each block, at counters (i low, i high, *upper), that the slice touches.

    Args:
        key: two words; tensors (streams, 1) for several streams at once, as `upper`.
        upper: the counter's other two words.
        start: index of the slice's first word.
        count: its length.
        device: where they are computed.

    Returns:
        Four int64 tensors (blocks,), or (streams, blocks); arrays on the CPU.
    """
    if count < 0 or start < 0:
        raise ValueError(f"count is {count} and start {start}, expected 0 or more")
    return _blocks_at(key, upper, torch.arange(start // 4, -(-(start + count) // 4), device=device))


def _blocks_at(
    key: Sequence[Word] | Tensor, upper: Sequence[Word] | Tensor, block: Tensor
) -> Sequence[Word]:
    """`_blocks` at any indices, int64 (blocks,)."""
    upper0, upper1 = (block.new_zeros(()) + word for word in upper)
    shape = (*upper0.shape[:1], len(block))
    counter = (block & _MASK32, block >> 32, upper0, upper1)
    words: list[Word] = [*(word.expand(shape) for word in counter), key[0], key[1]]
    if block.device.type == "cpu":
        # On the same memory NumPy multiplies integers of 64 bits in less than half the time.
        words = [word.numpy() if isinstance(word, Tensor) else word for word in words]
    c0, c1, c2, c3, k0, k1 = words
    return philox4x32((c0, c1, c2, c3), (k0, k1))


def _interleave(words: Sequence[Word], start: int, count: int) -> Tensor:
    """What was made of each word of `_blocks`, in the order of the stream: (…, count)."""
    skipped = start % 4
    tensors = isinstance(words[0], Tensor)
    stacked = torch.stack(list(words), dim=-1) if tensors else torch.from_numpy(np.stack(words, -1))
    return stacked.flatten(-2)[..., skipped : skipped + count]


def _keras_seed(value: int) -> int:
    """Keras holds seeds as int64 and hands TensorFlow their remainder in int32."""
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"seed or step is {value}, expected an integer that fits int64")
    return value % (2**31 - 2)


def _check_global_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}, expected 0 to 2**32 - 1 as for set_random_seed")
