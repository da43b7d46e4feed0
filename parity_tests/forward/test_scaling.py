"""Compiled features are torch's, bit for bit, and nobody who follows a tensor is passed over."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from parity_tests import ROOT
from parity_tests.sides.compiler import needs_compiler, no_compiler
from torch_impl import FeatureTransform, features
from torch_impl.base import scaling
from torch_impl.base.memory import plain_numbers

BLOCK = scaling._BLOCK
NOT_ORDINARY = (
    np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 1e308, -1e308, -0.001, -7.0,
)  # fmt: skip


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[mock.Mock]:
    """Compiled code for any number of rows; counts what it is asked for."""
    monkeypatch.setattr(features, "_MANY", 0)
    with mock.patch.object(features, "scale_rows", side_effect=scaling.scale_rows) as asked:
        yield asked


def amounts(rows: int, columns: int) -> Tensor:
    """Of every size, some beyond the clip, and what is no ordinary number in every column."""
    draw = np.random.default_rng(rows)
    table = draw.standard_t(2, (rows, columns)) * np.geomspace(1e-3, 1e5, columns)
    table[:, 0] = np.round(np.exp(draw.normal(3, 2, rows)), 2)
    table[:, -1] = np.round(np.exp(draw.normal(3, 2, rows)), 2)
    for i, value in enumerate(NOT_ORDINARY):
        table[i * 7 % rows, i % columns] = table[-1 - i * 5 % rows, -1 - i % columns] = value
    return torch.from_numpy(table)


def transform(columns: int, **options: Any) -> FeatureTransform:
    """Scales whose quotients are rounded, and one by whose reciprocal they are not."""
    draw = np.random.default_rng(columns)
    scales = np.exp(draw.normal(0, 3, columns))
    scales[columns // 2] = 2.0
    return FeatureTransform(draw.normal(0, 10, columns), scales, **options)


def bits(numbers: Tensor) -> np.ndarray:
    """NaN by NaN, sign and payload too."""
    whole = {torch.float32: np.int32, torch.float64: np.int64}[numbers.dtype]
    return numbers.numpy().view(whole)


OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {},
    "a-narrow-clip": {"clip": 0.3},
    "no-clip": {"clip": np.inf},
    "no-logarithm": {"log_column": None},
    "logarithm-of-the-first": {"log_column": 0, "log_offset": 0.5},
}


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_compiled_features_are_torchs_to_the_bit(
    options: dict[str, Any], dtype: torch.dtype, compiled: mock.Mock
) -> None:
    """Around each number of rows that is taken at once; NaN and infinities as torch has them."""
    sizes = [*product((1, 8, 33), (1, 9, BLOCK - 1, BLOCK, BLOCK + 1))]
    for columns, rows in sizes:
        ours = transform(columns, **options).to(dtype)
        table = amounts(rows, columns)
        came, kept = ours(table), table.clone()
        with mock.patch.object(features, "_MANY", table.numel() + 1):
            expected = ours(table)
        assert came.dtype == dtype
        np.testing.assert_array_equal(bits(came), bits(expected), strict=True)
        np.testing.assert_array_equal(bits(table), bits(kept))
    assert compiled.call_count == len(sizes)


@needs_compiler
def test_torchs_logarithm_does_not_depend_on_where_a_number_stands() -> None:
    """A million amounts, all at once and by blocks that begin anywhere."""
    numbers = torch.from_numpy(np.exp(np.random.default_rng(1).normal(3, 4, 1_000_003)))
    whole = torch.log(numbers)
    for length in (1, 2, 3, 5, 7, 8, 13, 31, 64, 2047, 2048):
        start = 17 * length
        parts = [torch.log(part) for part in numbers[start : start + 3000 * length].split(length)]
        assert torch.equal(torch.cat(parts), whole[start : start + 3000 * length])


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_a_pass_over_rows_is_the_work_of_one_thread() -> None:
    """However many there may be: where the cores are busy, each region that is shared out waits.

    torch starts its own where it first shares something out, as a single logarithm then shows.
    """
    program = """
import os, numpy, torch
from torch_impl import FeatureTransform, FraudClassifier
from torch_impl.scoring import probabilities
torch.set_num_threads(3)
transform, model = FeatureTransform([0.0] * 29, [1.0] * 29), FraudClassifier(seed=1)
rows = numpy.ones((40_000, 29))
counts = [len(os.listdir("/proc/self/task"))]
for work in (transform, lambda x: probabilities(transform, model, x), torch.log):
    work(torch.from_numpy(rows))
    counts.append(len(os.listdir("/proc/self/task")) - counts[0])
