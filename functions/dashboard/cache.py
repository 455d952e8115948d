"""Values that are expensive to get, kept for a few seconds and shared by all requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cached(Generic[T]):
    """A value of ``make``, kept for ``ttl_s`` seconds. One thread at a time makes it."""

    def __init__(self, make: Callable[[], T], ttl_s: float) -> None:
        self._make = make
        self._ttl_s = ttl_s
        self._lock = threading.Lock()
        self._value: tuple[float, T] | None = None
        self._refreshing = threading.Event()

    def get(self) -> T:
        """Return the value; make it again when it is older than its time to live."""
        with self._lock:
            if self._value is None or time.monotonic() - self._value[0] > self._ttl_s:
                # The time before the call: what changes during it counts as newer.
                started = time.monotonic()
                self._value = started, self._make()
            return self._value[1]

    def latest(self, stale_s: float) -> T:
        """Return a value up to ``stale_s`` old at once, and refresh it in the background."""
        value = self._value
        if value is None or time.monotonic() - value[0] > stale_s:
            return self.get()
        if time.monotonic() - value[0] > self._ttl_s and not self._refreshing.is_set():
            self._refreshing.set()
            threading.Thread(target=self._refresh, name="refresh", daemon=True).start()
        return value[1]

    def clear(self) -> None:
        """Forget the value."""
        with self._lock:
            self._value = None

    def _refresh(self) -> None:
        try:
            self.get()
        finally:
            self._refreshing.clear()
