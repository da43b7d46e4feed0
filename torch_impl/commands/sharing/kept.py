"""Parts of a table that is being written: each a file of its own until all of them are there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch_impl.base.replacing import replace_file
from torch_impl.commands.outputs import TABLES

__all__ = ["KeptParts", "Part", "PartsError"]


class PartsError(ValueError):
    """Parts are of another run, in use, or not what was written; they are left as they are."""


class Part(NamedTuple):
    """A part that is whole and on the disk."""

    number: int
    """From 0, in the table's order."""
    rows: int
    alerts: int
    bytes: int
    """Of its file."""


class KeptParts:
    """The folder `.OUT.parts` beside OUT, on a disk that all processes see.

    It holds what run it is of, a file for each part, and what each part has, which is written
    when its file is whole: a process killed at any moment loses the part that it was at.

    Args:
        output: the table that they become.
    """

    def __init__(self, output: Path) -> None:
        self.output = output.resolve()
        self.folder = self.output.with_name(f".{output.name}.parts")
        self._files = self.folder / "files"
        self._ending = next(e for e in TABLES if output.name.lower().endswith(e))

    def file(self, number: int) -> Path:
        """Where a part is written; these names sort in the parts' order."""
        return self._files / f"{number:08d}{self._ending}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While this is open no other run can open it; `.OUT.lock` stays, empty.

        Raises:
            PartsError: another run has it.
        """
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.output.with_name(f".{self.output.name}.lock"), timeout=0):
                yield
        except Timeout:
            raise PartsError(
                f"{self.output}: another run is writing it; expected one at a time"
            ) from None

    def found(self, run: Mapping[str, Any]) -> list[Part]:
        """The parts of an earlier run of the same command; makes the folder if there was none.

        Args:
            run: what the bits of a part depend on, texts and numbers.

        Raises:
            PartsError: the folder is of another run.
        """
        note = self.folder / "run.json"
        if not note.exists():
            self._files.mkdir(parents=True, exist_ok=True)
            for stray in self.folder.glob("*.json"):
                stray.unlink()
            replace_file(note, json.dumps(run, indent=1).encode())
        saved = json.loads(note.read_bytes())
        faults = [f"{name} was {saved.get(name)}, now {run[name]}" for name in run
                  if saved.get(name) != run[name]]  # fmt: skip
        if faults:
            raise PartsError(
                f"{self.folder}: is of another run (delete it to start anew): {'; '.join(faults)}"
            )
        notes = [path for path in sorted(self.folder.glob("*.json")) if path != note]
        parts = [Part(**json.loads(path.read_bytes())) for path in notes]
        return [part for part in parts if self.is_whole(part)]

    def note(self, part: Part) -> None:
        """Says that a part's file is whole."""
        replace_file(self.folder / f"{part.number:08d}.json", json.dumps(part._asdict()).encode())

    def is_whole(self, part: Part) -> bool:
        """Whether a part's file is as long as it was."""
        path = self.file(part.number)
        return path.is_file() and path.stat().st_size == part.bytes

    def become_folder(self, parts: int) -> None:
        """Moves the files to OUT, a folder, and nothing else.

        Raises:
            OSError: something stands there.
        """
        own = {self.file(number) for number in range(parts)}
        for left in set(self._files.iterdir()) - own:  # by a process that was killed
            left.unlink()
        os.rename(self._files, self.output)
        self.remove()

    def remove(self) -> None:
        """Takes the folder away."""
        shutil.rmtree(self.folder)
