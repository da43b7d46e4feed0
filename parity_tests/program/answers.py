"""A reference whose answers the twins of the stages start from, each asked for once."""

from __future__ import annotations

from typing import Any

from parity_tests.reference.keras_process import KerasProcess
from parity_tests.reference.recording_file import digest

__all__ = ["Answers"]


class Answers:
    """What a Keras process answers. Some hundred twins ask the same and spoil one number of it."""

    def __init__(self, process: KerasProcess) -> None:
        self._process = process
        self._answers: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """As `KerasProcess.call`."""
        question = digest([name, list(args), kwargs])
        if question not in self._answers:
            self._answers[question] = self._process.call(name, *args, **kwargs)
        return self._answers[question]
