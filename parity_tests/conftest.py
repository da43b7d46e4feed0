"""What every test shares: one Keras process, a device, and a rule for what is left out."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.markers import reference, unmet
from parity_tests.reference.recording_file import FOLDER, Recordings, read
from parity_tests.reference.selection import (
    LeftOut,
    absent,
    device_fault,
    keras_line,
    needed_packages,
    needs_keras,
    unasked,
)
from parity_tests.versions import pinned

_left_out = pytest.StashKey[LeftOut]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--recorded`, `--fast`, `--device` and `--tally`."""
    parser.addoption(
        "--recorded", action="store_true",
        help="ask no live Keras: run what would run where TensorFlow is not installed",
    )  # fmt: skip
    parser.addoption(
        "--fast", action="store_true",
        help="the part that needs no live Keras and takes seconds (implies --recorded)",
    )  # fmt: skip
    parser.addoption(
        "--device", default="cpu",
        help="where the torch side computes what is compared with the recordings, such as cuda",
    )  # fmt: skip
    parser.addoption(
        "--tally", metavar="FILE",
        help="write how the run went, and with what, to a JSON file for versions/matrix.py",
    )  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before Hypothesis chooses one of the profiles
def pytest_configure(config: pytest.Config) -> None:
    """Refuses a device that is not there before anything is collected."""
    config.stash[_left_out] = LeftOut()
    if pinned.others():  # there a deprecation is other libraries' affair; it is shown
        for kind in ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning"):
            config.addinivalue_line("filterwarnings", f"default::{kind}")
    workers = 0 if hasattr(config, "workerinput") else len(config.getoption("tx", None) or [])
    if workers:
        _share_cores(workers)
    _name_profiles()
    device = config.getoption("--device")
    fault = None if device == "cpu" else device_fault(device)
    if fault:
        raise pytest.UsageError(fault)


def _name_profiles() -> None:
    """The same examples on every run; `--hypothesis-profile=explore` looks for new ones."""
    try:
        from hypothesis import settings
    except ModuleNotFoundError:  # the recordings can be proved against without it
        return
    settings.register_profile("fixed", derandomize=True, deadline=None)
    settings.register_profile("explore", deadline=None)
    settings.load_profile("fixed")


def _share_cores(workers: int) -> None:
    """Gives each worker of pytest-xdist, and what it starts, its share of the cores.

    Threads that wait for each other on the same core were seen to take a tenth of the time.
    """
    for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(variable, str(max(1, (os.cpu_count() or 1) // workers)))


def _asks_no_keras(config: pytest.Config) -> bool:
    return bool(config.getoption("--recorded") or config.getoption("--fast"))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Which Keras this is, live or recorded by what, and what else is not as pinned."""
    device = config.getoption("--device")
    keras = f"{keras_line(_asks_no_keras(config))}; recordings are proved on device: {device}"
    others = ", ".join(pinned.others())
    return [keras, f"packages: {others or 'as in constraints.txt'}"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Passes over a test file whose packages are not installed, and counts it."""
    if collection_path.suffix == ".py" and collection_path.name.startswith("test_"):
        missing = absent(needed_packages(collection_path))
        if missing:
            config.stash[_left_out].files[f"without {', '.join(sorted(missing))}"] += 1
            return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what needs a Keras that is not there, or is not asked, and counts it."""
    missing, others = reference().missing, pinned.others()
    kept, dropped = [], []
    for item in items:
        markers = {marker.name for marker in item.iter_markers()}
        reason = None
        if needs_keras(getattr(item, "fixturenames", []), markers):
            item.add_marker("keras")
            if missing:
                reason = f"no live Keras ({', '.join(missing)} not installed)"
            elif _asks_no_keras(config):
                reason = "no live Keras (asked for)"
            else:
                demands = [unmet(mark, reference()) for mark in item.iter_markers("reference")]
                reason = next(filter(None, demands), None)
                if reason:
                    config.stash[_left_out].not_applicable[reason] += 1
        if reason is None and others and (mark := item.get_closest_marker("pinned")):
            reason = f"{mark.args[0]} (needs the versions of constraints.txt)"
            config.stash[_left_out].not_applicable[reason] += 1
        if reason is None and "slow" in markers and config.getoption("--fast"):
            reason = "slow (--fast)"
        if reason:
            config.stash[_left_out].tests[reason] += 1
        (dropped if reason else kept).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist tells the main process, which collects nothing itself.

    That one fails a run which live Keras was there for and was not asked in.
    """
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        left = session.config.stash[_left_out]
        output["left_out"] = tuple(map(dict, left))
    elif _fault(session.config) and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _fault(config: pytest.Config) -> str | None:
    options = config.option
    if _asks_no_keras(config) or options.collectonly:
        return None
    told = config.pluginmanager.get_plugin("terminalreporter").stats.values()
    asked = sum(
        "keras" in getattr(report, "keywords", ()) for reports in told for report in reports
    )
    chosen = options.keyword or options.markexpr or options.maxfail or options.deselect
    whole = config.args_source == pytest.Config.ArgsSource.TESTPATHS and not chosen
    return unasked(asked, whole, config.stash[_left_out].tests)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes what a worker counted."""
    theirs = getattr(node, "workeroutput", {}).get("left_out", ({}, {}, {}))
    for counts, came in zip(node.config.stash[_left_out], theirs, strict=True):
        counts |= came  # every worker collects, and counts, everything


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """How many tests and files were left out, and why; the same as data where it is asked."""
    left = config.stash[_left_out]
    for line in left.lines():
        terminalreporter.write_line(line)
    if fault := _fault(config):
        terminalreporter.write_line(f"ERROR: {fault}", red=True)
    if config.getoption("--tally"):
        count = {kind: len(found) for kind, found in terminalreporter.stats.items()}
        tally = {
            "python": platform.python_version(),
            "torch": version("torch").partition("+")[0],
            **reference()._asdict(),
            "passed": count.get("passed", 0),
            "failed": count.get("failed", 0) + count.get("error", 0),
            "not_applicable": dict(left.not_applicable),
        }
        Path(config.getoption("--tally")).write_text(json.dumps(tally, indent=2) + "\n", "utf-8")


@pytest.fixture(scope="session")
def keras() -> Iterator[KerasProcess]:
    """The live reference, in a process of its own."""
    with KerasProcess() as process:
        yield process


@pytest.fixture(scope="session")
def lent(keras: KerasProcess) -> Callable[..., AbstractContextManager[KerasProcess]]:
    """The same process in the place of the class, for whole programs that would start one each."""
    return lambda **_: nullcontext(keras)


@pytest.fixture(scope="session")
def recordings() -> Recordings:
    """What the reference answered when it was recorded."""
    return read(FOLDER)


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """Where the torch side computes, as `--device` says."""
    return request.config.getoption("--device")
