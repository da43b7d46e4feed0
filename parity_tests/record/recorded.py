"""The table of recorded cases, and what records and finds them."""

from __future__ import annotations

from parity_tests.record import recorded_draws, recorded_forward, recorded_training
from parity_tests.record.recorded_case import Case
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.recording_file import Call, Recordings, digest

__all__ = ["CASES", "answer_all", "stale"]

GROUPS: dict[str, dict[str, Case]] = {
    "draws": recorded_draws.CASES,
    "training": recorded_training.CASES,
    "forward": recorded_forward.CASES,  # of weights that were trained above
}
"""A group is a file."""

CASES: dict[str, Case] = {name: case for cases in GROUPS.values() for name, case in cases.items()}


def answer_all(keras: KerasProcess) -> dict[str, dict[str, Call]]:
    """Asks the live reference every case, and gives the calls by group and name."""
    answers: dict[str, object] = {}
    groups: dict[str, dict[str, Call]] = {}
    for group, cases in GROUPS.items():
        groups[group] = {}
        for name, case in cases.items():
            inputs = case.inputs(answers)
            answers[name] = keras.call(case.function, **inputs)
            groups[group][name] = Call(case.function, inputs, answers[name])
    return groups


def stale(recordings: Recordings, cases: dict[str, Case] = CASES) -> list[str]:
    """What the recordings lack, have too much, or recorded with other inputs: one line each."""
    lines = [f"{name!r} is not recorded" for name in cases if name not in recordings.calls]
    lines += [f"{name!r} is no case any more" for name in recordings.calls if name not in cases]
    answers = {name: call.answer for name, call in recordings.calls.items()}
    for name in cases.keys() & recordings.calls.keys():
        call = recordings.calls[name]
        if call.function != cases[name].function:
            lines.append(f"{name!r} was a call of {call.function}")
        elif digest(cases[name].inputs(answers)) != digest(call.inputs):
            lines.append(f"{name!r} was recorded with other inputs")
    return lines
