"""Philox in torch is Philox, and its stream is TensorFlow's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import ON_TENSORFLOW
from torch_impl.keras.random import _blocks, _interleave, philox4x32, random_bits, uniform

# Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, block.
KNOWN_ANSWERS = {
    "zeros": (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    "ones": (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    "pi": (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
}

# Both words differ and have their halves apart, so that no swap goes unseen.
SEEDS = [
    (0, 0),
    (1, 0),
    (0, 1),
    (42, 7),
    (2**31, 2**32 - 1),
    (0x0123456789ABCDEF, 0x7EDCBA9876543210),
    (-1, -(2**63)),
]

int64s = st.integers(-(2**63), 2**63 - 1)


def _words(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize("answer", KNOWN_ANSWERS.values(), ids=KNOWN_ANSWERS)
def test_philox_gives_the_published_known_answers(answer: tuple[str, str, str]) -> None:
    """With integers, and with tensors and arrays of all three answers' words at once."""
    counter, key, block = map(_words, answer)
    assert philox4x32(counter, key) == block
    counters, keys, blocks = (
        torch.tensor(list(map(_words, column))).unbind(-1)
        for column in zip(*KNOWN_ANSWERS.values(), strict=True)
    )
    for came, expected in zip(philox4x32(counters, keys), blocks, strict=True):
        assert torch.equal(came, expected)
    c0, c1, c2, c3, k0, k1 = (word.numpy() for word in (*counters, *keys))
    for array, expected in zip(philox4x32((c0, c1, c2, c3), (k0, k1)), blocks, strict=True):
        np.testing.assert_array_equal(array, expected.numpy(), strict=True)


@ON_TENSORFLOW
@pytest.mark.parametrize("seed", SEEDS, ids=str)
def test_bits_are_tensorflows(seed: tuple[int, int], keras: KerasProcess) -> None:
    """1,003 words: the last block is cut."""
    theirs = keras.call("random.random_bits", seed, 1003)
    np.testing.assert_array_equal(random_bits(seed, 1003).numpy(), theirs.astype(np.int64))


@ON_TENSORFLOW
@pytest.mark.parametrize("shape", [(1,), (5, 3), (0, 4), (2, 3, 7), (911, 37)], ids=str)
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_uniform_is_tensorflows(mode: str, shape: tuple[int, ...], keras: KerasProcess) -> None:
    """Bit for bit in each way of running: the compiler takes other bits of the same words."""
    conversion = "xla" if mode == "xla" else "op"
    for seed in SEEDS:
        theirs = keras.call("random.uniform", seed, shape, mode)
        ours = uniform(seed, shape, conversion=conversion).numpy()
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=40)
@given(seed=st.tuples(int64s, int64s), cuts=st.lists(st.integers(0, 300), min_size=2))
def test_slices_of_the_stream_concatenate_to_the_whole(
    seed: tuple[int, int], cuts: list[int]
) -> None:
    """Wherever it is cut, in the middle of a block too."""
    cuts = sorted(cuts)
    pieces = [random_bits(seed, b - a, start=a) for a, b in pairwise(cuts)]
    assert torch.equal(torch.cat(pieces), random_bits(seed, cuts[-1])[cuts[0] :])


def test_slice_beyond_2_to_34_words_carries_into_the_second_counter_word() -> None:
    """Block 2**32 has the counter (0, 1, …), which no stream of a tractable size reaches."""
    before, after = random_bits((42, 7), 8, start=2**34 - 4).split(4)
    key0, key1, upper0, upper1 = philox4x32((42, 0, 7, 0), (0x3EC8F720, 0x02461E29))
    assert tuple(before.tolist()) == philox4x32((2**32 - 1, 0, upper0, upper1), (key0, key1))
    assert tuple(after.tolist()) == philox4x32((0, 1, upper0, upper1), (key0, key1))


@given(seed=st.tuples(int64s, int64s), start=st.integers(0, 2**40))
def test_uniform_stays_in_its_range(seed: tuple[int, int], start: int) -> None:
    """0 ≤ u < 1, and 2**23 u is an integer, in both conversions."""
    for conversion in ("op", "xla"):
        u = uniform(seed, (50,), start, conversion)
        assert ((u >= 0) & (u < 1)).all()
        assert torch.equal(u * 2**23, (u * 2**23).round())


@pytest.mark.parametrize("shape", [(), (3, 1)], ids=["one-stream", "three-streams"])
def test_words_in_tensors_come_in_the_order_of_words_in_arrays(shape: tuple[int, ...]) -> None:
    """Arrays are the CPU's, tensors every other device's; the slice starts inside a block."""
    generator = torch.Generator().manual_seed(0)
    starts = [torch.randint(2**32, shape, generator=generator) for _ in range(4)]
    words = _blocks(starts[:2], starts[2:], 5, 14, None)
    assert {type(word) for word in words} == {np.ndarray}
    in_order = _interleave(words, 5, 14)
    assert in_order.shape == (*shape[:1], 14)
    assert torch.equal(_interleave([torch.from_numpy(word) for word in words], 5, 14), in_order)
