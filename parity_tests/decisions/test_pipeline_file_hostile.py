"""A pipeline's file from a stranger: its digest is right, and what it says is not believed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from parity_tests.decisions.forged import content_of, sealed_text
from parity_tests.decisions.pipelines import a_pipeline
from parity_tests.files.hostile import refused
from torch_impl import PipelineFileError, load_pipeline

Facts, Tensors = dict[str, Any], dict[str, Tensor]

STEERING = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\n"
ANY = "pipeline"
"""Of the reasons that there may be."""
FILE, SHOWN = "hostile\x1b[2J.pipeline", "hostile\N{REPLACEMENT CHARACTER}[2J.pipeline"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Facts, Tensors]:
    """Of a pipeline of two columns and three units."""
    pipeline = a_pipeline(2, 3, columns=["a", "b"])
    return content_of(pipeline, tmp_path_factory.mktemp("good"))


def check(path: Path, content: bytes, match: str) -> str:
    path.write_bytes(content)
    said = refused(lambda: load_pipeline(path), match, PipelineFileError)
    assert said.isprintable()
    assert f"{SHOWN}: " in said
    return said


NUMBERS = [None, True, 1, -0.5, math.nan, math.inf, -math.inf, "0.5", [], {}, 10**4000]

FACTS: dict[str, list[Any]] = {
    "dropout": [*NUMBERS, 1.5],
    "output_bias": [x for x in NUMBERS if x != -0.5],
    "columns": [
        None, True, 2, "ab", {}, {"a": 1, "b": 2}, [], ["a"], ["a", "b", "c"], ["a", "a"],
        ["a", ""], ["a", 1], ["a", None], ["a", ["b"]], ["a", {}], ["a", STEERING], ["a", "\ud800"],
        ["a", "b\t"], [["a", "b"]] * 2,
    ],
    "trained_on": [
        True, 1, "abc", {}, {"positives": 1, "negatives": 2, "odds_factor": 3.0}, [], [1, 2],
        [1, 2, 3.0, 4], [0, 2, 1.0], [1, 0, 1.0], [-1, 2, 1.0], [1.0, 2, 1.0], [True, 2, 1.0],
        [1, True, 1.0], [1, 2**63, 1.0], [10**4000, 2, 1.0], ["1", 2, 1.0], [None, 2, 1.0],
        [[1], 2, 1.0], [1, 2, 0.0], [1, 2, -1.0], [1, 2, math.nan], [1, 2, math.inf], [1, 2, True],
        [1, 2, None], [1, 2, "1"], [1, 2, 10**4000],
    ],
    "format": [None, 1, [], {}, "torch_impl-pipeline-0", "torch_impl-fit-2", STEERING, "x" * 9999],
}  # fmt: skip


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_that_is_wrong_is_refused(
    fact: str, good: tuple[Facts, Tensors], tmp_path: Path
) -> None:
    """In type, in range, of another length; and one that is missing, or unknown."""
    facts, tensors = good
    # json of Python's own writes and reads NaN, and no whole number of 4,300 digits or more.
    for value in FACTS[fact]:
        check(tmp_path / FILE, sealed_text(json.dumps(facts | {fact: value}), tensors), ANY)
    less = {name: value for name, value in facts.items() if name != fact}
    expected = "has format 'None'" if fact == "format" else f"expected .*{fact}"
    check(tmp_path / FILE, sealed_text(json.dumps(less), tensors), expected)
    more = json.dumps(facts | {fact + STEERING: 1})
    check(tmp_path / FILE, sealed_text(more, tensors), "its facts are")


TEXTS = {
    "empty": "",
    "no-json": "{",
    "a-list": "[]",
    "a-number": "1",
    "null": "null",
    "a-text": '"torch_impl-pipeline-1"',
    "nested-lists": "[" * 30_000 + "]" * 30_000,
    "nested-objects": '{"a":' * 7_000 + "1" + "}" * 7_000,
    "a-number-of-very-many-digits": '{"dropout": ' + "9" * 60_000 + "}",
    "many-lists": "[" + "[]," * 20_000 + "[]]",
}


@pytest.mark.parametrize("text", TEXTS)
def test_facts_that_are_none_are_refused(
    text: str, good: tuple[Facts, Tensors], tmp_path: Path
) -> None:
    """Within the time and memory that a small file may take."""
    check(tmp_path / FILE, sealed_text(TEXTS[text], good[1]), "its facts are no JSON|has format")


@pytest.mark.parametrize("fact", ["columns", "dropout", "trained_on", "output_bias"])
def test_a_fact_that_is_nested_deeply_is_refused(
    fact: str, good: tuple[Facts, Tensors], tmp_path: Path
) -> None:
    """As deep as Python reads it, and deeper."""
    for depth in (200, 30_000):
        held = json.dumps(good[0] | {fact: "?"}).replace('"?"', "[" * depth + "]" * depth)
        check(tmp_path / FILE, sealed_text(held, good[1]), ANY)


def test_a_header_beyond_what_a_pipeline_needs_is_not_read(
    good: tuple[Facts, Tensors], tmp_path: Path
) -> None:
    """64 KiB of it."""
    text = json.dumps(good[0] | {"columns": ["a" * (1 << 16), "b"]})
    check(tmp_path / FILE, sealed_text(text, good[1]), "a header of 6.* bytes; at most 65536")


def like(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda value: value.to(dtype)


TENSORS: dict[str, tuple[Callable[[Tensor], Tensor | None], str]] = {
    "missing": (lambda value: None, "is missing|has no classifier.hidden"),
    "float64-for-float32": (
        lambda v: v.to(torch.float32 if v.dtype == torch.float64 else torch.float64), "expected",
    ),
    "half": (like(torch.float16), "expected torch.float|float32 or float64"),
    "bfloat16": (like(torch.bfloat16), "expected torch.float|float32 or float64"),
    "float8": (like(torch.float8_e4m3fn), "expected torch.float|float32 or float64"),
    "whole": (like(torch.int64), "expected torch.float|float32 or float64"),
    "bool": (like(torch.bool), "expected torch.float|float32 or float64"),
    "complex": (like(torch.complex64), "expected torch.float|float32 or float64|no whole pipe"),
    "another-axis": (lambda v: v[None], "expected torch.float|has no classifier.hidden.weight"),
    "one-too-long": (lambda v: torch.zeros(len(v) + 1 if v.ndim else 1, *v.shape[1:]), "expected"),
    "empty": (lambda v: v.new_zeros(0, *v.shape[1:]), "expected"),
    "nan": (lambda v: torch.full_like(v, math.nan), "holds NaN|extra state|expected|clip=nan"),
    "infinity": (lambda v: torch.full_like(v, -math.inf), "holds NaN or|extra state|expected"),
}  # fmt: skip
NAMES = (
    "_threshold", "_log_odds_shift", "transform.mean", "transform.scale", "transform._extra_state",
    "classifier.hidden.weight", "classifier.hidden.bias", "classifier.output.weight",
    "classifier.output.bias",
)  # fmt: skip


@pytest.mark.parametrize("change", TENSORS)
def test_a_tensor_that_is_wrong_is_refused(
    change: str, good: tuple[Facts, Tensors], tmp_path: Path
) -> None:
    """Missing, of another type or shape, or not finite."""
    facts, tensors = good
    assert set(NAMES) == tensors.keys()
    changed, message = TENSORS[change]
    for name in NAMES:
        held = {n: changed(v) if n == name else v for n, v in tensors.items()}
        held = {n: v for n, v in held.items() if v is not None}
        check(tmp_path / FILE, sealed_text(json.dumps(facts), held), message)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("_threshold", 1.5, "threshold=1.5; expected 0 to 1"),
        ("_threshold", -1e-9, "threshold=-.*; expected 0 to 1"),
        ("transform.scale", 0.0, "a finite scale above 0"),
        ("transform.scale", -1.0, "a finite scale above 0"),
        ("transform._extra_state", 0.0, "clip=0.0; expected it above 0"),
        ("transform._extra_state", 2.0, "log_column=2; expected one of 2 columns"),
        ("transform._extra_state", 0.5, "its extra state is"),
        ("transform._extra_state", 1e300, "log_column=1000.*; expected one of 2 columns"),
    ],
)
def test_a_number_out_of_range_is_refused(
    name: str, value: float, message: str, good: tuple[Facts, Tensors], tmp_path: Path
) -> None:
    """As the constructors refuse it."""
    facts, tensors = good
    held = tensors | {name: torch.full_like(tensors[name], value)}
    check(tmp_path / FILE, sealed_text(json.dumps(facts), held), message)


def test_unknown_tensors_are_refused(good: tuple[Facts, Tensors], tmp_path: Path) -> None:
    """However they are called and however many there are."""
    facts, tensors = good
    for more in (
        {"classifier.dropout._extra_state": torch.zeros(1)},
        {STEERING: torch.zeros(1)},
        {"x" * 10_000: torch.zeros(1)},
        {f"x{i}_extra_state": torch.full((0,), math.nan) for i in range(500)},
        {"large": torch.zeros(10 << 18)},
    ):
        check(tmp_path / FILE, sealed_text(json.dumps(facts), tensors | more), "is unknown")


@pytest.mark.parametrize(
    "shape", [(10**9, 0), (0, 10**9), (0, 2), (3, 0), (1, 2_500_000), (2_500_000, 1)]
)
def test_sizes_that_the_file_has_no_bytes_for_are_not_made(
    shape: tuple[int, int], good: tuple[Facts, Tensors], tmp_path: Path
) -> None:
    """Of nothing anything can be said; 10 MB of one tensor are no pipeline either."""
    facts, tensors = good
    for columns in (facts["columns"], []):
        held = tensors | {"classifier.hidden.weight": torch.empty(shape)}
        content = sealed_text(json.dumps(facts | {"columns": columns}), held)
        check(tmp_path / FILE, content, ANY)


def test_nothing_in_a_file_is_executed(
    good: tuple[Facts, Tensors], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pickle is read, and no text of it evaluated."""
    for module, name in (("pickle", "loads"), ("pickle", "load"), ("builtins", "eval"),
                         ("builtins", "exec"), ("torch", "load")):  # fmt: skip
        monkeypatch.setattr(f"{module}.{name}", lambda *_, **__: pytest.fail("executed"))
    path = tmp_path / "p"
    path.write_bytes(sealed_text(json.dumps(good[0]), good[1]))
    assert load_pipeline(path).columns == ("a", "b")
