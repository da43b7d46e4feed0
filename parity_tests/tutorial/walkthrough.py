"""Runs the notebook anew: `python -m parity_tests.tutorial.walkthrough` writes its outputs."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from parity_tests.report.output_file import write_atomically

__all__ = ["NOTEBOOK", "executed", "printed", "read"]

NOTEBOOK = Path(__file__).with_name("walkthrough.ipynb")


def read() -> NotebookNode:
    """The notebook as it is committed."""
    return nbformat.read(NOTEBOOK, as_version=4)


def executed(notebook: NotebookNode) -> NotebookNode:
    """A copy whose outputs come from a fresh kernel, in the notebook's own folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises.
    """
    from nbclient import NotebookClient  # slow to load, and the fast part does without

    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        cell.metadata = NotebookNode()
    # The kernel belongs to this environment, whatever others the machine has.
    client = NotebookClient(
        copy, timeout=120, kernel_name="python3", record_timing=False,
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        # After the last cell nothing is left to lose; a kernel asked politely takes seconds.
        shutdown_kernel="immediate",
        # It warns that its local sockets are not encrypted; nothing secret passes through them.
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )  # fmt: skip
    client.execute(env={**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"})
    # Whoever runs it again with another Python changes nothing.
    copy.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    return copy


def printed(notebook: NotebookNode) -> list[str]:
    """What each code cell printed; standard error too, where nothing belongs."""
    return [
        "".join(output.text for output in cell.outputs if output.output_type == "stream")
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


if __name__ == "__main__":
    write_atomically(NOTEBOOK, nbformat.writes(executed(read())) + "\n")
