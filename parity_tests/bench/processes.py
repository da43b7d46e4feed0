"""A process for each contestant, so that none has another's modules, threads or memory."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from parity_tests.bench.race import MissingError
from parity_tests.reference import keras_process

__all__ = ["Processes"]


class Processes:
    """Children that are started when they are first asked, and end together.

    Args:
        pythons: of a backend of Keras, the Python of the environment that has it.
    """

    def __init__(self, pythons: Mapping[str, str]) -> None:
        self.pythons = pythons
        self._opened = ExitStack()
        self._children: dict[str, ProcessPoolExecutor] = {}
        self._kerases: dict[str, keras_process.KerasProcess] = {}

    def require(self, packages: Sequence[str]) -> None:
        """Says which of the packages are not here.

        Raises:
            MissingError: at least one.
        """
        absent = [name for name in packages if find_spec(name) is None]
        if absent:
            raise MissingError(f"{', '.join(absent)} not installed")

    def call(self, module: str, function: str, *args: Any) -> Any:
        """Runs a function of `contestants` in the process of that module.

        Args:
            module: below `parity_tests.bench.contestants`.
            function: of the module.
            *args: plain Python values.
        """
        if module not in self._children:
            context = multiprocessing.get_context("spawn")
            executor = ProcessPoolExecutor(1, context, initializer=_without_tensorflow)
            self._children[module] = self._opened.enter_context(executor)
        with keras_process.no_main_module():  # the first call starts the child
            future = self._children[module].submit(_call, module, function, args)
        return future.result()

    def keras(self, backend: str) -> keras_process.KerasProcess:
        """Keras on a backend, in its own process, which answers.

        Raises:
            KerasUnavailableError: Keras or the backend is not installed.
        """
        if backend not in self._kerases:
            python = self.pythons.get(backend)
            opened = keras_process.KerasProcess(backend=backend, python=python)
            keras = self._opened.enter_context(opened)
            keras.wait(keras.start())
            self._kerases[backend] = keras
        return self._kerases[backend]

    def call_in_keras(self, backend: str, module: str, function: str, *args: Any) -> Any:
        """Runs a function of `contestants` in Keras's process.

        Raises:
            KerasUnavailableError: Keras or the backend is not installed.
            MissingError: what else the module imports is not.
        """
        keras = self.keras(backend)
        try:
            return keras.submit(_call, module, function, args).result()
        except ModuleNotFoundError as error:
            raise MissingError(f"{error.name} not installed") from None

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()


def _without_tensorflow() -> None:
    """Lightning would import it by way of TensorBoard, beside torch."""
    sys.modules["tensorflow"] = None  # type: ignore[assignment]


def _call(module: str, function: str, args: tuple[Any, ...]) -> Any:
    contestant = importlib.import_module(f"parity_tests.bench.contestants.{module}")
    return getattr(contestant, function)(*args)
