"""The hand that nobody needs: what is stale, crashed or given up is published again.

Called every minute by ``drive_watch.maintain`` for both queues, and by the command line's
watch for its own. A document is set QUEUED under a precondition first, then published, so
that two requeues at once publish a recording once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from shared.errors import Code
from shared.events import SourceFile
from shared.models import COLLECTION, Recording, Status
from shared.ports import Op, Queue
from shared.tracker import Tracker, requeued

log = logging.getLogger(__name__)

#: A QUEUED recording that nothing has touched for so long is published again, then after
#: twice that, and so on: a backlog must not double itself.
QUEUED_FOR = timedelta(minutes=10)
QUEUED_FOR_AT_MOST = timedelta(hours=6)

#: When one that was given up is started afresh, counted from its end.
RESURRECT_AFTER = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))

_GIVEN_UP = (Code.GAVE_UP.value, Code.DEAD_LETTER.value)


class Requeue:
    """Finds what must be published again, for the queues it is given by source."""

    def __init__(self, tracker: Tracker, queues: Mapping[str, Queue]) -> None:
        self._tracker = tracker
        self._queues = queues

    def run(self) -> int:
        """Publish everything that is due; returns how many recordings that were.

        Raises what the tracker or a queue met: the rest is due again in a minute.
        """
        count = 0
        for candidate in self._candidates():
            if candidate.source not in self._queues:
                continue
            item = self._take(candidate)
            if item:
                self._queues[candidate.source].publish([item])
                count += 1
        return count

    def _candidates(self) -> Iterator[Recording]:
        now = self._tracker.clock()
        yield from self._find(
            ("status", Op.EQ, Status.PROCESSING.value), ("lease_expires_at", Op.LT, now)
        )
        yield from self._find(
            ("status", Op.EQ, Status.QUEUED.value), ("updated_at", Op.LT, now - QUEUED_FOR)
        )
        for code in _GIVEN_UP:
            yield from self._find(
                ("error.code", Op.EQ, code), ("finished_at", Op.LT, now - RESURRECT_AFTER[0])
            )

    def _find(self, *where: tuple[str, str, object]) -> Iterator[Recording]:
        # Read as a whole first: each one is written before the next is looked at.
        found = list(self._tracker.documents.find(COLLECTION, *where))
        return (Recording.from_document(read.document) for read in found)

    def _take(self, candidate: Recording) -> SourceFile | None:
        """Set the recording QUEUED if it is still due; returns the message for it."""
        if candidate.status is Status.PROCESSING:
            taken = self._tracker.count_crash(candidate.key)
        else:
            taken = self._tracker.change(candidate.key, self._again)
        if taken is None or taken.status is not Status.QUEUED:
            return None
        log.warning("published again", extra=taken.log_context())
        return taken.to_source_file(force=taken.audio is not None)

    def _again(self, current: Recording) -> Recording | None:
        now = self._tracker.clock()
        if current.status is Status.QUEUED and _is_stale(current, now):
            return current.evolve(republished=current.republished + 1)
        if current.status is Status.FAILED and _is_due(current, now):
            return requeued(current, now).evolve(requeues=current.requeues + 1, republished=0)
        return None


def _is_stale(current: Recording, now: datetime) -> bool:
    touched = current.updated_at or current.created_at
    # 2**6 times ten minutes is over the most already; more doublings overflow.
    patience = min(QUEUED_FOR * (1 << min(current.republished, 6)), QUEUED_FOR_AT_MOST)
    return now - touched > patience


def _is_due(current: Recording, now: datetime) -> bool:
    if current.error is None or current.error.code not in _GIVEN_UP:
        return False
    if current.requeues >= len(RESURRECT_AFTER) or current.finished_at is None:
        return False
    return now - current.finished_at > RESURRECT_AFTER[current.requeues]
