"""Which worker of pytest-xdist runs what: whole files, but for the tests that name a group."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadGroupScheduling

__all__ = ["GroupsAndFiles", "long_files_first"]

# Their tests load torch's compiler, as most of torch's optimizers do, which takes a second.
_COMPILING = {
    f"parity_tests/{name}.py"
    for name in (
        "training/test_checkpoint",
        "forward/test_devices",
        "forward/test_features",
        "training/test_keras_parts",
        "forward/test_model",
        "training/test_training",
    )
}


class GroupsAndFiles(LoadGroupScheduling):
    """`--dist loadgroup`, where the tests of no group are one with those of their file.

    One by one they cost the main process more than they take (it counts all that a worker ever
    had after each of them), and both workers, with a Keras each, make what one file shares.
    """

    def _split_scope(self, nodeid: str) -> str:
        group = super()._split_scope(nodeid)
        if group != nodeid:
            return group
        file = nodeid.partition("::")[0]
        return "torch's compiler" if file in _COMPILING else file


def long_files_first(items: list[pytest.Item]) -> None:
    """A long test that comes last would leave the other workers with nothing to do."""
    long = {
        item.path for item in items for kind in ("slow", "keras") if item.get_closest_marker(kind)
    }
    items.sort(key=lambda item: item.path not in long)
