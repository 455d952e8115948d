"""The nightly scan of the SFTP server: publishes new and changed files, each once."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from shared.core.errors import Code, PermanentError
from shared.core.message import SourceFile
from shared.core.ports import Document, Queue, Sources
from shared.core.records import Status
from shared.core.sftp_errors import ServerCode, ServerError, UnreachableError
from shared.tracking.leased_document import write_document
from shared.tracking.tracker import Tracker

COLLECTION = "nightly_runs"

#: How many files are looked up, published and recorded at a time; bounds the memory.
PAGE = 100

#: Reasons that no longer apply when the same revision is listed again.
_PASSED = frozenset({Code.GONE, Code.SUPERSEDED, Code.FORBIDDEN})

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Nightly:
    """One scan of the server.

    Args:
        sources: The files of the server.
        tracker: The records of these files.
        queue: Where new files are published.
        settle: A file that changed more recently may still be uploading, and is skipped.
        resume: Also publish what has not ended: for a queue that was lost with its process.
        retry_failed: Also publish what failed.
        remake_as: Also publish what was made with another preset than this one, if given.
    """

    sources: Sources
    tracker: Tracker
    queue: Queue
    settle: timedelta
    resume: bool = False
    retry_failed: bool = False
    remake_as: str = ""

    def run(self) -> dict[str, Any]:
        """Publish what is new or has changed, and record the night.

        Returns the counts: ``found`` audio files, of which ``queued`` were published,
        ``known`` before, and ``unsettled``. Raises ``ServerError`` and
        ``UnreachableError``, which are recorded too; published files stay published.
        """
        started, counts = self.tracker.clock(), Counter[str]()
        try:
            files = self.sources.list()
            while page := list(islice(files, PAGE)):
                counts["found"] += len(page)
                settled = [one for one in page if abs(started - one.created_at) >= self.settle]
                counts["unsettled"] += len(page) - len(settled)
                wanted = [item for item in settled if self._is_wanted(item, counts)]
                counts["known"] += len(settled) - len(wanted)
                # In this order: a message without a document is processed, a document
                # without a message is not.
                if wanted:
                    self.queue.publish(wanted)
                for item in wanted:
                    self.tracker.enqueue(item)
                counts["queued"] += len(wanted)
            if not counts["found"]:
                raise ServerError(
                    ServerCode.EMPTY_DIRECTORY,
                    "no audio files in the source directory; is the disk mounted on the server?",
                )
            # By hand (resume) the same run tries them again, and reports it.
            if counts["tried"] and counts["superseded"] == counts["tried"] and not self.resume:
                raise ServerError(
                    ServerCode.INCONSISTENT,
                    "every file differed from its listing when it was opened: the server"
                    " reports other sizes or times each time",
                )
        except (ServerError, UnreachableError) as error:
            self._record(started, counts, error)
            raise
        return self._record(started, counts)

    def _is_wanted(self, item: SourceFile, counts: Counter[str]) -> bool:
        known = self.tracker.get(item.key)
        if known is None:
            return True
        if not known.status.is_final:
            return self.resume
        counts["tried"] += 1
        # The same revision is listed again, so the file has not changed.
        counts["superseded"] += known.error is not None and known.error.code == Code.SUPERSEDED
        done = known.status is Status.DONE
        failed = self.retry_failed and known.status is Status.FAILED
        other = bool(self.remake_as and known.audio and known.audio.preset != self.remake_as)
        if not failed and not (other and done):
            # Files that could not be read may be readable now.
            if done or known.error is None or known.error.code not in _PASSED:
                return False
            if known.error.code == Code.FORBIDDEN:
                try:
                    self.sources.open(item).close()
                except PermanentError:
                    return False
        return self.tracker.retry(item.key) is not None

    def _record(
        self,
        started: datetime,
        counts: Counter[str],
        error: ServerError | UnreachableError | None = None,
    ) -> dict[str, Any]:
        summary: dict[str, Any] = {
            name: counts[name] for name in ("found", "queued", "known", "unsettled")
        }
        night: Document = {
            "date": started.date().isoformat(),
            "started_at": started,
            "finished_at": self.tracker.clock(),
            "error": {"code": error.code.value, "message": str(error)} if error else None,
        }

        def add(earlier: Document | None) -> Document:
            # The runs of one date add up.
            queued = summary["queued"] + (earlier or {}).get("queued", 0)
            return {**night, **summary, "queued": queued}

        write_document(self.tracker.documents, COLLECTION, night["date"], add)
        log.info("nightly run stopped early" if error else "nightly run", extra=summary)
        return {"date": night["date"], **summary}