print(*counts[1:])
"""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    transforming, scoring, one_logarithm = map(int, answer.stdout.split())
    assert (transforming, scoring) == (0, 0)
    assert one_logarithm > 0, "the count sees them"


@needs_compiler
@pytest.mark.parametrize(("missing", "times"), [(0, 1), (1, 0)], ids=["many", "few"])
def test_few_rows_are_left_to_torch(missing: int, times: int) -> None:
    """No compiler is started for what is over before it has begun."""
    one_column = transform(1)
    table = torch.ones(features._MANY - missing, 1, dtype=torch.float64)
    with mock.patch.object(features, "scale_rows", side_effect=scaling.scale_rows) as asked:
        one_column(table)
    assert asked.call_count == times


@pytest.mark.usefixtures("compiled")
def test_without_a_compiler_features_are_the_same_with_one_warning() -> None:
    """However many transforms there are."""
    table = amounts(500, 29)
    with mock.patch.object(features, "_MANY", table.numel() + 1):
        expected = bits(transform(29)(table))
    with no_compiler() as told:
        for _ in range(2):
            np.testing.assert_array_equal(bits(transform(29)(table)), expected)
    (one,) = told
    assert "slower operations" in str(one.message)


class Sub(Tensor):
    """Sees every operation on it."""


class Below(Tensor):
    """Sees what operations become, below torch's functions."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class Watching(TorchFunctionMode):
    """Sees every operation."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        return function(*arguments, **(options or {}))


def _vmapped(module: nn.Module, table: Tensor) -> Tensor:
    return torch.vmap(module)(table.unflatten(0, (5, -1))).flatten(0, 1)


def _pushed_forward(module: nn.Module, table: Tensor) -> Tensor:
    with forward_ad.dual_level():
        came = module(forward_ad.make_dual(table, torch.ones_like(table)))
        value, tangent = forward_ad.unpack_dual(came)
        assert tangent is not None
        assert tangent.abs().max() > 0
        return value


def _pulled_back(module: nn.Module, table: Tensor) -> Tensor:
    leaf = table.clone().requires_grad_()
    came = module(leaf)
    came.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().max() > 0
    return came.detach()


def _watched(mode: Any) -> Callable[[nn.Module, Tensor], Tensor]:
    def run(module: nn.Module, table: Tensor) -> Tensor:
        with mode:
            return module(table)

    return run


FOLLOWED: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "jit.trace": lambda m, t: torch.jit.trace(m, (t[:9],), check_trace=False)(t),
    "export": lambda m, t: torch.export.export(
        m, (t,), dynamic_shapes=({0: torch.export.Dim("rows", min=2)},)
    ).module()(t),
    "make_fx": lambda m, t: make_fx(m)(t)(t),
    "compile": lambda m, t: torch.compile(m, backend="aot_eager", fullgraph=True)(t),
    "vmap": _vmapped,
    "jvp": lambda m, t: torch.func.jvp(m, (t,), (torch.ones_like(t),))[0],
    "functionalize": lambda m, t: torch.func.functionalize(m)(t),
    "a-forward-gradient": _pushed_forward,
    "a-gradient": _pulled_back,
    "a-subclass": lambda m, t: m(t.as_subclass(Sub)).as_subclass(Tensor),
    "a-subclass-below": lambda m, t: m(t.as_subclass(Below)).as_subclass(Tensor),
    "statistics-put-in-its-place": lambda m, t: torch.func.functional_call(
        m, {"mean": m.mean.clone().requires_grad_()}, (t,)
    ).detach(),
    "operations-counted": _watched(FlopCounterMode(display=False)),
    "functions-seen": _watched(Watching()),
    "negated-numbers": lambda m, t: m(torch._neg_view(-t)),
    "columns-first": lambda m, t: m(t.T.contiguous().T),
    "float32": lambda m, t: m(t.float()),
    "three-axes": lambda m, t: m(t.unsqueeze(1)).squeeze(1),
}


SLOW = ("export", "compile", "jvp")


@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    "how", [pytest.param(h, marks=[pytest.mark.slow] * (h in SLOW)) for h in FOLLOWED]
)
def test_nobody_who_follows_the_rows_is_passed_over(how: str, compiled: mock.Mock) -> None:
    """Torch's own operations run, and give what they always did."""
    module = transform(29)
    table = torch.arange(40 * 29, dtype=torch.float64).reshape(40, 29) / 8
    with mock.patch.object(features, "_MANY", table.numel() + 1):
        expected = module(table)
    came = FOLLOWED[how](module, table)
    assert compiled.call_count == 0
    np.testing.assert_array_equal(bits(came.contiguous()), bits(expected))


NOT_PLAIN: dict[str, Callable[[], Tensor]] = {
    "elsewhere": lambda: torch.empty(3, device="meta"),
    "sparse": lambda: torch.ones(3).to_sparse(),
    "conjugates": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "negated": lambda: torch._neg_view(torch.ones(3)),
    "a-leaf": lambda: torch.ones(3, requires_grad=True),
    "of-a-gradient": lambda: torch.ones(3, requires_grad=True) * 2,
    "a-parameter": lambda: nn.Parameter(torch.ones(3), requires_grad=False),
}


@pytest.mark.parametrize("kind", NOT_PLAIN)
def test_what_is_no_number_in_memory_is_told(kind: str) -> None:
    """Among others that are, wherever it stands."""
    odd, plain = NOT_PLAIN[kind](), torch.ones(3)
    assert plain_numbers(plain, torch.arange(2), plain.bool())
    for place in range(3):
        assert not plain_numbers(*[odd if i == place else plain for i in range(3)])
