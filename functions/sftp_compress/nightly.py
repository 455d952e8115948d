"""The nightly scan of the SFTP server: publishes new and changed files, each once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from shared.core.errors import Code, PermanentError
from shared.core.message import SourceFile
from shared.core.ports import Document, PassedOver, Queue, Sources
from shared.core.records import Status
from shared.core.sftp_errors import ServerCode, ServerError, UnreachableError
from shared.core.times import document_time
from shared.tracking.leased_document import write_document
from shared.tracking.tracker import Tracker

COLLECTION = "nightly_runs"

_SCANS, _CURRENT = "nightly_scans", "current"

#: The function itself may run for 30 minutes.
_SCAN_LIVES = timedelta(minutes=30)

#: How many files are looked up, published and recorded at a time; bounds the memory.
PAGE = 100

#: Reasons that no longer apply when the same revision is listed again.
_PASSED = frozenset({Code.GONE, Code.SUPERSEDED, Code.FORBIDDEN})

log = logging.getLogger(__name__)


@dataclass
class ScanNote:
    """A note in the tracker that a scan is under way, so that more files may follow.

    While there is one, a worker that sees nothing else in flight still does not merge a long
    manifest. The note of a scan that died expires after ``_SCAN_LIVES``.
    """

    tracker: Tracker
    until: datetime | None = None

    def renew(self) -> None:
        """Write the note, or renew it when half of its time is over."""
        now = self.tracker.clock()
        if self.until is None or self.until - now < _SCAN_LIVES / 2:
            self._write(now + _SCAN_LIVES)

    def remove(self) -> None:
        self._write(None)

    def is_valid(self) -> bool:
        """Return whether any process is scanning; reads one document."""
        read = self.tracker.documents.get(_SCANS, _CURRENT)
        until = document_time(read.document["until"]) if read and read.document["until"] else None
        return until is not None and until > self.tracker.clock()

    def _write(self, until: datetime | None) -> None:
        write_document(self.tracker.documents, _SCANS, _CURRENT, lambda _: {"until": until})
        self.until = until


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
        passed_over: Where ``sources`` adds the files that are not audio by their names.
    """

    sources: Sources
    tracker: Tracker
    queue: Queue
    settle: timedelta
    resume: bool = False
    retry_failed: bool = False
    remake_as: str = ""
    passed_over: PassedOver = field(default_factory=PassedOver)

    def run(self) -> dict[str, Any]:
        """Publish what is new or has changed, and record the night.

        Returns the counts: ``found`` audio files, of which ``queued`` were published,
        ``known`` before, and ``unsettled``; with ``passed_over`` (``count`` and the first
        ``names``) where there are files that are not audio by their names.
        Raises ``ServerError`` and ``UnreachableError``, which are recorded too; published files
        stay published.
        """
        started, counts = self.tracker.clock(), Counter[str]()
        note, held = ScanNote(self.tracker), list[SourceFile]()
        try:
            files = self.sources.list()
            while page := list(islice(files, PAGE)):
                if held:
                    note.renew()
                counts["found"] += len(page)
                settled = [one for one in page if abs(started - one.created_at) >= self.settle]
                counts["unsettled"] += len(page) - len(settled)
                wanted = [item for item in settled if self._is_wanted(item, counts)]
                counts["known"] += len(settled) - len(wanted)
                if wanted:
                    note.renew()
                    # One is kept for the end of the scan, so that another file always follows:
                    # the last one's worker merges the manifest.
                    *wanted, last = [*held, *wanted]
                    held = [last]
                    self._publish(wanted, counts)
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
            self._publish_last(held, note, counts)
            self._record(started, counts, error)
            raise
        self._publish_last(held, note, counts)
        return self._record(started, counts)

    def _publish(self, items: Sequence[SourceFile], counts: Counter[str]) -> None:
        # In this order: a message without a document is processed, a document without a
        # message is not.
        if items:
            self.queue.publish(items)
        for item in items:
            self.tracker.enqueue(item)
        counts["queued"] += len(items)

    def _publish_last(
        self, held: Sequence[SourceFile], note: ScanNote, counts: Counter[str]
    ) -> None:
        if held:
            note.remove()
            self._publish(held, counts)

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
        if self.passed_over.count:
            summary["passed_over"] = asdict(self.passed_over)
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
