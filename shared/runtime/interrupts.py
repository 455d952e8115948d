"""Work that an interrupt cannot tear apart.

Ctrl-C is raised in the main thread wherever that is: between the start of a process and the
note that there is one, too, and then nobody ends it. So work is done in a thread of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")

# A wait without an end takes no signal on Windows.
_LOOK_EVERY_S = 0.2


def run_interruptible(work: Callable[[], T], stop: Callable[[], object], grace_s: float) -> T:
    """Do ``work`` in a thread of its own, and return or raise what it does.

    An interrupt meanwhile calls ``stop``, waits ``grace_s`` seconds at most for the work to
    end in order, and is raised.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    running = threading.Lock()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # SystemExit, too, is for who waits
            errors.append(error)
        finally:
            running.release()

    running.acquire()
    thread = threading.Thread(target=copy_context().run, args=(run,), name="work", daemon=True)
    try:
        thread.start()
        # Neither join(), which interrupted takes the thread for ended (Python 3.11, bpo-45274),
        # nor a Future, whose lock an interrupt can leave taken.
        while not running.acquire(timeout=_LOOK_EVERY_S):
            pass
    except BaseException:
        stop()
        if results or errors or running.acquire(timeout=grace_s):
            thread.join()
        raise
    thread.join()
    if errors:
        raise errors.pop()
    return results.pop()
