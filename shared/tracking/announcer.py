"""Announces the ends of recordings: at least once each, in order, and never at the work's cost.

The write of a final status also writes ``announce_after``. The process that wrote it publishes
the event at once and then writes ``announced_at``. When it crashed in between, or the receiver
refused the event, ``announce_due`` publishes it after that time. Documents that ended while no
results were configured have no ``announce_after``, so they are never announced.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from shared.core.ports import Clock, Document, Documents, Op, Results
from shared.core.records import COLLECTION, Recording
from shared.core.results import ResultEvent
from shared.core.times import utc_now
from shared.tracking.leased_document import write_document

log = logging.getLogger(__name__)

#: How long one process has to announce an end before another one may. It is longer than a
#: publish takes (``Results.publish``) by more than clocks differ.
WINDOW = timedelta(seconds=60)

#: The longest wait between two attempts to announce one end.
MAX_WAIT = timedelta(hours=6)

#: How many documents one query returns.
BATCH = 200

#: After so many failures, or seconds, ``announce_due`` leaves the rest to its next run.
MAX_FAILURES = 3
BUDGET_S = 20.0


class Announcer:
    """Announces ends to ``results``; ``env`` is ``PIPELINE_ENV``."""

    def __init__(
        self, documents: Documents, results: Results, env: str, *, clock: Clock = utc_now
    ) -> None:
        self._documents = documents
        self._results = results
        self._env = env
        self._clock = clock

    def first_due(self, current: Recording, finished_at: datetime) -> datetime:
        """Return ``announce_after`` of a recording that ends now.

        While an earlier end of ``current`` may still be on its way to the receiver, this one
        waits behind it: the receiver gets the events of a recording in order.
        """
        return finished_at + (2 * WINDOW if current.announce_after else WINDOW)

    def announce(self, recording: Recording) -> Recording:
        """Announce an end that was just written; returns the recording as it is then.

        A receiver that fails costs the recording nothing: ``announce_due`` tries again.
        """
        ended, due = recording.finished_at, recording.announce_after
        if ended is None or due is None or due > ended + WINDOW:
            return recording  # it waits behind an earlier end
        return self._publish(recording) or recording

    def announce_due(self, *, budget_s: float = BUDGET_S, max_failures: int = MAX_FAILURES) -> int:
        """Announce what ended and was not announced in time; returns how many.

        Raises what the database raises. Several processes may do this at the same time.
        """
        end, now = time.monotonic() + budget_s, self._clock()
        announced = failures = 0
        while due := list(
            self._documents.find(
                COLLECTION,
                ("announce_after", Op.LE, now),
                order_by="announce_after",
                limit=BATCH,
            )
        ):
            for read in due:
                if failures >= max_failures or time.monotonic() > end:
                    return announced
                if recording := self._take(read.id, now):
                    published = self._publish(recording)
                    announced += published is not None
                    failures += published is None
        return announced

    def _take(self, key: str, now: datetime) -> Recording | None:
        """Postpone an end that is due, so that no other process announces it meanwhile.

        Returns ``None`` when another process took it, or the recording was started again.
        """

        def postponed(document: Document | None) -> Document | None:
            current = Recording.from_document(document) if document else None
            if current is None or current.announce_after is None or current.announce_after > now:
                return None
            if not current.status.is_final or current.finished_at is None:
                return current.evolve(announce_after=None).to_document()
            wait = min(max(WINDOW, (now - current.finished_at) / 2), MAX_WAIT)
            return current.evolve(announce_after=now + wait).to_document()

        written = write_document(self._documents, COLLECTION, key, postponed)
        taken = Recording.from_document(written.document) if written else None
        return taken if taken and taken.announce_after else None

    def _publish(self, recording: Recording) -> Recording | None:
        """Publish one end and note it; returns ``None`` when either failed."""
        ended = recording.finished_at

        def announced(document: Document | None) -> Document | None:
            current = Recording.from_document(document) if document else None
            if current is None or current.finished_at != ended:
                return None  # started again, or deleted
            return current.evolve(announced_at=self._clock(), announce_after=None).to_document()

        try:
            self._results.publish(ResultEvent.of(recording, self._env))
            written = write_document(self._documents, COLLECTION, recording.key, announced)
        except Exception as error:
            log.warning(
                "the result was not announced, and will be tried again: %s",
                error,
                extra=recording.log_context(),
            )
            return None
        return Recording.from_document(written.document) if written else recording
