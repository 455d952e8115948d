"""One worker's hold on one recording: every write is conditional on the lease being ours."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from shared.core.errors import Code, ConflictError, LeaseLostError, PermanentError
from shared.core.ports import Clock, Documents, Versioned
from shared.core.records import COLLECTION, ErrorInfo, Recording, Status
from shared.tracking import endings

#: A recording that has met transient errors for so long is FAILED(gave_up).
GIVE_UP_AFTER = timedelta(minutes=30)

#: How much of an error's message a document keeps, in characters.
MAX_MESSAGE = 1000


@dataclass
class Claim:
    """One worker's hold on one recording. Threads may share it (worker and heartbeat).

    Every write holds only while the lease is still ours, and raises ``LeaseLostError``
    otherwise; expiry alone takes nothing away until another worker claims.
    """

    documents: Documents
    lease: timedelta
    clock: Clock
    owner: str
    _read: Versioned

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._progress = 0.0

    @property
    def recording(self) -> Recording:
        """The recording as this worker wrote it last."""
        return Recording.from_document(self._read.document)

    def note_progress(self, fraction: float) -> None:
        """Remember the fraction done; the next heartbeat carries it."""
        self._progress = min(1.0, max(0.0, fraction))

    def renew(self) -> None:
        """Extend the lease from now, and carry the progress."""
        self._write(lambda current: current)

    def update(self, **changes: object) -> None:
        """Write fields, and extend the lease."""
        self._write(lambda current: current.evolve(**changes))

    def finish(self, status: Status, **changes: object) -> Recording:
        """End the claim with a final status, and tell of it."""
        now = self.clock()
        ended = {"finished_at": now, "progress": float(status is Status.DONE), "error": None}
        recording = self._end(status=status, **ended | changes)
        endings.tell(recording, processing_s=recording.processing_s or 0.0)
        return recording

    def fail(self, error: PermanentError) -> Recording:
        """End the claim as SKIPPED or FAILED, as the error says."""
        status = Status.SKIPPED if error.skips else Status.FAILED
        return self.finish(status, error=error_info(error.code, error))

    def release(self, error: BaseException | None = None, **changes: object) -> Recording:
        """Give the recording back to the queue, at once claimable by another.

        With a transient ``error`` of a recording first claimed over half an hour ago it
        is FAILED(gave_up) instead, which the requeue starts afresh after hours.
        """
        first = self.recording.first_claimed_at
        now = self.clock()
        if error is not None and first is not None and now - first > GIVE_UP_AFTER:
            return self.fail(PermanentError(Code.GAVE_UP, f"it kept failing: {message_of(error)}"))
        info = error_info("transient", error) if error else None
        return self._end(status=Status.QUEUED, error=info, **changes)

    def _end(self, **changes: object) -> Recording:
        now = self.clock()
        started = self.recording.started_at or now
        return self._write(
            lambda current: current.evolve(
                **{"lease_owner": None, "lease_expires_at": None},
                processing_s=(now - started).total_seconds(),
                **changes,
            )
        )

    def _write(self, change: Callable[[Recording], Recording]) -> Recording:
        with self._lock:
            while True:
                wanted = self._next(change)
                try:
                    self._read = self.documents.replace(
                        COLLECTION, self._read, wanted.to_document()
                    )
                except ConflictError:
                    if self._reread(wanted):
                        return wanted
                else:
                    return wanted

    def _next(self, change: Callable[[Recording], Recording]) -> Recording:
        if self.recording.lease_owner != self.owner:
            raise LeaseLostError(f"the claim on {self.recording.key} has ended")
        now = self.clock()
        renewed = self.recording.evolve(
            lease_expires_at=now + self.lease, progress=self._progress, updated_at=now
        )
        return change(renewed)

    def _reread(self, wanted: Recording) -> bool:
        """Tell whether ``wanted`` stands already: the client wrote twice, the answer was lost."""
        read = self.documents.get(COLLECTION, wanted.key)
        if read is None:
            raise LeaseLostError(f"{wanted.key} is no longer in the tracker")
        current = Recording.from_document(read.document)
        if current != wanted and current.lease_owner != self.owner:
            raise LeaseLostError(f"another worker holds {wanted.key}")
        self._read = read
        return current == wanted


def error_info(code: str, error: BaseException) -> ErrorInfo:
    """Return what a document says of ``error``."""
    return ErrorInfo(code=str(code), message=message_of(error))


def message_of(error: BaseException) -> str:
    """Return the message of ``error``, never empty, cut, and such as every database takes."""
    text = str(error).encode(errors="backslashreplace").decode() or type(error).__name__
    return f"{text[:MAX_MESSAGE]}…" if len(text) > MAX_MESSAGE else text
