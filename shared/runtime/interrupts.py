"""Runs work so that Ctrl-C cannot interrupt it half way.

Python raises ``KeyboardInterrupt`` anywhere in the main thread, also between the start of a
process and the line that remembers it, which would leave that process running. So the work
runs in a thread of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

from shared.core.errors import CancelledError

T = TypeVar("T")

# An unlimited wait handles no signals on Windows.
_LOOK_EVERY_S = 0.2


def run_interruptible(
    work: Callable[[], T],
    stop: Callable[[], object],
    grace_s: float,
    abandon: Callable[[], bool] = lambda: False,
) -> T:
    """Run ``work`` in a thread of its own, and return or raise what it does.

    An interrupt calls ``stop``, waits at most ``grace_s`` seconds for the work to end, and
    is then raised. When ``abandon`` returns true the work is no longer waited for, and
    ``CancelledError`` is raised: one of its calls may wait for an answer that never comes.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    running = threading.Lock()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # SystemExit, too, is raised in the caller
            errors.append(error)
        finally:
            running.release()

    running.acquire()
    thread = threading.Thread(target=copy_context().run, args=(run,), name="work", daemon=True)
    try:
        thread.start()
        # Not join(): when interrupted, it considers the thread ended (Python 3.11, bpo-45274).
        # Not a Future: an interrupt can leave its lock taken.
        while not running.acquire(timeout=_LOOK_EVERY_S):
            if abandon():
                break
        else:
            thread.join()
    except BaseException:
        stop()
        if results or errors or running.acquire(timeout=grace_s):
            thread.join()
        raise
    if not (results or errors):
        raise CancelledError("the work did not stop when asked to")
    if errors:
        raise errors.pop()
    return results.pop()
