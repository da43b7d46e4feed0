"""Hundreds of mutated pipelines' files give a pipeline or one kind of error."""

from __future__ import annotations

import copy
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from parity_tests.decisions.forged import content_of, sealed_text
from parity_tests.decisions.pipelines import a_pipeline, raw_rows
from parity_tests.files.hostile import SECONDS
from parity_tests.fuzz.__main__ import _mutate_value, bent
from torch_impl import PipelineFileError, load_pipeline

CASES = 400


def mutated_facts(draw: random.Random, facts: dict[str, Any], tensors: dict[str, Tensor]) -> bytes:
    """Their digest is right again."""
    facts = copy.deepcopy(facts)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        _mutate_value(draw, facts)
    return sealed_text(json.dumps(facts), tensors)


def mutated_tensors(draw: random.Random, facts: dict[str, Any], held: dict[str, Tensor]) -> bytes:
    """One of them, likewise: a number of it, its type, its shape, its name, or it is gone."""
    held = {name: value.clone() for name, value in held.items()}
    name, action = draw.choice(sorted(held)), draw.random()
    value = held.pop(name)
    if action < 0.5 and value.numel():
        number = draw.choice((0.0, -1.0, 0.5, 1e30, float("nan"), float("inf"), -1e-300))
        value.view(-1)[draw.randrange(value.numel())] = number
    elif action < 0.65:
        value = value.to(draw.choice((torch.float16, torch.int8, torch.bool, torch.float64)))
    elif action < 0.8:
        value = draw.choice((value[None], value.flatten()[:1], value.new_zeros(0, 3)))
    elif action < 0.9:
        name = draw.choice(sorted(held)) + draw.choice(("", ".x", "\x1b[2J"))
    if action < 0.95:
        held[name] = value.contiguous()
    return sealed_text(json.dumps(facts), held)


@pytest.mark.slow
def test_mutated_pipelines_are_read_or_refused_in_time(tmp_path: Path) -> None:
    """The same on every run; each outcome occurs, and what was read predicts."""
    good = content_of(a_pipeline(3, 2, columns=["a", "b", "c"]), tmp_path)
    content, path, counts = (tmp_path / "good").read_bytes(), tmp_path / "fuzzed", Counter()
    for case in range(CASES):
        draw = random.Random(case)
        kind = draw.choice((mutated_facts, mutated_tensors, None))
        path.write_bytes(bent(draw, content) if kind is None else kind(draw, *good))
        start = time.process_time()
        said = None
        try:
            pipeline = load_pipeline(path)
        except PipelineFileError as error:
            said = str(error)
        except Exception as error:
            raise AssertionError(f"case {case}: {error!r}") from error
        counts[kind, "read" if said is None else "refused"] += 1
        if said is None:
            rows = raw_rows(5, len(pipeline.columns))
            assert pipeline.predict_proba(rows).shape == (5, 1)
        else:
            assert said.startswith(f"{path}: "), case
            assert said.isprintable(), case
        assert time.process_time() - start < SECONDS, case
    for kind in (mutated_facts, mutated_tensors):
        assert min(counts[kind, "read"], counts[kind, "refused"]) > 5, counts
    assert counts[None, "refused"] > 100
    # Bytes may change places with their like.
    assert counts[None, "read"] < 10


def test_a_reader_that_fails_otherwise_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: the error names the case."""
    monkeypatch.setattr("torch_impl.pipeline.file._built", lambda *_: {}["x"])
    with pytest.raises(AssertionError, match=r"case \d+: KeyError"):
        test_mutated_pipelines_are_read_or_refused_in_time(tmp_path)
