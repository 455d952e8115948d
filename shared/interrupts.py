"""Work that an interrupt cannot tear apart.

Ctrl-C is raised in the main thread wherever that is: between the start of a process and the
note that there is one, too, and then nobody ends it. So work is done in a thread of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")

# A wait without an end takes no signal on Windows.
_LOOK_EVERY_S = 0.2


def sheltered(work: Callable[[], T], stop: Callable[[], object], grace_s: float) -> T:
    """Do ``work`` in a thread of its own, and return or raise what it does.

    An interrupt meanwhile calls ``stop``, waits ``grace_s`` seconds at most for the work to
    end in order, and is raised.
    """
    future: Future[T] = Future()
    arguments = (_fulfil, future, work)
    thread = threading.Thread(target=copy_context().run, args=arguments, name="work", daemon=True)
    try:
        thread.start()
        # Not join(): interrupted, Python 3.11's takes the thread for ended (bpo-45274).
        while not future.done():
            wait([future], _LOOK_EVERY_S)
    except BaseException:
        stop()
        if wait([future], grace_s).done:
            thread.join()
        raise
    thread.join()
    return future.result()


def _fulfil(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # SystemExit, too, is for who waits
        future.set_exception(error)
