"""`python -m parity_tests --model`: the report for a model and rows of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import parity_tests.__main__ as command
from parity_tests.reference import keras_process
from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import NEIGHBOURS
from parity_tests.sides import own_model
from parity_tests.sides.answers import Answers
from torch_impl import losses
from torch_impl.keras.layers import kinds
from torch_impl.keras.layers.normalization import KerasBatchNormalization
from torch_impl.keras.layers.regularizers import L1L2

F = 5
# Kinds of every part of the table; no bias before a normalization.
CHAIN = [
    ("Normalization", [], {}), ("Dense", [6], {"use_bias": False}), ("BatchNormalization", [], {}),
    ("LeakyReLU", [], {"negative_slope": 0.1}), ("Dropout", [0.2], {}),
    ("GaussianNoise", [0.1], {}),
    ("Dense", [5, "tanh"], {"kernel_regularizer": "l2"}), ("LayerNormalization", [], {}),
    ("Dense", [4], {"activation": ("ELU", {"alpha": 0.5})}),
    ("Dense", [1], {"activation": "sigmoid"}),
]  # fmt: skip
STAGES = [
    "weights",
    *(f"layers: {name}" for name in (
        "normalization", "dense", "batch_normalization", "leaky_re_lu", "dropout",
        "gaussian_noise", "dense_1", "layer_normalization", "dense_2", "dense_3",
    )),
    "predictions", "predictions, float64",
    *(f"{run}{dtype}: {what}" for run in ("one step", "fit, 2 epochs")
      for dtype in ("", ", float64") for what in ("weights", "loss")),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(keras: KerasProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's file, and a table with a column too many."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(8)
    rows = rng.normal(size=(70, F)).astype("f4")
    keras.call("family.write", str(folder / "my"), CHAIN, rows, (".keras",))
    table = pd.DataFrame(rows, columns=[*"abcde"]).assign(fraud=rng.integers(0, 2, len(rows)))
    table.to_csv(folder / "my.csv", index=False)
    table.assign(a="x").to_csv(folder / "text.csv", index=False)
    table.assign(fraud=2).to_csv(folder / "two.csv", index=False)
    (folder / "no.keras").write_bytes(b"no model of any kind, but some bytes")
    return folder


@pytest.fixture(scope="module")
def asked(keras: KerasProcess) -> Callable[[], Any]:
    """The process in the place of its class; the reports ask it the same."""
    answers = Answers(keras)
    return lambda: nullcontext(answers)


def report(folder: Path, *more: str) -> dict[str, Any]:
    to = folder / "report.json"
    status = command.main([
        "--model", str(folder / "my.keras"), "--csv", str(folder / "my.csv"), "--label", "fraud",
        "--json", str(to), *more,
    ])  # fmt: skip
    found: dict[str, Any] = json.loads(to.read_text())
    assert status == (found["verdict"] != "agree")
    return found


@NEIGHBOURS
def test_a_model_of_ones_own_agrees_at_every_stage(
    folder: Path,
    asked: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """From weights to two epochs; the page too, and what is trained otherwise is told."""
    monkeypatch.setattr(keras_process, "KerasProcess", asked)
    found = report(folder, "--html", str(folder / "my.html"))
    assert [stage["stage"] for stage in found["stages"]] == STAGES
    assert found["verdict"] == "agree"
    assert found["data"]["rows"] == 70
    printed = " ".join(capsys.readouterr().out.split())
    assert "note: no optimizer in the file: trained with a new Adam" in printed
    assert f"agree in all {len(STAGES)} stages" in printed
    page = (folder / "my.html").read_text()
    assert "is it the same model?" in page
    assert "fraud" not in page.replace("fraud.csv", "").replace("--label fraud", "")


def squared(**_: Any) -> Any:
    return losses.MeanSquaredError()


FAULTS: dict[str, tuple[tuple[Any, str, Any], list[str]]] = {
    "momentum-of-torch": (
        (KerasBatchNormalization, "__init__", None),
        ["one step: weights", "one step, float64: weights"],
    ),
    "slope-of-the-layer": ((kinds, "leaky_relu", lambda _: torch.nn.LeakyReLU(0.3)),
                           ["layers: leaky_re_lu"]),
    "no-penalty": ((L1L2, "__call__", lambda self, weight: weight.sum() * 0),
                   ["one step, float64: weights", "one step, float64: loss"]),
    "a-loss-of-another-kind": (
        (own_model, "losses", SimpleNamespace(BinaryCrossentropy=squared)),
        ["one step, float64: weights", "one step, float64: loss"],
    ),
}  # fmt: skip


@NEIGHBOURS
@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_makes_its_stages_differ(
    case: str,
    folder: Path,
    asked: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first of them is where the fault is."""
    monkeypatch.setattr(keras_process, "KerasProcess", asked)
    (where, name, wrong), stages = FAULTS[case]
    if wrong is None:
        right = KerasBatchNormalization.__init__

        def wrong(self: Any, features: int, momentum: float, *more: Any, **options: Any) -> None:
            right(self, features, 1 - momentum, *more, **options)

    monkeypatch.setattr(where, name, wrong)
    broken = [stage["stage"] for stage in report(folder)["stages"] if not stage["agree"]]
    assert broken[0] == stages[0] or broken[0].replace(":", ", float64:", 1) == stages[0]
    assert set(stages) <= set(broken)


BAD = {
    "no-such-model": (["--model", "no/model.keras"], "no/model.keras: does not exist"),
    "no-model": (["--model", "no.keras"], "no.keras: no Keras file; expected .keras, .h5,"),
    "no-such-column": (
        ["--model", "my.keras", "--csv", "my.csv", "--label", "Fraud"],
        "my.csv: no column 'Fraud'; there are a, b, c, d, e, fraud; is it 'fraud'?",
    ),
    "a-column-too-many": (
        ["--model", "my.keras", "--csv", "my.csv"],
        "my.keras: takes rows of 5 features; the table has 6 columns",
    ),
    "a-text": (
        ["--model", "my.keras", "--csv", "text.csv", "--label", "fraud"],
        "text.csv: row 1 (line 2), column 'a': x; expected a finite number",
    ),
    "labels-of-two": (
        ["--model", "my.keras", "--csv", "two.csv", "--label", "fraud"],
        "--label: holds numbers other than 0 and 1, which BinaryCrossentropy takes",
    ),
}  # fmt: skip


@NEIGHBOURS
@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_compared_is_told_in_one_line(
    case: str,
    folder: Path,
    asked: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """With exit status 2."""
    monkeypatch.setattr(keras_process, "KerasProcess", asked)
    monkeypatch.chdir(folder)
    arguments, message = BAD[case]
    assert command.main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"python -m parity_tests: {message}")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "a"], "--label a: needs --model and --csv"),
        (["--model", ""], "--model: came empty; expected the name of a file"),
        (["--model", "a", "--download"], "--download: not allowed with --model"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    """Before anything is run."""
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
