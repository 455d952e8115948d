"""Injected faults: errors, cut connections, limited bandwidth. Seeded."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from cli.demo.drive_standin.errors import ApiError, fault


@dataclass
class Faults:
    """The faults to inject; all are off at first.

    ``error_rate`` is the fraction of requests answered with one of ``statuses``.
    ``cut_rate`` is the fraction of downloads whose connection is cut, after ``cut_after``
    bytes or anywhere; ``reset`` cuts with a TCP reset rather than an end of stream.
    ``bandwidth`` is the bytes per second of all downloads together, ``latency_s`` the wait
    before each answer.
    """

    error_rate: float = 0.0
    statuses: tuple[int, ...] = (429, 500, 503)
    cut_rate: float = 0.0
    cut_after: int | None = None
    reset: bool = False
    bandwidth: float | None = None
    latency_s: float = 0.0
    planned: deque[tuple[int, str | None]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(0)  # noqa: S311
        self._line_free_at = 0.0

    def seed(self, seed: int) -> None:
        """Restart the sequence of faults."""
        self._random.seed(seed)

    def plan(self, count: int, status: int, reason: str | None = None) -> None:
        """Answer the next ``count`` requests with ``status``."""
        self.planned.extend([(status, reason)] * count)

    def next_error(self) -> ApiError | None:
        """Return the error to answer this request with, or ``None``."""
        with self._lock:
            if self.planned:
                return fault(*self.planned.popleft())
            if self._random.random() < self.error_rate:
                return fault(self._random.choice(self.statuses))
            return None

    def cut_point(self, length: int) -> int | None:
        """Return after how many bytes of this download to cut it, or ``None``."""
        with self._lock:
            if length == 0 or self._random.random() >= self.cut_rate:
                return None
            return self._random.randrange(length) if self.cut_after is None else self.cut_after

    def pace(self, count: int) -> None:
        """Wait until the bandwidth allows ``count`` more bytes."""
        if not self.bandwidth:
            return
        with self._lock:
            start = max(self._line_free_at, time.monotonic())
            self._line_free_at = start + count / self.bandwidth
        time.sleep(max(0.0, start - time.monotonic()))
