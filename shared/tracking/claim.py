"""A claim: the lease of one recording, and the ways to end it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from shared.core.errors import Code, PermanentError
from shared.core.ports import Clock
from shared.core.records import ErrorInfo, Recording, Status
from shared.tracking.announcer import Announcer
from shared.tracking.final_status import log_final_status
from shared.tracking.leased_document import Lease

#: After transient errors for this long, a recording is FAILED(gave_up).
GIVE_UP_AFTER = timedelta(minutes=30)

#: How much of an error's message a document keeps, in characters.
MAX_MESSAGE = 1000


@dataclass(eq=False)
class Claim:
    """One worker's lease of one recording. Threads may share it (worker and heartbeat).

    Every write raises ``LeaseLostError`` when the lease is no longer ours.
    """

    lease: Lease
    clock: Clock
    announcer: Announcer | None = None
    progress: float = field(default=0.0, init=False)

    @property
    def recording(self) -> Recording:
        """The recording as this worker wrote it last."""
        return Recording.from_document(self.lease.document)

    def note_progress(self, fraction: float) -> None:
        """Remember the fraction done, 0 to 1; the next heartbeat writes it."""
        self.progress = min(1.0, max(0.0, fraction))

    def update(self, **changes: object) -> None:
        """Write fields and the progress, and extend the lease; without fields, a renewal."""
        progress, now = self.progress, self.clock()
        self.lease.update(
            lambda document: (
                Recording.from_document(document)
                .evolve(**{"progress": progress, "updated_at": now} | changes)
                .to_document()
            )
        )

    def finish(self, status: Status, **changes: object) -> Recording:
        """End the claim with a final status, log it, and announce it."""
        now, announcer = self.clock(), self.announcer
        final = {
            "finished_at": now,
            "progress": float(status is Status.DONE),
            "error": None,
            "announce_after": announcer.first_due(self.recording, now) if announcer else None,
        }
        recording = self._end(status=status, **final | changes)
        log_final_status(recording, processing_s=recording.processing_s or 0.0)
        return announcer.announce(recording) if announcer else recording

    def fail(self, error: PermanentError) -> Recording:
        """End the claim as SKIPPED or FAILED, by the error's code."""
        status = Status.SKIPPED if error.skips else Status.FAILED
        return self.finish(status, error=error_info(error.code, error))

    def release(self, error: BaseException | None = None, **changes: object) -> Recording:
        """Return the recording to the queue; another worker may claim it at once.

        ``error`` is why the attempt failed. If the first claim was more than half an hour
        ago, the recording is FAILED(gave_up) instead. The requeue restarts it after hours.
        """
        first = self.recording.first_claimed_at
        if error is not None and first is not None and self.clock() - first > GIVE_UP_AFTER:
            return self.fail(PermanentError(Code.GAVE_UP, f"it kept failing: {message_of(error)}"))
        code = error.code if isinstance(error, PermanentError) else "transient"
        info = error_info(code, error) if error else None
        return self._end(status=Status.QUEUED, error=info, **changes)

    def _end(self, **changes: object) -> Recording:
        now, started = self.clock(), self.recording.started_at
        self.update(
            **{"lease_owner": None, "lease_expires_at": None},
            processing_s=(now - (started or now)).total_seconds(),
            **changes,
        )
        return self.recording


def error_info(code: str, error: BaseException) -> ErrorInfo:
    """Return what a document keeps of ``error``."""
    return ErrorInfo(code=str(code), message=message_of(error))


def message_of(error: BaseException) -> str:
    """Return the message of ``error``: never empty, cut, and valid in every database."""
    text = str(error).encode(errors="backslashreplace").decode() or type(error).__name__
    return f"{text[:MAX_MESSAGE]}…" if len(text) > MAX_MESSAGE else text
