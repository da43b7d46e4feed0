"""A running Keras process lent to whole programs, which would each start one."""

from __future__ import annotations

from typing import Any

from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.recording_file import digest

__all__ = ["Once"]


class Once:
    """Stands in for the class `KerasProcess`, and answers the same question once.

    Programs that run one after the other ask the same of the same rows.

    Args:
        process: that answers, and goes on when the program ends.
    """

    def __init__(self, process: KerasProcess) -> None:
        self._process = process
        self._answers: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def __call__(self) -> Once:
        """As the class is called, for a process."""
        return self

    def __enter__(self) -> Once:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """As `KerasProcess.call`."""
        question = digest([name, list(args), kwargs])
        if question not in self._answers:
            self._answers[question] = self._process.call(name, *args, **kwargs)
        return self._answers[question]
