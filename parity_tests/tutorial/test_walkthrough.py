"""`walkthrough.ipynb` says what its code does."""

from __future__ import annotations

from itertools import groupby

import pytest

from parity_tests.reference.markers import EPOCH_LOSS, RANDOM_STREAM
from parity_tests.tutorial import walkthrough


@pytest.mark.keras
@RANDOM_STREAM
@EPOCH_LOSS
@pytest.mark.slow
def test_walkthrough_prints_what_is_committed() -> None:
    """Every cell is run anew in a fresh kernel; figures need only be there again."""
    committed = walkthrough.read()
    fresh = walkthrough.executed(committed)
    assert walkthrough.printed(fresh) == walkthrough.printed(committed)
    # A kernel sends what a cell prints in as many pieces as it takes long.
    kinds = [
        [
            [kind for kind, _ in groupby(output.output_type for output in cell.get("outputs", []))]
            for cell in notebook.cells
        ]
        for notebook in (fresh, committed)
    ]
    assert kinds[0] == kinds[1]
    assert ["display_data"] in kinds[0]  # the plot
    counts = [cell.execution_count for cell in committed.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_both_frameworks_print_the_same_numbers() -> None:
    """Each step that is taken twice ends in the same figures: a reader need not compare them."""
    lines = "".join(walkthrough.printed(walkthrough.read())).splitlines()
    said = {
        name: [line.removeprefix(name).split() for line in lines if line.startswith(f"{name} ")]
        for name in ("Keras", "PyTorch")
    }
    # Weights have other names and shapes in PyTorch; that is the point of those lines.
    theirs = [words for words in said["Keras"] if "/" not in words[0]]
    ours = [words for words in said["PyTorch"] if "." not in words[0] or words[0][0] == "0"]
    assert len(theirs) == 9
    assert sorted(theirs) == sorted(ours)


@pytest.mark.slow
def test_a_changed_output_is_seen() -> None:
    """The twin: another number printed is another list, and a cell that raises is no pass."""
    from nbclient.exceptions import CellExecutionError
    from nbformat.v4 import new_code_cell, new_notebook

    cells = [new_code_cell("print(1.5)"), new_code_cell("import sys; print('x', file=sys.stderr)")]
    fresh = walkthrough.executed(new_notebook(cells=cells))
    assert walkthrough.printed(fresh) == ["1.5\n", "x\n"]
    with pytest.raises(CellExecutionError):
        walkthrough.executed(new_notebook(cells=[new_code_cell("1 / 0")]))
