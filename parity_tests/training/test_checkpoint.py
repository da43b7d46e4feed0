"""A killed run loses nothing: it continues to the same bits, wherever it was killed."""

from __future__ import annotations

import copy
import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from parity_tests import ROOT
from parity_tests.training.killed_run import run
from torch_impl import (
    Callback,
    CheckpointError,
    EarlyStopping,
    FraudClassifier,
    History,
    KerasAdam,
    KerasDropout,
    fit,
)
from torch_impl.training.checkpoint import Checkpoint, optimizer_text

# Which path trains makes no difference to resuming and saving: each is killed in one way, after
# so many epochs or lines.
KILLS = {
    "any-time": ("eager", (0, 3, 1, 4, 2, 0, 3, 2)), "any-line": ("compiled", range(4, 104, 5)),
}  # fmt: skip


@pytest.fixture(scope="module")
def forker() -> Iterator[subprocess.Popen[str]]:
    """`parity_tests.training.killed_run`."""
    with subprocess.Popen(
        [sys.executable, "-m", "parity_tests.training.killed_run"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        start_new_session=True,
    ) as process:  # fmt: skip
        yield process
        os.killpg(process.pid, signal.SIGKILL)  # with a run that a failure left waiting


@pytest.mark.slow
@pytest.mark.parametrize("moment", KILLS)
def test_a_run_killed_over_and_over_ends_on_the_same_bits(
    moment: str, forker: subprocess.Popen[str], tmp_path: Path
) -> None:
    """SIGKILL of real processes, one after the other, before a last one goes through.

    At any time, or at lines of resuming and saving.

    Weights, history, dropout count and early-stopping state equal those of the run that was
    never killed; a half-written file beside the checkpoint is no hindrance.
    """
    path, kills = KILLS[moment]
    draw = random.Random(0)
    checkpoint, result = tmp_path / "run.safetensors", tmp_path / "result.json"
    half_written, told = 0, [-1]
    assert forker.stdout is not None

    def fork(kind: str) -> int:
        assert forker.stdin is not None
        assert forker.stdout is not None
        forker.stdin.write(json.dumps([path, kind, str(checkpoint), str(result)]) + "\n")
        return int(forker.stdout.readline())

    for number, after in enumerate(kills):
        process = fork("step" if moment == "any-time" else str(after))
        if moment == "any-time":
            # While it resumes, trains or saves; every other time before it saves what it told of.
            for epoch in range(after):
                told.append(int(forker.stdout.readline()))
                if number % 2 == 0 or epoch < after - 1:
                    os.kill(process, signal.SIGUSR1)
            time.sleep(draw.random() * 0.005)
            os.kill(process, signal.SIGKILL)
        while forker.stdout.readline() != "dead\n":
            pass
        for scrap in checkpoint.parent.glob(f".{checkpoint.name}.*.part"):
            half_written += 1
            scrap.unlink()
        assert not result.exists()
    fork("through")
    while forker.stdout.readline() != "dead\n":
        pass
    assert json.loads(result.read_text()) == json.loads(json.dumps(run(path)))
    assert checkpoint.exists()
    if moment == "any-time":
        assert max(told) > 6  # the kills fell on many epochs
        assert len(told) > len(set(told))  # and some had to be trained again
    else:
        assert half_written


def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 29)).astype(np.float32)
    return x, (x[:, 0] > 0.5).astype(np.float32)


def run_of(model: nn.Module, checkpoint: Path, epochs: int, **options: object) -> History:
    return fit(
        model, *rows(), epochs=epochs, checkpoint=checkpoint, progress=False,
        **{"seed": 1, "batch_size": 64, **options},
    )  # fmt: skip


def train(checkpoint: Path, epochs: int, **options: object) -> FraudClassifier:
    model = options.pop("model", None) or FraudClassifier(seed=1)
    run_of(model, checkpoint, epochs, **options)
    return model


