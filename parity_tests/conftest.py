"""What every test shares: one Keras process for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from parity_tests.keras_process import KerasProcess

# The same examples on every run; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def keras() -> Iterator[KerasProcess]:
    """The live reference, in a process of its own."""
    with KerasProcess() as process:
        yield process
