"""Republishes recordings that are stale, crashed or given up on.

``drive_watch.maintain`` runs it every minute for both queues, ``audio-pipeline watch`` for its
own. It sets a document QUEUED under a precondition first, then publishes, so that two requeues
at the same time publish a recording once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from shared.core.errors import Code, is_transient
from shared.core.ports import Op, Queue, Versioned, Where
from shared.core.records import COLLECTION, Recording, Status
from shared.tracking.tracker import Tracker, requeued

log = logging.getLogger(__name__)

#: How long a QUEUED recording stays unchanged before it is published again, by how often that
#: was done since its last claim: a backlog must not double itself.
PATIENCE = tuple(timedelta(minutes=minutes) for minutes in (10, 20, 40, 80, 160, 320, 360))

#: How long after its end a recording that was given up on is restarted, by its restarts so far.
RESURRECT_AFTER = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))

#: How many recordings one query returns, so that a run ends before the next one starts.
BATCH = 200

_GIVEN_UP = (Code.GAVE_UP.value, Code.DEAD_LETTER.value)


class Requeue:
    """Publishes what is due again. ``queues`` are by source; other sources are ignored."""

    def __init__(self, tracker: Tracker, queues: Mapping[str, Queue]) -> None:
        self._tracker = tracker
        self._queues = queues

    def run(self) -> int:
        """Publish everything that is due; returns how many recordings.

        Raises transient errors of the tracker or a queue; the rest is due again in a minute.
        Any other error of one recording is logged, and the others continue.
        """
        if not self._queues:
            return 0
        due = (read for where in _due(self._tracker.clock()) for read in self._find(*where))
        return sum(self._publish(read) for read in due)

    def _find(self, *where: Where) -> list[Versioned]:
        # Read whole before the first document is written.
        of_ours = ("source", Op.IN, sorted(map(str, self._queues)))
        ranged = where[-1][0]
        return list(
            self._tracker.documents.find(COLLECTION, of_ours, *where, order_by=ranged, limit=BATCH)
        )

    def _publish(self, read: Versioned) -> bool:
        try:
            taken = self._take(Recording.from_document(read.document))
            if taken is None:
                return False
            # Without force: any worker may claim what is QUEUED.
            self._queues[taken.source].publish([taken.to_source_file()])
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("could not publish again: %s", read.id)
            return False
        log.warning("published again", extra=taken.log_context())
        return True

    def _take(self, candidate: Recording) -> Recording | None:
        """Set the recording QUEUED and return it, or ``None`` if it is no longer due."""
        if candidate.status is Status.PROCESSING:
            counted = self._tracker.count_crash(candidate.key)
            return counted if counted and counted.status is Status.QUEUED else None
        return self._tracker.change(candidate.key, self._again)

    def _again(self, current: Recording) -> Recording | None:
        now = self._tracker.clock()
        if _is_stale(current, now):
            return current.evolve(republished=current.republished + 1)
        if _is_given_up(current, now):
            return requeued(current, now).evolve(requeues=current.requeues + 1)
        return None


def _due(now: datetime) -> Iterator[tuple[Where, ...]]:
    """Yield queries that find only what is due, each with its range last.

    Recordings that wait for hours are not read every minute: each read costs money.
    """
    yield ("status", Op.EQ, Status.PROCESSING.value), ("lease_expires_at", Op.LE, now)
    queued = ("status", Op.EQ, Status.QUEUED.value)
    for republished, patience in enumerate(PATIENCE[:-1]):
        often = ("republished", Op.EQ, republished)
        yield queued, often, ("updated_at", Op.LE, now - patience)
    yield queued, ("updated_at", Op.LE, now - PATIENCE[-1])
    for requeues, after in enumerate(RESURRECT_AFTER):
        given_up = ("error.code", Op.IN, list(_GIVEN_UP))
        yield given_up, ("requeues", Op.EQ, requeues), ("finished_at", Op.LE, now - after)


def _is_stale(current: Recording, now: datetime) -> bool:
    if current.status is not Status.QUEUED:
        return False
    patience = PATIENCE[min(current.republished, len(PATIENCE) - 1)]
    return now - (current.updated_at or current.created_at) >= patience


def _is_given_up(current: Recording, now: datetime) -> bool:
    if current.status is not Status.FAILED or current.finished_at is None:
        return False
    if current.error is None or current.error.code not in _GIVEN_UP:
        return False
    after = dict(enumerate(RESURRECT_AFTER)).get(current.requeues)
    return after is not None and now - current.finished_at >= after