@pytest.mark.parametrize("cut", ["mid-write", "after-write"])
def test_a_kill_while_writing_leaves_the_old_checkpoint(
    cut: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies before the rename: the next one goes on from the epoch before."""
    path = tmp_path / "run.safetensors"
    train(path, 2)
    before = path.read_bytes()

    def die(part: str, target: Path) -> None:
        if cut == "mid-write":
            os.truncate(part, os.path.getsize(part) // 2)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            train(path, 3)
    assert path.read_bytes() == before
    straight = train(tmp_path / "straight.safetensors", 5)
    resumed = train(path, 5)
    for ours, theirs in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_resuming_a_finished_run_trains_no_more(tmp_path: Path) -> None:
    """The same weights come back, and more epochs may be asked for."""
    path = tmp_path / "run.safetensors"
    first, again = train(path, 3), train(path, 3)
    assert torch.equal(first.hidden.weight, again.hidden.weight)
    assert again.dropout.calls == first.dropout.calls == 12
    assert not torch.equal(train(path, 4).hidden.weight, first.hidden.weight)


@pytest.mark.parametrize("interrupted", [1, 4, 6])
def test_early_stopping_waits_on_where_it_was_interrupted(interrupted: int, tmp_path: Path) -> None:
    """A resumed run stops in the same epoch, on the same best weights."""

    def stopping() -> EarlyStopping:
        return EarlyStopping("loss", min_delta=1.0, patience=6, restore_best_weights=True)

    straight, resumed = stopping(), stopping()
    whole = train(tmp_path / "a", 30, callbacks=[straight])
    train(tmp_path / "b", interrupted, callbacks=[stopping()])
    rest = train(tmp_path / "b", 30, callbacks=[resumed])
    assert (straight.stopped_epoch, straight.best_epoch) == (6, 0)
    assert (resumed.stopped_epoch, resumed.best_epoch) == (6, 0)
    assert torch.equal(rest.hidden.weight, whole.hidden.weight)


def test_another_optimizer_state_is_resumed_too(tmp_path: Path) -> None:
    """Any torch optimizer whose state is tensors, and torch's own dropout generator."""

    def model() -> FraudClassifier:
        torch.manual_seed(0)
        return FraudClassifier()

    whole, half = model(), model()
    torch.manual_seed(5)
    train(tmp_path / "a", 4, model=whole, optimizer=torch.optim.Adam(whole.parameters()))
    torch.manual_seed(5)
    train(tmp_path / "b", 2, model=half, optimizer=torch.optim.Adam(half.parameters()))
    rest = model()
    train(tmp_path / "b", 4, model=rest, optimizer=torch.optim.Adam(rest.parameters()))
    assert torch.equal(rest.hidden.weight, whole.hidden.weight)


class Changing(Callback):
    """Halves every group's rate, lets all be trained, and keeps a state with a tensor in it."""

    def __init__(self, optimizer: KerasAdam) -> None:
        self.optimizer, self.sum, self.epochs = optimizer, torch.zeros(1), 0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] /= 2
        for parameter in model.parameters():
            parameter.requires_grad_()
            self.sum = self.sum + parameter.detach().sum()
        self.epochs += 1

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "tensors": {"sum": self.sum}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.epochs, self.sum = state["epochs"], state["tensors"]["sum"]


