"""Lazy, fork-safe clients: one per process.

A web server may fork after a module was loaded. Connections, gRPC channels and their threads
do not survive that, and a connection shared between processes mixes up answers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Calls ``make`` once in each process, when first called there. Threads may share it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._slots: dict[int, tuple[threading.Lock, list[T]]] = {}

    def __call__(self) -> T:
        """Return this process's object."""
        # Each process has its own lock: one that is taken during a fork stays taken in the
        # child forever. setdefault() is atomic.
        lock, made = self._slots.setdefault(os.getpid(), (threading.Lock(), []))
        with lock:
            if not made:
                made.append(self._make())
            return made[0]
