"""Figures: counts, the queue, failures by code, and the last days. No document is scanned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from functions.dashboard.cache import Cached
from shared.core.errors import SKIP_CODES, Code
from shared.core.ports import Documents, Op
from shared.core.records import COLLECTION, Recording, Status
from shared.tracking.tracker import Tracker

#: How many days the charts show.
DAYS = 14

#: How many recordings in progress are shown.
ACTIVE = 20

_FAILURE_CODES = tuple(code.value for code in Code if code not in SKIP_CODES)
_ENDED = (Status.DONE, Status.FAILED, Status.SKIPPED)

T = TypeVar("T")


class Stats:
    """Figures over all recordings, each kept for a while.

    Args:
        tracker: The recordings.
        ttl_s: How long current figures are kept, in seconds. Those of past days, which
            hardly change, are kept for ten minutes.
    """

    def __init__(self, tracker: Tracker, ttl_s: float) -> None:
        self._tracker = tracker
        self._documents: Documents = tracker.documents
        # Firestore answers many small queries side by side; SQLite takes them in turn.
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="stats")
        self._counts = Cached(self._count_by_status, ttl_s)
        self._failures = Cached(self._count_by_code, ttl_s)
        self._oldest = Cached(self._oldest_waiting, ttl_s)
        self._active = Cached(self._find_active, min(ttl_s, 1.0))
        self._today = Cached(lambda: self._day(self._tracker.clock().date()), ttl_s)
        self._past = Cached(self._past_days, 600.0)

    def counts(self) -> dict[str, int]:
        """Return how many recordings have each status."""
        return self._counts.get()

    def failures(self) -> dict[str, int]:
        """Return how many FAILED recordings have each code, the most frequent first."""
        return self._failures.get()

    def oldest_waiting(self) -> datetime | None:
        """Return since when the oldest QUEUED recording waits."""
        return self._oldest.get()

    def active(self) -> tuple[Recording, ...]:
        """Return the recordings that are being processed, up to ``ACTIVE``."""
        return self._active.get()

    def days(self) -> list[dict[str, Any]]:
        """Return the last ``DAYS`` days in UTC, the present one last.

        Each has ``date``, ``done``, ``failed``, ``skipped``, and ``mean_processing_s`` of
        those that are done (``None`` without any).
        """
        past, today = self._past.get(), self._today.get()
        return [*(day for day in past if day["date"] < today["date"]), today][-DAYS:]

    def clear(self) -> None:
        """Forget current figures, after a change made here."""
        for cached in (self._counts, self._failures, self._oldest, self._active, self._today):
            cached.clear()

    def _count_by_status(self) -> dict[str, int]:
        return self._each(
            [status.value for status in Status],
            lambda status: self._documents.count(COLLECTION, ("status", Op.EQ, status)),
        )

    def _count_by_code(self) -> dict[str, int]:
        if not self.counts()[Status.FAILED]:
            return {}
        failed = ("status", Op.EQ, Status.FAILED.value)
        found = self._each(
            _FAILURE_CODES,
            lambda code: self._documents.count(COLLECTION, ("error.code", Op.EQ, code), failed),
        )
        ranked = sorted(found.items(), key=lambda item: -item[1])
        return {code: number for code, number in ranked if number}

    def _oldest_waiting(self) -> datetime | None:
        waiting = self._documents.find(
            COLLECTION, ("status", Op.EQ, Status.QUEUED.value), order_by="queued_at", limit=1
        )
        oldest = next(waiting, None)
        return Recording.from_document(oldest.document).queued_at if oldest else None

    def _find_active(self) -> tuple[Recording, ...]:
        return tuple(self._tracker.with_status(Status.PROCESSING, ACTIVE))

    def _past_days(self) -> list[dict[str, Any]]:
        today = self._tracker.clock().date()
        return [self._day(today - timedelta(days=back)) for back in range(DAYS, 0, -1)]

    def _day(self, day: date) -> dict[str, Any]:
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        within = (
            ("finished_at", Op.GE, start),
            ("finished_at", Op.LT, start + timedelta(days=1)),
        )
        by_status = self._each(
            [status.value for status in _ENDED],
            lambda status: self._documents.count(COLLECTION, ("status", Op.EQ, status), *within),
        )
        done = by_status[Status.DONE]
        seconds = (
            self._documents.total(
                COLLECTION, "processing_s", ("status", Op.EQ, Status.DONE.value), *within
            )
            if done
            else 0.0
        )
        return {
            "date": day.isoformat(),
            **{status.lower(): number for status, number in by_status.items()},
            "mean_processing_s": round(seconds / done, 1) if done else None,
        }

    def _each(self, names: Sequence[str], ask: Callable[[str], T]) -> dict[str, T]:
        return dict(zip(names, self._pool.map(ask, names), strict=True))
