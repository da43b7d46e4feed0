"""The recordings are what the installed Keras still answers, and what PyTorch answers."""

from __future__ import annotations

import pytest

from parity_tests.record.recorded import CASES
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import (
    BEST_WEIGHTS,
    CLIPPED_LOSS,
    EPOCH_LOSS,
    LOGITS,
    NARROW_COMPARISON,
    ON_TENSORFLOW,
    RANDOM_STREAM,
    RATE_ONE,
    STEPS_PER_EPOCH,
    WIDE_SEEDS,
    ZERO_SEED,
)
from parity_tests.reference.recording_file import Recordings

RUNS = [name for name in CASES if CASES[name].function == "training.fits"]


def demands(name: str) -> list[pytest.MarkDecorator]:
    """What the reference must be to answer a case as recorded."""
    room, _, function = CASES[name].function.partition(".")
    if function in ("random_bits", "uniform"):
        return [ON_TENSORFLOW]
    if room == "random":
        inputs = CASES[name].inputs({})
        found = [RANDOM_STREAM]
        if function in ("glorot_uniform", "dropout"):
            wide = not (0 <= inputs["seed"] < 2**31 - 2 and inputs.get("first_call", 0) < 2**31 - 4)
            found += [WIDE_SEEDS] if wide else []
        if function == "glorot_uniform" and inputs["seed"] == 0:
            found.append(ZERO_SEED)
        return [*found, RATE_ONE] if inputs.get("rate") == 1 else found
    if function == "initial_weights":
        return [RANDOM_STREAM]
    if name == "early stopping, best weights without a stop":
        return [BEST_WEIGHTS]
    if name == "early stopping, a fall of a thousandth of an ULP":
        return [NARROW_COMPARISON]
    if function == "binary_crossentropy":
        return [CLIPPED_LOSS]
    if name in RUNS:  # 700 rows in batches of 128
        steps = [STEPS_PER_EPOCH] if "steps_per_epoch" in CASES[name].inputs({}) else []
        return [RANDOM_STREAM, EPOCH_LOSS, *steps]
    if function == "metrics_of_logits":
        return [LOGITS]
    if function == "one_step_in_both":
        return [LOGITS if name == "one step, no dropout" else RANDOM_STREAM]
    return []


@pytest.mark.parametrize(
    "name", [pytest.param(name, id=name, marks=demands(name)) for name in CASES]
)
def test_keras_answers_what_was_recorded_and_what_torch_answers(
    name: str, keras: KerasProcess, recordings: Recordings
) -> None:
    """By the kind of agreement that is due between Keras and PyTorch: bits exactly.

    The version may be another than the one recorded, and the processor may sum otherwise.
    """
    case, recorded = CASES[name], recordings.calls[name]
    live = recorded._replace(answer=keras.call(case.function, **recorded.inputs))
    verdicts = {"recorded": case.verdict(recorded, live.answer)}
    for path in [{"compiled": True}, {"compiled": False}] if name in RUNS else [{}]:
        ours = case.ours(**recorded.inputs, device="cpu", **path)
        verdicts[f"torch {path or ''}"] = case.verdict(live, ours)
    for answer, rows in verdicts.items():
        for row in rows:
            assert row.agree, f"{answer}: {row.stage}: {row.detail}"