def told(path: Path, epochs: int, frozen: bool, shown: bool = True) -> dict[str, Any]:
    """All that a run of many parts comes to.

    Two groups with numbers of their own, dropouts at two depths and one of them called twice, a
    parameter that is not trained in the first epoch, and callbacks of three kinds.
    """
    twice = KerasDropout(0.25, seed=6)
    inner = nn.Sequential(KerasDropout(0.5, seed=5), nn.Linear(4, 4), nn.ReLU(), twice, twice)
    model = nn.Sequential(nn.Linear(29, 4), nn.Sequential(inner, nn.Linear(4, 1)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.5)
    inner[1].weight.requires_grad_(not frozen)
    optimizer = KerasAdam(
        [
            {"params": model[0].parameters(), "lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3},
            {"params": model[1].parameters(), "lr": 0.1},
        ],
    )
    callbacks = [
        EarlyStopping("loss", min_delta=9.0, patience=20, restore_best_weights=True),
        EarlyStopping("auc", patience=4, restore_best_weights=True),
        Changing(optimizer),
    ]
    history = run_of(model, path, epochs, optimizer=optimizer, callbacks=callbacks)
    packed = optimizer.state_dict()
    steps = {int(state["step"]) for state in packed["state"].values()}
    calls = [m.calls for m in model.modules() if isinstance(m, KerasDropout)]
    assert not shown or len(steps) == len(set(calls)) == 2  # else nothing is seen of them
    return {
        "weights": model.state_dict(),
        "optimizer": packed,
        "calls": calls,
        "history": vars(history),
        "callbacks": [callback.state_dict() for callback in callbacks],
    }


def plain(value: Any) -> Any:
    """With lists for tensors and tuples."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("interrupted", [1, 5])
def test_a_resumed_run_gets_back_all_that_a_run_has(interrupted: int, tmp_path: Path) -> None:
    """Each group's rate, each parameter's moments and steps, each dropout's calls, each state."""
    straight = told(tmp_path / "a", 6, frozen=True)
    first = told(tmp_path / "b", interrupted, frozen=True, shown=interrupted > 1)
    resumed = told(tmp_path / "b", 6, frozen=False)
    rates = [group["lr"] for group in resumed["optimizer"]["param_groups"]]
    assert rates == [0.01 / 64, 0.1 / 64]
    assert first["history"]["epoch"] == [*range(interrupted)]
    assert resumed["history"]["epoch"] == [*range(6)]
    assert plain(resumed) == plain(straight)


def test_a_run_that_was_stopped_is_not_gone_on_with(tmp_path: Path) -> None:
    """Its best weights come back, and no epoch is trained."""

    def stopping() -> EarlyStopping:
        return EarlyStopping("loss", min_delta=1.0, patience=2, restore_best_weights=True)

    models = [FraudClassifier(seed=1) for _ in range(2)]
    histories = [run_of(model, tmp_path / "a", 30, callbacks=[stopping()]) for model in models]
    assert [history.epoch for history in histories] == [[0, 1, 2]] * 2
    assert histories[0] == histories[1]
    assert [model.dropout.calls for model in models] == [12, 12]
    assert torch.equal(models[0].hidden.weight, models[1].hidden.weight)


CUT = "is no whole checkpoint of fit ({reason})"
DIGEST = "is damaged, or no checkpoint of fit (its digest does not match its content)"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c[: len(c) * 2 // 3], CUT),
        (lambda c: b"", CUT),
        (lambda c: b"PK\x03\x04 something else entirely", CUT),
        (lambda c: c[:-1] + bytes([c[-1] ^ 1]), DIGEST),
        (lambda c: c.replace(b'\\"epoch\\": [0', b'\\"epoch\\": [1'), DIGEST),
        (lambda c: save({"x": torch.zeros(1)}), DIGEST),
    ],
    ids=["cut-off", "empty", "foreign", "bit-flipped", "edited", "tensors-alone"],
)
def test_a_damaged_checkpoint_is_refused_and_left_as_it_was(
    damage, message: str, tmp_path: Path
) -> None:
    """One clear line that names the file; the model is not touched either."""
    path = tmp_path / "run.safetensors"
    train(path, 1)
    spoilt = damage(path.read_bytes())
    assert spoilt != path.read_bytes()
    path.write_bytes(spoilt)
    model = FraudClassifier(seed=1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CheckpointError) as caught:
        train(path, 2, model=model)
    told = message.format(reason=" ".join(str(caught.value.__cause__).split()))
    assert str(caught.value) == f"{path}: {told}; it was left as it is"
    assert path.read_bytes() == spoilt
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_a_checkpoint_of_another_format_is_told_by_both(tmp_path: Path) -> None:
    """Whose digest is right."""
    path, facts = tmp_path / "old.safetensors", json.dumps({"format": "torch_impl-fit-0"})
    digest = hashlib.sha256(facts.encode()).hexdigest()
    path.write_bytes(save({}, {"facts": facts, "sha256": digest}))
    with pytest.raises(CheckpointError) as error:
        train(path, 2)
    assert str(error.value) == (
        f"{path}: has format 'torch_impl-fit-0'; expected 'torch_impl-fit-2'"
    )


def test_a_checkpoint_of_other_rows_is_refused(tmp_path: Path) -> None:
    """Their number is part of the run."""
    path = tmp_path / "run.safetensors"
    train(path, 1)
    model = FraudClassifier(seed=1)
    x, y = rows()
    was, now = (hashlib.sha256(part.tobytes()).hexdigest()[:16] for part in (x, x[:100]))
    line = rf"x was float32\[200, 29\] {was}, now float32\[100, 29\] {now};"
    with pytest.raises(CheckpointError, match=line):
        fit(model, x[:100], y[:100], epochs=2, seed=1, batch_size=64, checkpoint=path)


def test_a_callback_that_keeps_nothing_needs_nothing_kept(tmp_path: Path) -> None:
    """As one that only prints."""
    path = tmp_path / "run.safetensors"
    train(path, 1, callbacks=[Callback()])
    assert train(path, 2, callbacks=[Callback()]).dropout.calls == 8


def test_every_way_in_which_a_run_is_another_is_named_at_once(tmp_path: Path) -> None:
    """Word for word, with what was and what is now."""
    path = tmp_path / "run.safetensors"
    stopping = [EarlyStopping("loss"), EarlyStopping("auc", mode="max")]
    train(path, 1, callbacks=stopping, steps_per_epoch=2)
    model = FraudClassifier(hidden_units=24, seed=2)
    optimizer, adam = torch.optim.SGD(model.parameters(), lr=0.1), KerasAdam(model.parameters())
    assert "lr=0.1" in optimizer_text(optimizer)
    with pytest.raises(CheckpointError) as error:
        train(
            path, 2, model=model, optimizer=optimizer, seed=2, batch_size=32, steps_per_epoch=3,
            shuffle=False,
        )  # fmt: skip
    assert str(error.value) == (
        f"{path}: is of another run (delete it to start anew): batch_size was 64, now 32; "
        "steps_per_epoch was 2, now 3; "
        "shuffle was True, now False; seed was 1, now 2; "
        f"optimizer was {optimizer_text(adam)}, now {optimizer_text(optimizer)}; "
        f"the callbacks were {', '.join(c.kind for c in stopping)}, now none; "
        "the model had other weights; the model had another dropout seed"
    )


def test_an_optimizer_is_told_by_each_groups_numbers() -> None:
    """In the order in which torch keeps them."""
    first, *others = (nn.Parameter(torch.zeros(n)) for n in (1, 2, 3))
    groups = [{"params": [first], "lr": 0.5}, {"params": others, "eps": 0.25, "betas": (0.5, 0.75)}]
    assert optimizer_text(KerasAdam(groups)) == (
        "KerasAdam(1 parameters, lr=0.5, betas=(0.9, 0.999), eps=1e-07; "
        "2 parameters, eps=0.25, betas=(0.5, 0.75), lr=0.001)"
    )


X, Y = rows()
OTHER_RUNS: dict[str, tuple[dict[str, Any], str]] = {
    "one-number-of-x": ({"x": np.where(X[7, 3] == X, X + 1e-6, X)}, "x was"),
    "one-label": ({"y": np.where(np.arange(len(Y)) == 199, 1 - Y, Y)}, "y was"),
    "weights-of-rows": ({"sample_weight": np.ones(len(Y))}, "weight of rows was None, now float32"),
    "weights-of-classes": ({"class_weight": {1: 2.0}}, "weight of rows was None, now float32"),
    "validation-rows": ({"validation_data": (X + 1, Y)}, "validation_data was "),
    "validation-labels": ({"validation_data": (X, 1 - Y)}, "validation_data was "),
    "weights-of-validation": ({"validation_data": (X, Y, Y + 1)}, "validation_data was "),
    "no-validation": ({"validation_data": None}, "validation_data was "),
    "metrics": ({"metrics": False}, "metrics was True, now False"),
    "learning-rate": ({"lr": 0.01}, r"optimizer was .*lr=0\.001.* now .*lr=0\.01"),
    "patience": ({"patience": 5}, "patience=9.*patience=5"),
    "monitor": ({"monitor": "val_auc"}, r"were EarlyStopping\('val_loss'.*now .*\('val_auc'"),
    "best-weights": ({"restore_best_weights": True}, "restore_best_weights=False.*now.*=True"),
    "dtype": (
        {"dtype": torch.float64},
        r"x was float32.*now float64.*; dtype was \['torch\.float32'\], now \['torch\.float64'\]$",
    ),
    "shuffle": ({"shuffle": False}, "shuffle was True, now False"),
    "no-seed": ({"seed": None}, "seed was 1, now None"),
}


def a_run(path: Path, epochs: int, **options: Any) -> FraudClassifier:
    given = {"x": X, "y": Y, "lr": 1e-3, "monitor": "val_loss", "patience": 9}
    given |= {"restore_best_weights": False, "dtype": None, "seed": 1, "validation_data": (X, Y)}
    given |= options
    model = FraudClassifier(seed=1, dtype=given.pop("dtype"))
    optimizer = KerasAdam(model.parameters(), lr=given.pop("lr"))
    stopping = EarlyStopping(
        given.pop("monitor"), patience=given.pop("patience"),
        restore_best_weights=given.pop("restore_best_weights"),
    )  # fmt: skip
    fit(
        model, given.pop("x"), given.pop("y"), epochs=epochs, batch_size=64, checkpoint=path,
        optimizer=optimizer, callbacks=[stopping], progress=False, **given,
    )  # fmt: skip
    return model


@pytest.mark.parametrize("case", OTHER_RUNS)
def test_a_checkpoint_continues_its_very_run_alone(case: str, tmp_path: Path) -> None:
    """What is fed to it, to the bit, and all that is asked for; the file stays as it is."""
    path = tmp_path / "run.safetensors"
    a_run(path, 1)
    kept = path.read_bytes()
    change, message = OTHER_RUNS[case]
    with pytest.raises(CheckpointError, match=message) as caught:
        a_run(path, 2, **change)
    faults = str(caught.value).partition(" (delete it to start anew): ")[2].split("; ")
    assert len(faults) == (4 if case == "dtype" else 1)
    assert path.read_bytes() == kept
    a_run(path, 2)


def test_the_seed_of_a_dropout_within_other_modules_is_part_of_the_run(tmp_path: Path) -> None:
    """However deep it is."""
    path = tmp_path / "run.safetensors"

    def nested(seed: int) -> nn.Module:
        return nn.Sequential(nn.Sequential(FraudClassifier(seed=seed)))

    run_of(nested(1), path, 1)
    with pytest.raises(CheckpointError, match="the model had another dropout seed"):
        run_of(nested(9), path, 2)


def test_a_run_without_a_seed_is_continued_in_its_own_order(tmp_path: Path) -> None:
    """Which the checkpoint keeps: the rest of the run is what it would have been."""
    path, straight = tmp_path / "run.safetensors", tmp_path / "straight.safetensors"
    torch.manual_seed(3)
    whole = a_run(straight, 4, seed=None)
    torch.manual_seed(3)
    a_run(path, 2, seed=None)
    torch.manual_seed(8)
    resumed = a_run(path, 4, seed=None)
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_open_checkpoint_is_refused_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also within one process; once it is closed it is free."""
    path = tmp_path / "run.safetensors"
    with monkeypatch.context() as patch, Checkpoint(path):
        patch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
        with pytest.raises(CheckpointError) as error:
            train(path, 1)
    assert str(error.value) == f"{path}: another run is writing it; expected one at a time"
    train(path, 1)


def test_a_checkpoint_in_no_folder_is_refused_before_the_run(tmp_path: Path) -> None:
    """Not after its first epoch."""
    model = FraudClassifier(seed=1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(NotADirectoryError, match="is not a folder") as caught:
        train(tmp_path / "no" / "run.safetensors", 1, model=model)
    assert caught.value.filename == str(tmp_path / "no")
    assert caught.value.errno == errno.ENOTDIR
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
