"""Retrying recordings by hand: set QUEUED first, then published."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from functions.dashboard.context import Context
from functions.dashboard.listing import MAX_LIMIT, Filters, page
from shared.core.records import Status


@dataclass
class RetryOutcome:
    """What became of each recording; ``more`` means that others are left to retry."""

    queued: list[str] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)
    more: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return it as the API answers it."""
        return {"queued": self.queued, "refused": self.refused, "more": self.more}


def retry(context: Context, keys: Iterable[str]) -> RetryOutcome:
    """Queue the recordings again, with clean counts.

    Raises what the tracker or a queue met. What is QUEUED by then and was not published is
    published by the requeue.
    """
    outcome = RetryOutcome()
    for key in dict.fromkeys(keys):
        if context.tracker.get(key) is None:
            outcome.refused.append({"key": key, "reason": "unknown"})
            continue
        queued = context.tracker.retry(key)
        if queued is None:
            outcome.refused.append({"key": key, "reason": "in progress"})
            continue
        queue = context.backend.queues.get(queued.source)
        if queue is not None:
            queue.publish([queued.to_source_file()])
        outcome.queued.append(key)
    context.stats.clear()
    return outcome


def retry_failed(context: Context, code: str) -> RetryOutcome:
    """Queue the FAILED recordings with this code again, up to ``MAX_LIMIT`` at a time."""
    filters = Filters(code=code, status=Status.FAILED.value)
    failed = page(context.documents, filters, limit=MAX_LIMIT)
    outcome = retry(context, [one.key for one in failed.recordings])
    outcome.more = failed.cursor is not None
    return outcome
