"""Who may work on a recording: claims, crashes, retries and dead letters, on any ``Documents``.

Claims are optimistic writes, not transactions: with twenty contenders on Firestore, a
precondition lets one through in under a second, and a transaction takes eleven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

from shared.core.errors import Code, ConflictError
from shared.core.message import SourceFile
from shared.core.ports import Clock, Document, Documents, Op, Versioned
from shared.core.records import COLLECTION, ErrorInfo, Recording, Status
from shared.core.times import utc_now
from shared.tracking.announcer import Announcer
from shared.tracking.claim import Claim
from shared.tracking.final_status import log_final_status
from shared.tracking.leased_document import LeasedDocument, write_document

LEASE = timedelta(seconds=60)

#: After this many expired leases, the recording itself is assumed to crash its workers.
MAX_CRASHES = 5

_CRASHED = "its worker crashed too many times; the recording itself may be the cause"


class ClaimRefusal(Enum):
    """Why a recording cannot be claimed now. Its message is acknowledged in each case."""

    FINISHED = auto()  # already DONE, SKIPPED or FAILED
    BUSY = auto()  # another worker has a live lease; the requeue recovers what that loses
    JOB = auto()  # it takes longer than a push may, and belongs to the job


@dataclass(frozen=True)
class Tracker:
    """The records of all recordings, and the only code that changes them.

    Every end is announced by ``announcer``, if one is given.
    """

    documents: Documents
    lease: timedelta = field(default=LEASE, kw_only=True)
    clock: Clock = field(default=utc_now, kw_only=True)
    announcer: Announcer | None = field(default=None, kw_only=True)

    def get(self, key: str) -> Recording | None:
        """Return the recording, or ``None``."""
        read = self.documents.get(COLLECTION, key)
        return Recording.from_document(read.document) if read else None

    def enqueue(self, item: SourceFile) -> bool:
        """Create the QUEUED document of a published message; returns whether it was new.

        Create-only: a worker may have been faster than the publisher.
        """
        recording = Recording.from_source_file(item, now=self.clock())
        try:
            self.documents.create(COLLECTION, item.key, recording.to_document())
        except ConflictError:
            return False
        return True

    def claim(
        self, item: SourceFile, *, published_at: datetime | None = None, runner: str = "push"
    ) -> Claim | ClaimRefusal:
        """Take the recording for ``lease``, or return why it cannot be claimed.

        ``published_at`` is when the message was published: a forced message older than the
        result that it asks to replace is a duplicate. The first claim's name, time and
        object stay, so that a file renamed while it waits keeps its object.
        """
        refusal: ClaimRefusal | None = None

        def take(document: Document | None) -> Document | None:
            nonlocal refusal
            current = Recording.from_document(document) if document else None
            refusal = self._refusal(current, item, published_at, runner) if current else None
            if refusal:
                return None
            now = self.clock()
            base = current or Recording.from_source_file(item, now=now)
            if base.status.is_final:
                base = cleared(base).evolve(requeues=0)
            return base.evolve(
                status=Status.PROCESSING,
                account=item.account or base.account,
                runner=runner,
                progress=0.0,
                attempts=base.attempts + 1,
                crashes=base.crashes + (base.status is Status.PROCESSING),
                republished=0,  # a message reached a worker: the backlog is through
                first_claimed_at=base.first_claimed_at or now,
                started_at=now,
                finished_at=None,
                updated_at=now,
            ).to_document()

        leased = LeasedDocument(self.documents, COLLECTION, item.key, self.lease, self.clock)
        lease = leased.acquire(take)
        if lease:
            return Claim(lease, self.clock, self.announcer)
        assert refusal
        return refusal

    def _refusal(
        self, current: Recording, item: SourceFile, published_at: datetime | None, runner: str
    ) -> ClaimRefusal | None:
        if current.status.is_final:
            is_newer = (
                published_at is None
                or current.finished_at is None
                or published_at > current.finished_at
            )
            return None if item.force and is_newer else ClaimRefusal.FINISHED
        if current.status is Status.PROCESSING and not self.has_expired(current):
            return ClaimRefusal.BUSY
        belongs_to_job = current.runner == "job" and runner != "job"
        if current.status is Status.PROCESSING and (
            belongs_to_job or current.crashes + 1 >= MAX_CRASHES
        ):
            counted = self.count_crash(current.key)
            if counted and counted.status.is_final:
                return ClaimRefusal.FINISHED
        return ClaimRefusal.JOB if belongs_to_job else None

    def has_expired(self, recording: Recording) -> bool:
        """Return whether the lease has expired, so that another worker may claim."""
        expires = recording.lease_expires_at
        return expires is None or expires <= self.clock()

    def change(self, key: str, change: Callable[[Recording], Recording | None]) -> Recording | None:
        """Apply ``change`` to the recording as it is at the moment of the write.

        ``change`` is called again when another write came between, and returns ``None`` to
        leave the document alone. Returns what was written, if anything.
        """

        def changed(document: Document | None) -> Document | None:
            wanted = change(Recording.from_document(document)) if document else None
            return wanted.evolve(updated_at=self.clock()).to_document() if wanted else None

        written = write_document(self.documents, COLLECTION, key, changed)
        return Recording.from_document(written.document) if written else None

    def count_crash(self, key: str) -> Recording | None:
        """Set a recording whose lease expired to QUEUED again; to FAILED the fifth time."""

        def crashed(current: Recording) -> Recording | None:
            if current.status is not Status.PROCESSING or not self.has_expired(current):
                return None
            current = current.evolve(
                crashes=current.crashes + 1, lease_owner=None, lease_expires_at=None
            )
            if current.crashes < MAX_CRASHES:
                return current.evolve(status=Status.QUEUED)
            return self._failed(current, ErrorInfo(code=Code.GAVE_UP, message=_CRASHED))

        return self._ended(self.change(key, crashed))

    def retry(self, key: str) -> Recording | None:
        """Set a recording QUEUED with clean counts, by hand; the caller then publishes it.

        Returns ``None``, and changes nothing, while a worker has a lease on it.
        """

        def restarted(current: Recording) -> Recording | None:
            if current.status is Status.PROCESSING and not self.has_expired(current):
                return None
            return requeued(current, self.clock()).evolve(requeues=0)

        return self.change(key, restarted)

    def dead_letter(self, key: str) -> Recording | None:
        """Mark what Pub/Sub gave up on as FAILED(dead_letter), if it was claimed before.

        A recording that was never claimed stays QUEUED for the requeue. A finished one and
        one that a worker is processing are left alone.
        """
        message = "it never finished within the deliveries that the queue allows"

        def dead(current: Recording) -> Recording | None:
            if current.status is not Status.QUEUED or not current.attempts:
                return None
            return self._failed(current, ErrorInfo(code=Code.DEAD_LETTER, message=message))

        return self._ended(self.change(key, dead))

    def _failed(self, current: Recording, error: ErrorInfo) -> Recording:
        now = self.clock()
        due = self.announcer.first_due(current, now) if self.announcer else None
        return current.evolve(
            status=Status.FAILED, error=error, finished_at=now, announce_after=due
        )

    def _ended(self, written: Recording | None) -> Recording | None:
        """Log and announce what was just written, if that is an end."""
        if written is None or not written.status.is_final:
            return written
        log_final_status(written)
        return self.announcer.announce(written) if self.announcer else written

    def announce_due(self, **limits: int) -> int:
        """Announce what ended and was not announced; see ``Announcer.announce_due``."""
        return self.announcer.announce_due(**limits) if self.announcer else 0

    def all(self) -> Iterator[Recording]:
        """Yield every recording."""
        return map(Recording.from_document, self.all_documents())

    def all_documents(self) -> Iterator[Document]:
        """Yield every recording as its document."""
        return (read.document for read in self.documents.find(COLLECTION))

    def is_in_flight(self, source: str, *, other_than: str = "") -> bool:
        """Return whether a recording of ``source`` is queued or processed; reads at most four."""
        for status in (Status.PROCESSING, Status.QUEUED):
            where = ("source", Op.EQ, source), ("status", Op.EQ, status.value)
            found = self.documents.find(COLLECTION, *where, order_by="updated_at", limit=2)
            if any(read.id != other_than for read in found):
                return True
        return False

    def counts(self) -> dict[Status, int]:
        """Return how many recordings have each status; none of them is read."""
        counts: dict[Status, int] = {}
        for status in Status:
            counts[status] = self.documents.count(COLLECTION, ("status", Op.EQ, status.value))
        return counts

    def with_revision(self, source: str, revision: str) -> Iterator[Recording]:
        """Yield the recordings of one source that have this revision, under any source id."""
        return self._found(
            self.documents.find(
                COLLECTION, ("source", Op.EQ, source), ("revision", Op.EQ, revision)
            )
        )

    def move(self, key: str, item: SourceFile) -> Recording | None:
        """Give a recording the source id and name of ``item``: its file was renamed.

        Returns the new document; ``None``, and changes nothing, when a worker has the
        recording or ``item`` is known already. After a crash between the two writes both
        documents exist, with one result.
        """
        read = self.documents.get(COLLECTION, key)
        if read is None:
            return None
        current = Recording.from_document(read.document)
        if current.status is Status.PROCESSING and not self.has_expired(current):
            return None
        moved = current.evolve(
            key=item.key,
            source_id=item.source_id,
            name=item.name,
            mime_type=item.mime_type,
            updated_at=self.clock(),
        )
        try:
            self.documents.create(COLLECTION, item.key, moved.to_document())
            self.documents.delete(COLLECTION, read)
        except ConflictError:
            return None
        return moved

    def recent(self, limit: int) -> Iterator[Recording]:
        """Yield the most recently changed recordings, newest first."""
        return self._found(
            self.documents.find(COLLECTION, order_by="updated_at", descending=True, limit=limit)
        )

    def with_status(self, status: Status, limit: int | None = None) -> Iterator[Recording]:
        """Yield the recordings of one status, newest first."""
        return self._found(
            self.documents.find(
                COLLECTION,
                ("status", Op.EQ, status.value),
                order_by="updated_at",
                descending=True,
                limit=limit,
            )
        )

    @staticmethod
    def _found(results: Iterator[Versioned]) -> Iterator[Recording]:
        return (Recording.from_document(read.document) for read in results)


def cleared(recording: Recording) -> Recording:
    """Return the recording with clean counts and no result, its name and object kept."""
    return recording.evolve(
        runner="push",
        progress=0.0,
        attempts=0,
        crashes=0,
        republished=0,
        first_claimed_at=None,
        lease_owner=None,
        lease_expires_at=None,
        error=None,
        finished_at=None,
        announced_at=None,
        processing_s=None,
    )


def requeued(recording: Recording, now: datetime) -> Recording:
    """Return the recording QUEUED, with clean counts."""
    return cleared(recording).evolve(status=Status.QUEUED, queued_at=now)
