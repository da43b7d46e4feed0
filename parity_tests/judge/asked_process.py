"""A stand-in for Keras's process in tests of commands: writes down what it is asked."""

from __future__ import annotations

from typing import Any

__all__ = ["asked_process"]


def asked_process(answer: Any) -> tuple[type, list[Any]]:
    """A class in the place of `KerasProcess`, and what was asked of its instances, in order.

    Args:
        answer: what every question is answered by.
    """
    asked: list[Any] = []

    class Process:
        def __enter__(self) -> Process:
            return self

        def __exit__(self, *error: object) -> None:
            asked.append("closed")

        def submit(self, function: Any, *args: Any) -> str:
            asked.append((function.__name__, args))
            return "a future"

        def wait(self, future: str) -> Any:
            asked.append(future)
            return answer

    return Process, asked
