"""Two runs are judged in each of their numbers, by what is due to each, and both as wide as it is.

The runs are made by hand; what is judged is computed by no framework.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from parity_tests.judge import bounds
from parity_tests.judge.agreement import StageResult
from parity_tests.judge.sigmoid import SIGMOID_ULP
from parity_tests.sides import training_pair
from parity_tests.sides.training_pair import (
    compare_runs,
    compare_steps,
    keras_fits,
    torch_compiled_steps,
    torch_fits,
    torch_steps,
)
from torch_impl import fit

SHAPES = {
    "dense/kernel": (2, 3),
    "dense/bias": (3,),
    "dense_1/kernel": (3, 1),
    "dense_1/bias": (1,),
}
PARTS = {"weights": "final", "momentum": "momentum", "√velocity": "velocity", "history": "history"}
SERIES = ("loss", "tp", "val_loss")  # the second may jump
WIDTHS = {"float32": np.float32, "float64": np.float64}
ROWS = [
    "run: initial weights",
    *(f"run{group}: {stage}" for group in ("", ", float64") for stage in PARTS),
]


def arrays(dtype: type) -> dict[str, np.ndarray]:
    """Numbers of few bits, of which the largest is 1 in each."""
    return {
        name: (np.linspace(-8, 16, int(np.prod(shape))).round() / 16).reshape(shape).astype(dtype)
        if np.prod(shape) > 1
        else np.ones(shape, dtype)
        for name, shape in SHAPES.items()
    }


def run(dtype: type) -> dict[str, Any]:
    return {
        "history": {name: [1.0, 0.5, 0.25] for name in SERIES},
        "epoch": [0, 1, 2],
        "initial": arrays(np.float32),
        "final": arrays(dtype),
        "momentum": arrays(dtype),
        "velocity": {name: array**2 for name, array in arrays(dtype).items()},
        "iterations": 12,
        "batch": 4,
    }


def theirs() -> dict[str, Any]:
    """Keras's three runs, all exact."""
    runs = {name: run(dtype) for name, dtype in WIDTHS.items()}
    runs["edges"] = copy.deepcopy(runs["float32"])
    runs["edges"]["spread"] = {"tp": [0.0, 2.0, 0.0]}
    return runs


def ours() -> dict[str, Any]:
    runs = theirs()
    return {name: runs[name] for name in WIDTHS}


def wrong(run: dict[str, Any], part: str, name: str, dtype: str, at: int, ulp: float) -> None:
    """Makes a number smaller by so many ULP of 1; of the velocity its root."""
    if part == "history":
        series = run[part][name]
        series[at] = float(series[at] - ulp * np.spacing(WIDTHS[dtype](1)))
        return
    numbers = run[part][name].reshape(-1)
    by = numbers.dtype.type(ulp) * np.spacing(WIDTHS[dtype](1))
    if part == "velocity":
        numbers[at] = (np.sqrt(numbers[at]) - by) ** 2
    else:
        numbers[at] -= by


def broken(results: list[StageResult]) -> set[str]:
    assert [result.stage for result in results] == ROWS
    return {result.stage for result in results if not result.agree}


