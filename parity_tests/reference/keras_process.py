"""The process border: Keras answers from one spawned child.

The process that imports torch never imports TensorFlow: with the ordinary Linux
wheels (torch with triton) the two abort each other. This file is what the child
imports first, so it imports neither.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import multiprocessing
import os
import site
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType, TracebackType
from typing import Any

__all__ = ["KerasProcess", "KerasUnavailableError", "no_main_module"]


class KerasUnavailableError(RuntimeError):
    """The reference cannot be run: TensorFlow is missing or its process died."""


PYTHON = "PARITY_KERAS_PYTHON"
"""The environment variable that names another environment's Python, for another Keras."""


def _prepare_child(backend: str | None, another_environment: bool) -> None:
    if another_environment:
        # The parent's own packages came along with its sys.path.
        parents = [path for path in sys.path if "site-packages" not in path]
        sys.path[:] = parents + site.getsitepackages()
    # At the very end nothing is left to do; taking TensorFlow's graphs apart takes seconds.
    atexit.register(os._exit, 0)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = backend or os.environ.get("KERAS_BACKEND") or "tensorflow"
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        # Keras imports it where it is installed, on another backend too, beside torch.
        sys.modules["tensorflow"] = None  # type: ignore[assignment]
    # Each stage is a model of its own here, which TensorFlow takes for needless retracing.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # TensorFlow writes banners straight to file descriptor 2 while it loads, whatever its
    # log level, and would tear the progress bar. What it says is shown if loading fails.
    with tempfile.TemporaryFile() as noise:
        stderr = os.dup(2)
        os.dup2(noise.fileno(), 2)
        try:
            importlib.import_module("keras_ref.compat").wake()
        except ModuleNotFoundError:
            pass  # the first call raises it again, where it can be reported
        except BaseException:
            noise.seek(0)
            os.write(stderr, noise.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _call_reference(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    module_name, function_name = name.rsplit(".", 1)
    function = getattr(importlib.import_module(f"keras_ref.{module_name}"), function_name)
    result = function(*args, **kwargs)
    if "torch" in sys.modules and os.environ["KERAS_BACKEND"] != "torch":
        raise RuntimeError(f"keras_ref.{name} brought torch into the Keras process")
    return result


@contextmanager
def no_main_module() -> Iterator[None]:
    """A spawned child imports its parent's main module, which may well import torch."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class KerasProcess:
    """One child process in which `keras_ref` runs, started at the first call.

    Arguments and results cross the border by pickle: NumPy arrays and plain
    Python values only. Where the environment variable `PARITY_KERAS_PYTHON` names the Python
    of another environment (of this Python's version), the reference is the Keras in there.

    Args:
        backend: of Keras; `KERAS_BACKEND`, or else TensorFlow, if None.
        python: of another environment, in the place of `PARITY_KERAS_PYTHON`.

    Example:
        >>> with KerasProcess() as keras:
        ...     keras.call("versions.versions")
    """

    def __init__(self, backend: str | None = None, python: str | None = None) -> None:
        python = python or os.environ.get(PYTHON)
        context = multiprocessing.get_context("spawn")
        context.set_executable(python or sys.executable)
        self._executor = ProcessPoolExecutor(
            max_workers=1,
            mp_context=context,
            initializer=_prepare_child,
            initargs=(backend, bool(python)),
        )

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Starts a function of an importable module in the child and returns its future."""
        with no_main_module():  # the first call starts the child
            return self._executor.submit(function, *args, **kwargs)

    def start(self) -> Future[Any]:
        """Starts the child and returns the future of its versions, for `wait`."""
        return self.submit(_call_reference, "versions.versions", (), {})

    def wait(self, future: Future[Any]) -> Any:
        """The result of a call to the reference.

        Raises:
            KerasUnavailableError: Keras or TensorFlow is not installed, or the child died.
        """
        try:
            return future.result()
        except ModuleNotFoundError as error:
            raise KerasUnavailableError(
                f"the Keras reference needs {error.name}, which is not installed; "
                "install the extra: pip install -e '.[keras]'"
            ) from error
        except BrokenProcessPool as error:
            raise KerasUnavailableError(
                "the Keras process died; its last words are above"
            ) from error

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Runs `keras_ref.<name>(*args, **kwargs)` in the child and returns its result.

        Args:
            name: module and function below `keras_ref`, for example `"model.initial_weights"`.
            *args: positional arguments, NumPy arrays or plain Python values.
            **kwargs: keyword arguments, likewise.

        Raises:
            KerasUnavailableError: Keras or TensorFlow is not installed, or the child died.
        """
        return self.wait(self.submit(_call_reference, name, args, kwargs))

    def close(self) -> None:
        """Ends the child."""
        self._executor.shutdown()

    def __enter__(self) -> KerasProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
