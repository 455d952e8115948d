"""The protocol that lets one worker at a time have a recording, over any ``Documents``.

Claims are optimistic writes, never transactions: of twenty contenders on Firestore a
precondition lets one through in under a second, where a transaction takes eleven.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from shared.core.errors import Code, ConflictError
from shared.core.message import SourceFile
from shared.core.ports import Clock, Documents, Op, Versioned
from shared.core.records import COLLECTION, ErrorInfo, Recording, Status
from shared.tracking import endings
from shared.tracking.claim import Claim

LEASE = timedelta(seconds=60)

#: After so many leases that ran out, the recording is taken to kill its workers.
MAX_CRASHES = 5

_CRASHED = "its worker stopped without a word too often: this recording may be what kills it"


def utc_now() -> datetime:
    """Return the present in UTC."""
    return datetime.now(UTC)


class ClaimRefusal(Enum):
    """Why a recording is not ours to work on now; each is an answered message."""

    FINISHED = auto()  # DONE, SKIPPED or FAILED already
    BUSY = auto()  # another worker's lease is live; the requeue heals what that loses
    JOB = auto()  # it outlasts a push, and belongs to the job


class Tracker:
    """The records of all recordings, and the only code that changes them."""

    def __init__(
        self, documents: Documents, *, lease: timedelta = LEASE, clock: Clock = utc_now
    ) -> None:
        self.documents = documents
        self.lease = lease
        self.clock = clock

    def get(self, key: str) -> Recording | None:
        """Return the recording, or ``None``."""
        read = self.documents.get(COLLECTION, key)
        return Recording.from_document(read.document) if read else None

    def enqueue(self, item: SourceFile) -> bool:
        """Create the QUEUED document of a published message; tell whether it was new.

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
        """Take the recording for ``lease``, or tell why it is not to be had.

        ``published_at`` is when the message was: a forced message that is older than
        the result it asks to replace is a duplicate. The first claim's name, time and
        object stay, so that a file renamed while it waits keeps its object.
        """
        owner = uuid.uuid4().hex
        while True:
            read = self.documents.get(COLLECTION, item.key)
            current = Recording.from_document(read.document) if read else None
            if read and current and current.lease_owner == owner:
                return self._hold(read, owner)  # our answer was lost
            refusal = current and self._refusal(current, item, published_at, runner)
            if refusal:
                return refusal
            wanted = self._claimed(current, item, owner, runner)
            try:
                return self._hold(self._store(read, wanted), owner)
            except ConflictError:
                continue

    def _hold(self, read: Versioned, owner: str) -> Claim:
        return Claim(self.documents, self.lease, self.clock, owner, read)

    def _refusal(
        self, current: Recording, item: SourceFile, published_at: datetime | None, runner: str
    ) -> ClaimRefusal | None:
        if current.status.is_final:
            return (
                None if item.force and _is_newer(published_at, current) else ClaimRefusal.FINISHED
            )
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
        """Tell whether the lease has run out, so that another may claim the recording."""
        expires = recording.lease_expires_at
        return expires is None or expires <= self.clock()

    def _claimed(
        self, current: Recording | None, item: SourceFile, owner: str, runner: str
    ) -> Recording:
        now = self.clock()
        base = current or Recording.from_source_file(item, now=now)
        if base.status.is_final:
            base = cleared(base).evolve(requeues=0)
        crashed = base.status is Status.PROCESSING
        return base.evolve(
            status=Status.PROCESSING,
            account=item.account or base.account,
            runner=runner,
            progress=0.0,
            attempts=base.attempts + 1,
            crashes=base.crashes + crashed,
            republished=0,  # a message has reached a worker: the backlog is through
            first_claimed_at=base.first_claimed_at or now,
            lease_owner=owner,
            lease_expires_at=now + self.lease,
            started_at=now,
            finished_at=None,
            updated_at=now,
        )

    def _store(self, read: Versioned | None, wanted: Recording) -> Versioned:
        if read is None:
            return self.documents.create(COLLECTION, wanted.key, wanted.to_document())
        return self.documents.replace(COLLECTION, read, wanted.to_document())

    def change(self, key: str, change: Callable[[Recording], Recording | None]) -> Recording | None:
        """Apply ``change`` to the recording as it is at the moment of the write.

        ``change`` may be called again when another write came between, and returns
        ``None`` to leave the document alone. Returns what was written, if anything.
        """
        while True:
            read = self.documents.get(COLLECTION, key)
            wanted = change(Recording.from_document(read.document)) if read else None
            if read is None or wanted is None:
                return None
            wanted = wanted.evolve(updated_at=self.clock())
            try:
                self.documents.replace(COLLECTION, read, wanted.to_document())
            except ConflictError:
                continue
            return wanted

    def count_crash(self, key: str) -> Recording | None:
        """Put a recording whose lease ran out back to QUEUED; the fifth time it is FAILED."""

        def crashed(current: Recording) -> Recording | None:
            if current.status is not Status.PROCESSING or not self.has_expired(current):
                return None
            current = current.evolve(
                crashes=current.crashes + 1, lease_owner=None, lease_expires_at=None
            )
            if current.crashes < MAX_CRASHES:
                return current.evolve(status=Status.QUEUED)
            return current.evolve(
                status=Status.FAILED,
                error=ErrorInfo(code=Code.GAVE_UP, message=_CRASHED),
                finished_at=self.clock(),
            )

        counted = self.change(key, crashed)
        if counted and counted.status.is_final:
            endings.tell(counted)
        return counted

    def retry(self, key: str) -> Recording | None:
        """Set a recording QUEUED with clean counts, by hand; the caller then publishes it.

        Leaves one alone that a worker holds, and returns ``None`` for it.
        """

        def afresh(current: Recording) -> Recording | None:
            if current.status is Status.PROCESSING and not self.has_expired(current):
                return None
            return requeued(current, self.clock()).evolve(requeues=0)

        return self.change(key, afresh)

    def dead_letter(self, key: str) -> Recording | None:
        """Mark what Pub/Sub gave up on as FAILED(dead_letter), if a claim of it has failed.

        One that was never claimed stays QUEUED for the requeue; one that is finished or
        in a worker's hands is left alone.
        """
        message = "it was delivered as often as the queue allows and never finished"

        def dead(current: Recording) -> Recording | None:
            if current.status is not Status.QUEUED or not current.attempts:
                return None
            return current.evolve(
                status=Status.FAILED,
                error=ErrorInfo(code=Code.DEAD_LETTER, message=message),
                finished_at=self.clock(),
            )

        marked = self.change(key, dead)
        if marked:
            endings.tell(marked)
        return marked

    def all(self) -> Iterator[Recording]:
        """Yield every recording."""
        return self._found(self.documents.find(COLLECTION))

    def recent(self, limit: int) -> Iterator[Recording]:
        """Yield the recordings changed last, newest first."""
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
        processing_s=None,
    )


def requeued(recording: Recording, now: datetime) -> Recording:
    """Return the recording QUEUED afresh."""
    return cleared(recording).evolve(status=Status.QUEUED, queued_at=now)


def _is_newer(published_at: datetime | None, current: Recording) -> bool:
    return published_at is None or current.finished_at is None or published_at > current.finished_at
