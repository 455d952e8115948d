"""Republishes recordings that are stale, crashed or given up on.

``drive_watch.maintain`` runs it every minute for both queues, ``audio-pipeline watch`` for its
own. It sets a document QUEUED under a precondition first, then publishes, so that two requeues
at the same time publish a recording once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Requeue:
    """Publishes what is due again.

    Args:
        tracker: The records of all recordings.
        queues: By source; other sources are ignored.
        accounts: ``DRIVE_SUBJECTS``. A recording found by an account that is no longer one of
            them is read as the first one, or as the service account: workers reject a message
            that names any other. If that one cannot read it, the recording ends, and restarts
            when another account sees it.
    """

    tracker: Tracker
    queues: Mapping[str, Queue]
    accounts: Sequence[str] = ()

    def run(self) -> int:
        """Publish everything that is due; returns how many recordings.

        Also announces the ends that were not announced, as a crash leaves them.

        Raises transient errors of the tracker or a queue; the rest is due again in a minute.
        Any other error of one recording is logged, and the others continue.
        """
        of_ours = ("source", Op.IN, sorted(map(str, self.queues)))
        published = 0
        try:
            for where in _due(self.tracker.clock()) if self.queues else ():
                # Read whole before the first document is written.
                due = list(
                    self.tracker.documents.find(
                        COLLECTION, of_ours, *where, order_by=where[-1][0], limit=BATCH
                    )
                )
                published += sum(self._publish(read) for read in due)
        finally:
            self.tracker.announce_due()
        return published

    def _publish(self, read: Versioned) -> bool:
        try:
            candidate = Recording.from_document(read.document)
            if candidate.status is Status.PROCESSING:
                taken = self.tracker.count_crash(candidate.key)
            else:
                taken = self.tracker.change(candidate.key, self._again)
            if taken is None or taken.status is not Status.QUEUED:
                return False
            # Without force: any worker may claim what is QUEUED.
            self.queues[taken.source].publish([taken.to_source_file()])
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("could not publish again: %s", read.id)
            return False
        log.warning("published again", extra=taken.log_context())
        return True

    def _again(self, current: Recording) -> Recording | None:
        """Return the recording QUEUED again, or ``None`` if it is no longer due."""
        now = self.tracker.clock()
        if current.account and current.account not in self.accounts:
            current = current.evolve(account=next(iter(self.accounts), ""))
        if current.status is Status.QUEUED:
            patience = PATIENCE[min(current.republished, len(PATIENCE) - 1)]
            if now - (current.updated_at or current.created_at) >= patience:
                return current.evolve(republished=current.republished + 1)
        given_up = current.error is not None and current.error.code in _GIVEN_UP
        if current.status is Status.FAILED and given_up and current.finished_at:
            after = dict(enumerate(RESURRECT_AFTER)).get(current.requeues)
            if after is not None and now - current.finished_at >= after:
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
