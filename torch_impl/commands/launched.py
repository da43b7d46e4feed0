"""Commands that `torchrun` started: several processes do the work of one.

All of them join torch.distributed's default group, over which `torch_impl.base.processes` shares
out the work. The first one writes and tells; of what fails, the first that fails tells.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

from torch import distributed

from torch_impl.base.processes import ProcessLostError

__all__ = ["joined"]

_PATIENCE = timedelta(minutes=10)
"""How long a process that lives may keep the others waiting; of one that died they hear at once."""


@contextmanager
def joined() -> Iterator[Callable[[], bool]]:
    """The group of all processes that `torchrun` started with this one, if it did.

    Yields:
        Whether this process is the one to tell of a failure: True once, in one of them.
    """
    if not distributed.is_torchelastic_launched():
        yield lambda: True
        return
    # torchrun's own store, which outlives every worker: a failure can be told in it.
    store, rank, count = next(distributed.rendezvous("env://"))
    distributed.init_process_group(
        "gloo", store=store, rank=rank, world_size=count, timeout=_PATIENCE
    )
    signal.signal(signal.SIGTERM, _stopped)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        yield lambda: store.add(f"torch_impl/failures/{attempt}", 1) == 1
    finally:
        distributed.destroy_process_group()


def _stopped(number: int, frame: FrameType | None) -> Any:
    """torchrun ends the others so when one has died."""
    raise ProcessLostError("another process of the group is gone, or torchrun was told to stop")
