"""The nightly look at the SFTP server: what is new or has changed is published, once.

Sees ports only.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Self

from shared.bootstrap import Services
from shared.core.errors import Code, ConflictError, PermanentError
from shared.core.message import SourceFile
from shared.core.ports import Queue, Sources
from shared.core.records import Recording, Status
from shared.core.sftp_errors import ServerCode, ServerError, UnreachableError
from shared.tracking.tracker import Tracker

COLLECTION = "nightly_runs"

#: So many files are looked up, published and recorded at a time; all that is ever held.
PAGE = 100

#: What a file that lies there as it was shows to have passed.
_PASSED = frozenset({Code.GONE, Code.SUPERSEDED, Code.FORBIDDEN})

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Nightly:
    """One look at the server.

    Args:
        sources: The files of the server.
        tracker: What is known of them.
        queue: Where new ones go.
        settle: A file that changed more recently may still be uploading, and is left.
        resume: Publish what has not ended, too: for a queue that died with its process.
        retry_failed: Publish what has failed, too: by hand.
    """

    sources: Sources
    tracker: Tracker
    queue: Queue
    settle: timedelta
    resume: bool = False
    retry_failed: bool = False

    @classmethod
    def of(cls, services: Services, *, resume: bool = False, retry_failed: bool = False) -> Self:
        """Return the look at the server that the settings name."""
        return cls(
            sources=services.sftp_sources,
            tracker=services.tracker,
            queue=services.sftp_queue,
            settle=timedelta(minutes=services.settings.sftp_settle_minutes),
            resume=resume,
            retry_failed=retry_failed,
        )

    def run(self) -> dict[str, Any]:
        """Publish what is new or has changed, and record the night.

        Returns the counts: ``found`` sound files, of which ``queued`` were published,
        ``known`` before, and ``unsettled``. Raises ``ServerError`` and
        ``UnreachableError``, recorded too; what was published until then stays.
        """
        started, counts = self.tracker.clock(), Counter[str]()
        try:
            self._look(counts, started)
        except (ServerError, UnreachableError) as error:
            self._record(started, counts, error)
            raise
        return self._record(started, counts)

    def _look(self, counts: Counter[str], now: datetime) -> None:
        files = self.sources.list()
        while page := list(islice(files, PAGE)):
            counts["found"] += len(page)
            settled = [item for item in page if abs(now - item.created_at) >= self.settle]
            counts["unsettled"] += len(page) - len(settled)
            wanted = [item for item in settled if self._is_wanted(item)]
            counts["known"] += len(settled) - len(wanted)
            self._publish(wanted)
            counts["queued"] += len(wanted)
        if not counts["found"]:
            raise ServerError(
                ServerCode.EMPTY_DIRECTORY,
                "there is not one sound file in the source directory: it may not be mounted",
            )

    def _publish(self, items: list[SourceFile]) -> None:
        # In this order: a message without a document is worked on, not the other way round.
        if items:
            self.queue.publish(items)
        for item in items:
            self.tracker.enqueue(item)

    def _is_wanted(self, item: SourceFile) -> bool:
        known = self.tracker.get(item.key)
        if known is None:
            return True
        if not known.status.is_final:
            return self.resume
        return self._is_due_again(known, item) and self.tracker.retry(item.key) is not None

    def _is_due_again(self, known: Recording, item: SourceFile) -> bool:
        if self.retry_failed and known.status is Status.FAILED:
            return True
        if known.status is Status.DONE or known.error is None or known.error.code not in _PASSED:
            return False
        return known.error.code != Code.FORBIDDEN or self._is_readable(item)

    def _is_readable(self, item: SourceFile) -> bool:
        try:
            with closing(self.sources.open(item)):
                return True
        except PermanentError:
            return False

    def _record(
        self,
        started: datetime,
        counts: Counter[str],
        error: ServerError | UnreachableError | None = None,
    ) -> dict[str, Any]:
        summary: dict[str, Any] = {
            name: counts[name] for name in ("found", "queued", "known", "unsettled")
        }
        night = {
            "date": started.date().isoformat(),
            "started_at": started,
            "finished_at": self.tracker.clock(),
            "error": {"code": error.code.value, "message": str(error)} if error else None,
        }
        self._store(night | summary)
        log.info("nightly run broken off" if error else "nightly run", extra=summary)
        return {"date": night["date"], **summary}

    def _store(self, night: dict[str, Any]) -> None:
        """Write the night's document; what runs of one date have published adds up."""
        documents = self.tracker.documents
        while True:
            read = documents.get(COLLECTION, night["date"])
            try:
                if read is None:
                    documents.create(COLLECTION, night["date"], night)
                else:
                    queued = night["queued"] + read.document.get("queued", 0)
                    documents.replace(COLLECTION, read, night | {"queued": queued})
            except ConflictError:
                continue
            return
