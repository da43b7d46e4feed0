"""What `fit` does around itself: generators, threads, memory, the terminal, builds in a cache."""

from __future__ import annotations

import io
import os
import pickle
import random
import re
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from parity_tests import ROOT
from parity_tests.sides.compiler import needs_compiler, no_compiler
from parity_tests.training.small_runs import FEATURES, X, Y, assert_same, trained
from torch_impl import Callback, FraudClassifier, fit, oversample
from torch_impl.base.compiled import library


def test_where_no_compiler_is_one_warning_and_the_eager_path() -> None:
    """The same bits as `compiled=False`, and no second warning in the same process."""
    with no_compiler() as told:
        weights, _ = trained(X, Y)
        trained(X, Y)
    assert_same(weights, trained(X, Y, compiled=False)[0])
    (warning,) = told
    assert "slower eager path" in str(warning.message)


@pytest.mark.slow
@needs_compiler
def test_the_short_last_batch_compiles_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One library for all batch sizes; `test_builds.py` says who finds it ready."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for batch_size in (64, 299, 300, 1000, 1):
        model = FraudClassifier(6, 8, seed=1)
        library.cache_clear()
        fit(model, torch.ones(300, 6), torch.ones(300), batch_size=batch_size, progress=False)
    (_,) = (tmp_path / "torch_impl").iterdir()


@pytest.mark.slow
def test_fit_holds_one_copy_of_the_rows_besides_the_callers() -> None:
    """Peak memory of a process that trains on 58 MB grows by less than 1.5 times that.

    On either path, compiled and eager.
    """
    program = """
import torch
from pathlib import Path
from torch_impl import FraudClassifier, fit
# Not ru_maxrss, which begins at the size of the process that started this one.
status = Path("/proc/self/status")
peak = lambda: 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
x, y = torch.ones(500_000, 29), torch.ones(500_000, 1)
for compiled in (True, False):
    options = dict(batch_size=32768, seed=1, progress=False, compiled=compiled)
    fit(FraudClassifier(29, 16, seed=1), x[:35000], y[:35000], **options)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
    before = peak()
    fit(FraudClassifier(29, 16, seed=1), x, y, **options)
    print((peak() - before) / x.nbytes)
"""
    # glibc learns from what is freed and then keeps blocks of up to 32 MB, in holes that the
    # next ones need not fit: without this the same run was seen to take 1.36 to 1.56.
    returned = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | returned,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    compiled, eager = map(float, answer.stdout.split())
    assert 0.9 < compiled < 1.5
    assert 0.9 < eager < 1.5


def test_the_progress_bar_can_be_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written to a pipe or where progress=False."""
    trained(X, Y, progress=True)
    trained(X, Y, progress=False)
    assert capsys.readouterr() == ("", "")


class Broken(Callback):
    def on_epoch_end(self, epoch: int, logs: Mapping[str, float], model: nn.Module) -> None:
        raise RuntimeError("broken")


def test_training_leaves_threads_and_warnings_as_they_were() -> None:
    """Also where a callback raises; three threads are more than one, and than most machines'."""
    threads, filters = torch.get_num_threads(), list(warnings.filters)
    try:
        torch.set_num_threads(3)
        trained(X, Y)
        assert torch.get_num_threads() == 3
        with pytest.raises(RuntimeError, match="broken"):
            trained(X, Y, callbacks=[Broken()])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert warnings.filters == filters


def test_what_has_a_seed_leaves_every_other_generator_as_it_was() -> None:
    """torch's, NumPy's and Python's, whatever is drawn on the way."""

    def states() -> list[Any]:
        numpys = np.random.mtrand._rand  # what np.random.seed and friends share
        return [torch.get_rng_state().tolist(), random.getstate(), pickle.dumps(numpys)]

    before = states()
    for compiled in (True, False):
        trained(*oversample(X, Y, seed=0), validation_data=(X, Y), compiled=compiled)
        trained(X, Y, seed=None, shuffle=False, compiled=compiled)  # then there is no order to draw
    assert states() == before


class Terminal(io.StringIO):
    """A standard error that a person looks at."""

    def isatty(self) -> bool:
        return True


def bar_of(terminal: bool, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    fit(FraudClassifier(FEATURES, 8, seed=3), X, Y, epochs=2, batch_size=64, **options)
    return stream.getvalue()


def test_a_bar_shows_epochs_and_loss_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, unless it is not wanted."""
    shown = bar_of(True, monkeypatch)
    assert "2/2" in shown
    assert re.search(r"[\d.]+(epoch/s|s/epoch), loss=0\.\d+\]", shown)
    assert bar_of(True, monkeypatch, progress=False) == ""
    assert bar_of(False, monkeypatch) == ""


def test_without_tqdm_the_epochs_run_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch and NumPy are enough to train."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert trained(X, Y, epochs=3)[1].epoch == [0, 1, 2]
