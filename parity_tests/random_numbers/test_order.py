"""The compiled order of rows is the plain loop's, and rows are taken in it as torch takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from parity_tests.sides.compiler import each_way, needs_compiler, no_compiler
from torch_impl.keras import order
from torch_impl.keras.order import take_rows
from torch_impl.keras.random import random_bits, shuffle_permutation

DRAWN = 4096  # words at a time in the source


@pytest.fixture
def however_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code for any number of rows."""
    monkeypatch.setattr(order, "_MANY", 0)


@needs_compiler
@pytest.mark.usefixtures("however_few")
@pytest.mark.parametrize("n", [0, 1, 2, 3, 16, 17, DRAWN, DRAWN + 1, DRAWN + 2, 3 * DRAWN])
def test_the_compiled_order_is_the_plain_loops(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds whose key has one word, and 0, which TensorFlow steps around."""
    seeds = (0, 1, 42, 2**31 - 2, 2**31 - 1, 2**32 - 1)
    ours = [shuffle_permutation(seed, n) for seed in seeds]
    monkeypatch.setattr(order, "_MANY", n + 1)
    for seed, one in zip(seeds, ours, strict=True):
        assert one.dtype == torch.int64
        assert torch.equal(one, shuffle_permutation(seed, n))


@needs_compiler
@pytest.mark.usefixtures("however_few")
def test_each_word_of_key_and_counter_reaches_the_compiled_stream() -> None:
    """Fisher and Yates in NumPy, with words of a stream whose four are unlike."""
    n, (key, upper) = 50, ((1, 2**32 - 1), (7, 3))
    words = random_words(key, upper, n)
    places = np.arange(n)
    for i in range(n - 1):
        partner = i + int(words[i]) % (n - i)
        places[[i, partner]] = places[[partner, i]]
    came = order.compiled_shuffle(n, key, upper)
    assert came is not None
    np.testing.assert_array_equal(came.numpy(), places)


def random_words(key: tuple[int, int], upper: tuple[int, int], count: int) -> Any:
    """The stream of which `random_bits` gives those that a seed leads to."""
    from torch_impl.keras.random import _stream

    words = _stream(key, upper, count, 0)
    assert not torch.equal(words, random_bits((key[0], upper[0]), count))
    return words.numpy()


TABLES: dict[str, Callable[[Tensor], Tensor]] = {
    "as-they-are": lambda rows: rows,
    "float64": lambda rows: rows.double(),
    "bytes": lambda rows: rows.char(),
    "one-column": lambda rows: rows[:, :1].contiguous(),
    "one-axis": lambda rows: rows[:, 0].contiguous(),
    "three-axes": lambda rows: rows.view(len(rows), 1, -1),
    "no-columns": lambda rows: rows[:, :0].contiguous(),
    "a-column-of-a-table": lambda rows: rows[:, 1:2],
    "columns-first": lambda rows: rows.T.contiguous().T,
    "of-negated-numbers": lambda rows: torch._neg_view(rows),
}


@each_way
@pytest.mark.usefixtures("however_few")
@pytest.mark.parametrize("kind", TABLES)
def test_rows_are_taken_in_their_order(kind: str, way: Any) -> None:
    """Whatever they hold, and however they lie; the first and the last row too."""
    rows = torch.randn(300, 29, generator=torch.Generator().manual_seed(0)) * 50
    table = TABLES[kind](rows)
    with way():
        places = shuffle_permutation(3, len(table))
        came = take_rows(table, places)
    expected = np.stack([table[i].resolve_neg().numpy() for i in places.tolist()])
    assert came.dtype == table.dtype
    np.testing.assert_array_equal(came.resolve_neg().numpy(), expected, strict=True)
    assert came.data_ptr() != table.data_ptr() or table.numel() == 0


@pytest.mark.usefixtures("however_few")
def test_a_gradient_goes_back_through_rows_taken() -> None:
    """As through rows indexed."""
    table = torch.ones(3, 2, requires_grad=True)
    take_rows(table, torch.tensor([2, 0, 2])).sum().backward()
    assert table.grad is not None
    assert table.grad.tolist() == [[1, 1], [0, 0], [2, 2]]


def test_without_a_compiler_many_rows_are_ordered_with_one_warning() -> None:
    """Few with none, since the loop is through before a compiler has begun."""
    with no_compiler() as told:
        few = shuffle_permutation(1, order._MANY - 1)
        assert len(told) == 0
        many = shuffle_permutation(1, order._MANY)
        assert torch.equal(shuffle_permutation(1, order._MANY), many)
    assert [len(few), len(many)] == [order._MANY - 1, order._MANY]
    (one,) = told
    assert "order of rows" in str(one.message)
