"""Who computes which rows, and that nothing depends on who does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_impl import KerasDropout
from torch_impl.base.processes import ALONE, Part, Processes, processes
from torch_impl.keras.layers.drawing import Drawing
from torch_impl.keras.layers.noise import (
    KerasAlphaDropout,
    KerasGaussianDropout,
    KerasGaussianNoise,
)
from torch_impl.keras.random import dropout_mask, uniform
from torch_impl.training.shares import TILE, Batches, share_of, tree_sum

COUNTS = (1, 2, 3, 4, 5, 7, 8, 64, 512)
ROWS = (1, 2, 63, 64, 65, 128, 129, 700, 2048, 2049, 4097, 100_001)


def members(count: int) -> list[Processes]:
    return [Processes(rank, count) for rank in range(count)]


def test_a_process_of_torchrun_without_a_group_is_told_that_it_does_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that torchrun started by itself, or somebody else, is not."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert processes() is ALONE
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.warns(UserWarning, match=r"torchrun started 3 processes.*init_process_group first"):
        assert processes() is ALONE
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert processes() is ALONE


@pytest.mark.parametrize("count", COUNTS)
def test_each_row_of_a_batch_is_one_processs(count: int) -> None:
    """Their parts follow each other, of whole tiles but for the last one, nearly alike."""
    for rows in ROWS:
        shares = [share_of(rows, member) for member in members(count)]
        assert [row for share in shares for row in share.rows] == list(range(rows)), rows
        assert {(share.level, share.of, share.of_rows) for share in shares} == {
            (shares[0].level, shares[0].of, rows)
        }
        slots = [slot for share in shares for slot in share.slots]
        assert slots == list(range(-(-rows // (TILE << shares[0].level)))), rows
        for share in shares:
            assert share.rows.start % TILE == 0 or not share.rows
        sizes = [len(share.slots) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        # Where there are tiles enough, a slot more or less is a quarter at most.
        assert len(slots) > 4 * count or shares[0].level == 0


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    ("rows", "size"), [(700, 128), (1000, 1000), (513, 512), (9, 2000), (1, 1)]
)
def test_each_row_of_an_epoch_is_one_processs(rows: int, size: int, count: int) -> None:
    """And a part of the epoch is where it is among a process's rows."""
    every = [Batches(rows, size, member) for member in members(count)]
    places = [batches.places() for batches in every]
    assert sorted(torch.cat(places).tolist()) == list(range(rows))
    for batches, own in zip(every, places, strict=True):
        assert own.tolist() == sorted(own.tolist())
        for start in range(0, rows, size):
            for stop in {min(start + 2 * size, rows), rows}:
                inside = [place for place in own.tolist() if start <= place < stop]
                assert own[batches.own(slice(start, stop))].tolist() == inside


def test_a_tree_adds_neighbours_first() -> None:
    """Of powers of a large number each sum tells which two it is of."""

    class Told(str):
        def __add__(self, other: str) -> Told:
            return Told(f"({self!s} {other})")

    leaves: list[Any] = [Told(i) for i in range(7)]
    assert tree_sum(leaves) == "(((0 1) (2 3)) ((4 5) 6))"
    assert tree_sum(leaves[:5]) == "(((0 1) (2 3)) 4)"
    assert tree_sum(leaves[:1]) == "0"


@pytest.mark.parametrize("leaves", [1, 2, 3, 5, 31, 32, 33, 100])
def test_a_tree_over_subtrees_is_the_tree(leaves: int) -> None:
    """To the bit, wherever it is cut: what makes slots of any size give one sum."""
    parts = [*torch.randn(leaves, 9, generator=torch.Generator().manual_seed(1))]
    for level in range(8):
        width = 2**level
        subtrees = [tree_sum(parts[i : i + width]) for i in range(0, leaves, width)]
        assert torch.equal(tree_sum(subtrees), tree_sum(parts)), level


DRAWING: dict[str, Drawing] = {
    "dropout": KerasDropout(0.4, 11),
    "xla": KerasDropout(0.4, 11, "xla"),
    "noise": KerasGaussianNoise(0.5, 11),
    "gaussian-dropout": KerasGaussianDropout(0.5, 11),
    "alpha-dropout": KerasAlphaDropout(0.5, 11),
}


def drawn(layer: Drawing, x: Tensor, part: Part | None, calls: int) -> Tensor:
    layer.part, layer.calls = part, calls
    outputs: Tensor = layer.train()(x)
    assert layer.calls == calls + 1
    layer.part = None
    return outputs


@pytest.mark.parametrize("shape", [(70, 3), (70, 1), (70, 2, 3)], ids=["odd", "column", "deep"])
@pytest.mark.parametrize("name", DRAWING)
def test_a_part_of_a_batch_draws_what_the_whole_draws(name: str, shape: tuple[int, ...]) -> None:
    """From any row on, none of its rows too; a width of three puts it in the middle of a block."""
    x = torch.ones(shape)
    for calls in (0, 17):
        whole = drawn(DRAWING[name], x, None, calls)
        for first, end in ((0, 70), (0, 1), (1, 40), (37, 70), (64, 70), (70, 70)):
            part = Part(first, 70, Processes(1, 2))
            came = drawn(DRAWING[name], x[first:end], part, calls)
            assert torch.equal(came, whole[first:end]), (first, end)


def test_a_part_of_a_mask_is_kerass() -> None:
    """Of row 37 on, as the stream that is proved against Keras's has it."""
    layer, rate = KerasDropout(0.4, 11), 0.4
    came = drawn(layer, torch.ones(20, 3), Part(37, 70, Processes(1, 2)), 5) != 0
    assert torch.equal(came, dropout_mask(11, 5, rate, range(37, 57), 3))
    draws = uniform((11, 5), (70, 3))[37:57]
    assert torch.equal(came, draws >= np.float32(rate))
