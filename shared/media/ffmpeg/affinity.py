"""Which processor an FFmpeg runs on, where many run side by side.

FFmpeg hands every packet from thread to thread. Across processors each hand-over wakes
another one up; kept on one, and not preempted at every wake-up, an encoder takes 12 % less
processor time and a decoder a third (``benchmarks/extract.py`` shows the sum).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def on_one_processor(slot: int | None) -> Iterator[None]:
    """Let children that this thread starts inherit one processor: the ``slot``-th, in turn.

    Does nothing for ``None``, or where the system cannot do it.
    """
    if slot is None or sys.platform != "linux":
        yield
        return
    allowed = sorted(os.sched_getaffinity(0))
    with suppress(OSError):  # a sandbox may forbid it: slower, not wrong
        os.sched_setaffinity(0, {allowed[slot % len(allowed)]})
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, allowed)
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
