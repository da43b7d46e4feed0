"""With a C++ compiler, and as if there were none."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest import mock

import pytest

from torch_impl.base import compiled

__all__ = ["each_way", "needs_compiler", "no_compiler"]

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "c++")) is None, reason="no C++ compiler"
)


@contextmanager
def no_compiler() -> Iterator[list[warnings.WarningMessage]]:
    """What is compiled is not, in here; gives the warnings, one of which must come."""
    compiled.library.cache_clear()
    try:
        with (
            mock.patch.dict(os.environ, CXX="/no/such/compiler"),
            mock.patch.object(compiled, "_told", set()),
            pytest.warns(
                RuntimeWarning, match=r"'/no/such/compiler' \(FileNotFoundError\)"
            ) as told,
        ):
            yield told.list
    finally:
        compiled.library.cache_clear()


each_way = pytest.mark.parametrize(
    "way",
    [
        pytest.param(nullcontext, id="compiled", marks=needs_compiler),
        pytest.param(no_compiler, id="no-compiler"),
    ],
)
"""Runs a test on both paths: `with way(): …`."""
