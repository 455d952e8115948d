"""Knowing that the process was asked to stop, under servers that own the signals.

functions-framework runs gunicorn, which loads the function in a master, forks, and then
sets its own handlers; request threads cannot set any. So SIGTERM is blocked in the forked
worker and waited for by a thread, which tells the work first and gunicorn's handler next.
Without that, gunicorn would wait 30 s for the work to end, and Cloud Run kills after 10.
"""

from __future__ import annotations

import os
import signal
import threading

#: Set once the process was asked to stop.
requested = threading.Event()


def listen_after_fork() -> None:
    """Listen in every process forked from this one. Called when a function is imported."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_listen)


def listen() -> None:
    """Listen in this process, which owns its signals: a job's entry point."""
    signal.signal(signal.SIGTERM, lambda *_: requested.set())
    if hasattr(signal, "SIGTSTP"):  # Cloud Run announces a move with it; nothing is to be done
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)


def _listen() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait, name="sigterm", daemon=True).start()


def _wait() -> None:
    signal.sigwait({signal.SIGTERM})
    requested.set()
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler):
        os._exit(128 + signal.SIGTERM)  # no server has taken it over: end as it would have
    handler(signal.SIGTERM, None)
