"""Clients that are made when they are first used, and anew in each process.

A web server may fork after the module was loaded; connections, gRPC channels and their
threads do not survive that, and one that is shared between processes mixes up answers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Slot(Generic[T]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made: list[T] = []


class PerProcess(Generic[T]):
    """Calls ``make`` once in each process, at the first call there. Threads may share it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._slots: dict[int, _Slot[T]] = {}

    def __call__(self) -> T:
        """Return this process's one."""
        # A slot of its own, lock and all: a lock held while another thread forked stays
        # held in the child for ever. setdefault() is atomic.
        slot = self._slots.setdefault(os.getpid(), _Slot())
        with slot.lock:
            if not slot.made:
                slot.made.append(self._make())
            return slot.made[0]
