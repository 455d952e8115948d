"""Keeps an FFmpeg on one processor where several run side by side.

FFmpeg passes every packet from thread to thread, and across processors each pass wakes another
one up. On one processor, and without preemption at every wake-up, an encoder takes 12 % less
processor time and a decoder a third less (``benchmarks/extract.py`` shows the sum).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def keep_on_one_processor(pid: int, slot: int | None) -> None:
    """Keep a process that was just started on one processor; ``slot`` numbers wrap around.

    Its threads inherit that, and it has none yet. Does nothing for ``None``, or where the system
    does not support it.
    """
    if slot is None or sys.platform != "linux":
        return
    allowed = sorted(os.sched_getaffinity(0))
    with suppress(OSError):  # it has ended, or a sandbox forbids it; then it is only slower
        os.sched_setaffinity(pid, {allowed[slot % len(allowed)]})
        os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))