def places(part: str, name: str) -> set[int]:
    size = 3 if part == "history" else int(np.prod(SHAPES[name]))
    return {0, size // 2, size - 1}


CASES = [
    (dtype, stage, name)
    for dtype in WIDTHS
    for stage, part in PARTS.items()
    for name in (SERIES if part == "history" else SHAPES)
]


@pytest.mark.parametrize(("dtype", "stage", "name"), CASES)
def test_each_number_of_a_run_is_compared(dtype: str, stage: str, name: str) -> None:
    """Three ULP of Keras's largest number are too far, to both sides, in that row alone."""
    part = PARTS[stage]
    row = f"run: {stage}" if dtype == "float32" else f"run, float64: {stage}"
    for at in places(part, name):
        mine = ours()
        ulp = -3 if at % 2 else 3
        if (dtype, name, at) == ("float32", "tp", 1):  # which may jump by 2 besides
            ulp -= 2 * 2**23
        wrong(mine[dtype], part, name, dtype, at, ulp)
        results = compare_runs("run", mine, theirs())
        assert broken(results) == {row}, at
        (result,) = (result for result in results if result.stage == row)
        assert result.kind == ("rounding" if dtype == "float32" else "double")
        assert (result.worst.part, result.worst.broken) == (name, 1)


def test_runs_agree_where_each_number_is_as_far_as_it_may_be() -> None:
    """Where Keras's runs are exact: √4 ULP of its largest number."""
    mine = ours()
    for dtype, stage, name in CASES:
        for at in places(PARTS[stage], name):
            jump = 2 * 2**23 if (dtype, name, at) == ("float32", "tp", 1) else 0
            wrong(mine[dtype], PARTS[stage], name, dtype, at, 2 + jump)
    results = compare_runs("run", mine, theirs())
    assert broken(results) == set()
    assert [result.allowance_used for result in results] == [None, *[1] * 8]


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("name", SHAPES)
def test_each_initial_weight_is_compared_to_the_bit(dtype: str, name: str) -> None:
    """Of both of PyTorch's runs, which start from the same float32."""
    for at in places("initial", name):
        mine = ours()
        numbers = mine[dtype]["initial"][name].reshape(-1)
        numbers[at] = np.nextafter(numbers[at], np.float32(9))
        results = compare_runs("run", mine, theirs())
        assert broken(results) == {"run: initial weights"}
        assert (results[0].kind, results[0].elements) == ("exact", 2 * 13)
        assert results[0].worst.part == name


@pytest.mark.parametrize("part", ["final", "momentum", "history"])
@pytest.mark.parametrize("dtype", WIDTHS)
def test_what_rounding_did_to_the_other_run_is_what_is_allowed(part: str, dtype: str) -> None:
    """Twice that, to every array of the part that does not jump, and to no other part."""
    stage = {v: k for k, v in PARTS.items()}[part]
    group = "run" if dtype == "float32" else "run, float64"
    names = ("loss", "val_loss") if part == "history" else tuple(SHAPES)
    for measured, judged in ((names[0], names[-1]), (names[-1], names[0])):
        for ulp, expected in ((20, set()), (21, {f"{group}: {stage}"})):
            keras = theirs()
            wrong(keras["edges"], part, measured, "float32", 0, 10)
            mine = ours()
            wrong(mine[dtype], part, judged, dtype, 0, ulp)
            assert broken(compare_runs("run", mine, keras)) == expected
    mine, keras = ours(), theirs()
    wrong(keras["edges"], part, names[0], "float32", 0, 10)
    for other in set(PARTS.values()) - {part}:
        wrong(mine[dtype], other, "loss" if other == "history" else "dense/bias", dtype, 0, 3)
    assert broken(compare_runs("run", mine, keras)) == {
        f"{group}: {other}" for other in PARTS if PARTS[other] != part
    }


def test_what_jumps_is_allowed_what_it_was_off_by_and_nothing_else_is() -> None:
    """A step function that rounding moved says nothing of the numbers that do not step."""
    for dtype, group in (("float32", "run"), ("float64", "run, float64")):
        for name, ulp, agree in (("tp", 20, True), ("tp", 21, False), ("loss", 3, False)):
            keras, mine = theirs(), ours()
            wrong(keras["edges"], "history", "tp", "float32", 0, 10)
            wrong(mine[dtype], "history", name, dtype, 0, ulp)
            found = broken(compare_runs("run", mine, keras))
            assert found == (set() if agree else {f"{group}: history"}), (dtype, name, ulp)


@pytest.mark.parametrize("batch", [1, 16])
def test_the_longest_sum_is_over_a_batch(batch: int) -> None:
    """Of Keras's run in float64; a history that only jumps is compared as well."""
    for ulp in (int(batch**0.5), int(batch**0.5) + 1):
        keras, mine = theirs(), ours()
        keras["float64"]["batch"] = batch
        for dtype in WIDTHS:
            for run in (keras[dtype], mine[dtype], keras["edges"]):
                run["history"] = {"tp": [1.0, 0.5, 0.25]}
            wrong(mine[dtype], "final", "dense/kernel", dtype, 2, ulp)
            wrong(mine[dtype], "history", "tp", dtype, 2, ulp)
        found = broken(compare_runs("run", mine, keras))
        rows = {row for row in ROWS if row.endswith((": weights", "history")) and "init" not in row}
        assert found == (set() if ulp**2 == batch else rows)


def test_the_run_that_is_judged_does_not_say_what_it_may() -> None:
    """In float32 Keras's own run is far off: PyTorch's is far from it, and no more is allowed."""
    keras = theirs()
    wrong(keras["float32"], "final", "dense/bias", "float32", 0, 10)
    assert broken(compare_runs("run", ours(), keras)) == {"run: weights"}
    mine = ours()  # in float64 both of the float32 runs say how far rounding goes
    wrong(mine["float32"], "final", "dense/bias", "float32", 0, 10)
    wrong(mine["float64"], "final", "dense/bias", "float64", 0, 20)
    assert broken(compare_runs("run", mine, keras)) == set()
    wrong(mine["float64"], "final", "dense/bias", "float64", 0, 1)
    assert broken(compare_runs("run", mine, keras)) == {"run, float64: weights"}


def test_where_keras_runs_are_numbers_in_different_places_nothing_agrees() -> None:
    """A NaN in the run that measures rounding, in its only array or beside others."""
    for part, stage, name in (("final", "weights", "dense/bias"), ("history", "history", "loss")):
        keras = theirs()
        numbers = keras["edges"][part][name]
        (numbers if isinstance(numbers, list) else numbers.reshape(-1))[0] = np.nan
        assert broken(compare_runs("run", ours(), keras)) >= {
            f"run: {stage}",
            f"run, float64: {stage}",
        }


def _shorter(run: dict[str, Any]) -> None:
    run["epoch"] = run["epoch"][:-1]


def _other_steps(run: dict[str, Any]) -> None:
    run["iterations"] += 1


def _fewer_keys(run: dict[str, Any]) -> None:
    del run["history"]["val_loss"]


def _other_order(run: dict[str, Any]) -> None:
    run["history"] = dict(reversed(run["history"].items()))


@pytest.mark.parametrize("change", [_shorter, _other_steps, _fewer_keys, _other_order])
@pytest.mark.parametrize("dtype", WIDTHS)
def test_runs_of_another_form_are_not_compared_and_differ(change: Any, dtype: str) -> None:
    """Epochs, steps and the history's keys: one row for all parts, which tells both forms."""
    group, kind = ("run", "rounding") if dtype == "float32" else ("run, float64", "double")
    mine = ours()
    change(mine[dtype])
    results = compare_runs("run", mine, theirs())
    (result,) = (result for result in results if result.stage == group)
    assert [r.stage for r in results if not r.agree] == [group]
    assert (result.kind, result.max_abs, result.bitwise_equal) == (kind, np.inf, 0)
    assert result.agree is False
    form = (mine[dtype]["epoch"], mine[dtype]["iterations"], list(mine[dtype]["history"]))
    assert result.detail == (
        f"epochs, steps and keys: PyTorch {form}, Keras ([0, 1, 2], 12, {list(SERIES)}); "
        "Keras's epochs in float32 [0, 1, 2] and [0, 1, 2], in float64 [0, 1, 2]"
    )
    assert (result.allowance_used, result.max_ulp) == (None, 0)


@pytest.mark.parametrize("which", ["float32", "float64", "edges"])
def test_keras_own_runs_have_the_same_epochs(which: str) -> None:
    """Where rounding stopped one of them earlier, what it did is not known: both groups differ."""
    keras = theirs()
    _shorter(keras[which])
    found = {r.stage for r in compare_runs("run", ours(), keras) if not r.agree}
    assert found == {"run", "run, float64"}


def test_a_history_of_fewer_numbers_differs() -> None:
    """Not as far as the shorter one goes."""
    mine = ours()
    mine["float32"]["history"]["loss"].pop()
    assert broken(compare_runs("run", mine, theirs())) == {"run: history"}


# One step

WEIGHTS = {name: (array / 1024).astype(np.float32) for name, array in arrays(np.float64).items()}
FEATURES = np.float32([[1024, -512], [256, 1024], [-1024, 512], [768, 768], [128, -1024]])
LABELS = np.float32([[1], [0], [0], [1], [0]])
KEPT = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]], bool)
WHAT = ("gradient", "momentum", "velocity", "weight")


