"""`help()` tells a PyTorch user what each public name does, takes and gives."""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import torch_impl
from torch_impl.keras import metrics as keras_metrics
from torch_impl.keras import random as keras_random
from torch_impl.keras import weights as keras_weights
from torch_impl.keras.losses import functions as keras_losses

MODULES = (torch_impl, keras_losses, keras_metrics, keras_random, keras_weights)
"""The package, and the modules that the README imports from or names."""

SECTIONS = ("Args:", "Attributes:", "Example:", "Raises:", "Returns:", "Yields:")


def public() -> dict[str, Any]:
    """Functions and classes by name, and the methods that are a class's own."""
    found: dict[str, Any] = {}
    for module in MODULES:
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[name] = value
                found |= {f"{name}.{key}": method for key, method in methods(value)}
    return found


def methods(value: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    for key in vars(value) if inspect.isclass(value) else ():
        method = getattr(value, key)
        if not key.startswith("_") and inspect.isroutine(method):
            yield key, method


def faults(name: str, value: Any) -> list[str]:
    """What `help()` of a name lacks."""
    text = inspect.getdoc(value) or ""
    if value.__doc__ is None and "." not in name:
        return ["no docstring"]
    summary, _, rest = text.partition("\n")
    found = [] if re.fullmatch(r"\S.*[.:]", summary) else [f"summary {summary!r}"]
    if rest and not rest.startswith("\n"):
        found.append("no empty line after the summary")
    if "." not in name:
        try:
            parameters = inspect.signature(value).parameters
        except ValueError:  # an exception that takes what ValueError takes
            parameters = {}
        _, _, arguments = text.partition("Args:\n")
        for parameter in parameters:
            if parameter not in ("self", "args") and not re.search(
                rf"^    \*{{0,2}}{parameter}: \S", arguments, re.MULTILINE
            ):
                found.append(f"{parameter} is not under Args:")
    rendered = pydoc.render_doc(value, renderer=pydoc.plaintext)
    headings = [line for line in text.splitlines() if line in SECTIONS]
    for line in (summary, *headings):
        shown = [part.strip(" |") for part in rendered.splitlines()]
        if line not in shown:
            found.append(f"{line!r} is not shown")
    return found


def test_help_shows_summary_arguments_and_what_comes_back() -> None:
    """A one-line summary, each parameter under `Args:`, and every section on a line of its own."""
    found = {name: faults(name, value) for name, value in public().items()}
    assert len(found) > 100
    assert {name: lacks for name, lacks in found.items() if lacks} == {}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_help_of_a_module_says_what_it_is_and_lists_its_names(module: ModuleType) -> None:
    """Constants too, which have no docstring of their own."""
    rendered = pydoc.render_doc(module, renderer=pydoc.plaintext)
    assert (inspect.getdoc(module) or "").split("\n")[0] in rendered
    for name in module.__all__:
        assert re.search(rf"\b{name}\b", rendered), name


def test_what_help_lacks_is_seen() -> None:
    """The twin: no docstring, no full stop, a parameter left out."""

    def bare(x: int) -> None: ...

    def poor(x: int, y: int) -> None: ...

    poor.__doc__ = "Adds\n\nArgs:\n    x: a number.\n"
    assert faults("bare", bare) == ["no docstring"]
    assert faults("poor", poor) == ["summary 'Adds'", "y is not under Args:"]
