"""Detects SIGTERM under servers that have their own signal handlers.

functions-framework runs gunicorn, which loads the function in a master, forks, and then
sets its own handlers; request threads cannot set any. So the forked worker blocks SIGTERM,
and a thread waits for it, sets ``requested`` and then calls gunicorn's handler. Otherwise
gunicorn would wait 30 s for the work to end, and Cloud Run kills the process after 10.
"""

from __future__ import annotations

import os
import signal
import threading

#: Set when the process was asked to stop.
requested = threading.Event()


def listen_after_fork() -> None:
    """Listen in every process forked from this one. Called when a function is imported."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_listen)


def listen() -> None:
    """Listen in this process, a job, which has no handlers of its own."""
    signal.signal(signal.SIGTERM, lambda *_: requested.set())
    if hasattr(signal, "SIGTSTP"):  # Cloud Run announces a migration with it; nothing to do
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)


def _listen() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait, name="sigterm", daemon=True).start()


def _wait() -> None:
    signal.sigwait({signal.SIGTERM})
    requested.set()
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler):
        os._exit(128 + signal.SIGTERM)  # there is no server: exit as SIGTERM would
    handler(signal.SIGTERM, None)