def expected(dropout: float, sample_weight: np.ndarray | None) -> dict[str, dict[str, Any]]:
    bound = bounds.gradients(FEATURES, LABELS, WEIGHTS, KEPT / (1 - dropout), sample_weight)
    steps = {
        name: bounds.first_adam_step(WEIGHTS[name].astype(float), bound[name]) for name in bound
    }
    return {
        what: {name: bound[name] if what == "gradient" else steps[name][what] for name in bound}
        for what in WHAT
    }


def step(of: dict[str, dict[str, Any]], dtype: type) -> dict[str, dict[str, np.ndarray]]:
    return {
        what: {name: found.value.astype(dtype) for name, found in by_name.items()}
        for what, by_name in of.items()
    }


TRUE = expected(0.5, None)
STEPS = {dtype: step(TRUE, width) for dtype, width in WIDTHS.items()}


def move(side: dict[str, Any], dtype: str, what: str, name: str, at: int, share: float) -> None:
    """Makes one number wrong by a share of what it may be."""
    value, allowance = (array.reshape(-1)[at] for array in TRUE[what][name])
    side[dtype][what][name].reshape(-1)[at] = value + share * allowance * (
        1.0 if dtype == "float32" else 2.0**-28
    )


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("name", SHAPES)
def test_each_number_of_a_step_is_judged_by_its_bound(dtype: str, what: str, name: str) -> None:
    """On both sides, in that row alone."""
    row = f"step: {what}" if dtype == "float32" else f"step, float64: {what}"
    for turn, at in enumerate(sorted(places("step", name))):
        sides = [copy.deepcopy(STEPS), copy.deepcopy(STEPS)]
        move(sides[turn % 2], dtype, what, name, at, (1.125, -1.125)[turn // 2])
        results = compare_steps(
            "step", sides[0], {**sides[1], "kept": KEPT}, WEIGHTS, FEATURES, LABELS, seed=3
        )
        assert [result.stage for result in results] == [
            *(f"step: {part}" for part in WHAT), *(f"step, float64: {part}" for part in WHAT),
        ]  # fmt: skip
        (result,) = (result for result in results if not result.agree)
        assert (result.stage, result.elements, result.worst.part) == (row, 13, name)
        assert result.kind == ("proven" if dtype == "float32" else "double")


def test_steps_agree_where_each_number_is_as_far_off_as_it_may_be() -> None:
    """Seven eighths of the bound; in float64 of 2**-28 of it, twice an ULP's share."""
    sides = [copy.deepcopy(STEPS), copy.deepcopy(STEPS)]
    for dtype in WIDTHS:
        for what in WHAT:
            for name, shape in SHAPES.items():
                for at in range(int(np.prod(shape))):
                    move(sides[at % 2], dtype, what, name, at, 0.875)
    for result in compare_steps(
        "step", sides[0], {**sides[1], "kept": KEPT}, WEIGHTS, FEATURES, LABELS
    ):
        assert result.agree
        assert 0.8 < result.allowance_used < 0.95


@pytest.mark.parametrize(
    "options",
    [{"dropout": 0.0}, {"dropout": 0.25}, {"sample_weight": np.float32([[1], [3], [0], [2], [1]])}],
    ids=["no-dropout", "another-rate", "weighted"],
)
def test_a_step_is_judged_with_the_options_it_was_taken_with(options: dict[str, Any]) -> None:
    """And differs from one without them."""
    true = expected(options.get("dropout", 0.5), options.get("sample_weight"))
    both = {n: step(true, d) for n, d in WIDTHS.items()}
    data = ("step", both, {**both, "kept": KEPT}, WEIGHTS, FEATURES, LABELS)
    assert all(result.agree for result in compare_steps(*data, **options))
    assert not any(result.agree for result in compare_steps(*data) if "gradient" in result.stage)


def test_what_a_step_of_ours_lacks_is_not_compared() -> None:
    """The compiled one keeps no gradient."""
    mine = {n: {what: found[what] for what in WHAT[1:]} for n, found in STEPS.items()}
    results = compare_steps("s", mine, {**STEPS, "kept": KEPT}, WEIGHTS, FEATURES, LABELS)
    assert [result.stage for result in results] == [
        f"s{group}: {what}" for group in ("", ", float64") for what in WHAT[1:]
    ]


def test_keras_is_asked_for_its_runs_with_the_sigmoids_error() -> None:
    """And with all that the run is made of."""

    class Asked:
        def call(self, *args: Any, **kwargs: Any) -> Any:
            self.args, self.kwargs = args, kwargs
            return "runs"

    keras: Any = Asked()
    assert keras_fits(keras, "features", "labels", seed=3, epochs=2) == "runs"
    assert keras.args == ("training.fits", "features", "labels")
    assert keras.kwargs == {"sigmoid_ulp": SIGMOID_ULP, "seed": 3, "epochs": 2}


def test_the_compiled_epoch_takes_the_compiled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call of `fit` for each precision, of one batch in order; the other steps take none."""
    calls: list[dict[str, Any]] = []

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(options)
        return fit(*args, **options)

    monkeypatch.setattr(training_pair, "fit", counted)
    for steps, expected in ((torch_steps, 0), (torch_compiled_steps, 2)):
        found = steps(WEIGHTS, FEATURES, LABELS, seed=3)
        assert len(calls) == expected
        assert list(found) == list(WIDTHS)
        assert ("gradient" in found["float32"]) == (expected == 0)
        for dtype, width in WIDTHS.items():
            assert {a.dtype for a in found[dtype]["weight"].values()} == {np.dtype(width)}
    for options in calls:
        assert options["batch_size"] == 5
        assert [options[name] for name in ("shuffle", "metrics", "progress")] == [False] * 3


def test_a_run_of_ours_has_the_form_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """In both precisions from the same start, compiled unless it is asked otherwise."""
    calls: list[dict[str, Any]] = []

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(options)
        return fit(*args, **options)

    monkeypatch.setattr(training_pair, "fit", counted)
    options = {"seed": 3, "epochs": 2, "batch_size": 2, "metrics": False, "hidden_units": 3}
    runs = torch_fits(FEATURES, LABELS, trace=(1, 4), **options)
    for dtype, width in WIDTHS.items():
        run = runs[dtype]
        assert list(run) == [
            "history", "epoch", "initial", "trace", "final", "momentum", "velocity", "iterations"
        ]  # fmt: skip
        assert (run["epoch"], run["iterations"], list(run["history"])) == ([0, 1], 6, ["loss"])
        assert len(run["trace"]) == 2
        for part in ("initial", "final", "momentum", "velocity"):
            assert {name: array.shape for name, array in run[part].items()} == SHAPES
            held = np.float32 if part == "initial" else width
            assert {array.dtype for array in run[part].values()} == {np.dtype(held)}
    torch_fits(FEATURES, LABELS, seed=3, compiled=False)
    assert [call["compiled"] for call in calls] == [True, True, False, False]
    assert [call["batch_size"] for call in calls] == [2, 2, 2048, 2048]
    assert all(call["progress"] is False for call in calls)
