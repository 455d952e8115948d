"""How a push service handles a delivery, and how it answers the queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from shared.core.errors import MessageError
from shared.core.message import Source, SourceFile
from shared.core.records import Status
from shared.service import push
from shared.service.metrics import Metrics
from shared.service.push import Push
from shared.service.push_auth import PushAuthenticator
from shared.tracking.lease import Outcome, Result
from shared.tracking.tracker import Tracker

log = logging.getLogger(__name__)

#: How long a delivery waits for this instance's only slot before it is answered 503.
WAIT_S = 30.0
_LOOK_EVERY_S = 0.25


@dataclass
class Receiver:
    """One instance: it processes one recording of ``source`` at a time.

    Args:
        source: The only source that it processes.
        tracker: The records of all recordings.
        work: Processes one delivery.
        cancelled: Returns whether the process was asked to stop.
        accounts: ``DRIVE_SUBJECTS``. A message that names any other account is malformed:
            the right to publish must not decide whose Drive is read.
        authenticator: Checks who sent a push; ``None`` accepts all.
    """

    source: Source
    tracker: Tracker
    work: Callable[[Push], Result]
    cancelled: Callable[[], bool] = lambda: False
    accounts: Collection[str] = ()
    authenticator: PushAuthenticator | None = None
    metrics: Metrics = field(default_factory=Metrics)
    wait_s: float = WAIT_S
    _slot: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(1), init=False, repr=False
    )

    def refusal(self, authorization: str) -> int | None:
        """Return the HTTP status for a request whose sender may not push, else ``None``.

        Call it before the body is read.
        """
        status = self.authenticator.refusal(authorization) if self.authenticator else None
        if status:
            self.metrics.refused.labels(str(int(status))).inc()
        return status

    def receive(self, body: bytes) -> int:
        """Process a push request's body; returns the HTTP status of the answer."""
        delivery = self._decode(body, {self.source})
        if delivery is None:
            return 204
        result = self._wait_for_slot(delivery.item)
        if result is None:
            try:
                with self.metrics.active.track_inprogress():
                    result = self.work(delivery)
            finally:
                self._slot.release()
        recording = result.recording
        if recording and result.outcome.ends:
            self.metrics.processed.labels(recording.status).inc()
            self.metrics.duration.observe(recording.processing_s or 0.0)
        else:
            extra = recording.log_context() if recording else {}
            if result.error:
                extra["error"] = str(result.error)
            log.info("recording %s", result.outcome.name.lower(), extra=extra)
        return 204 if result.outcome.acknowledges else 503

    def receive_dead(self, body: bytes) -> int:
        """Mark what the queue gave up on, of any source; returns the HTTP status."""
        delivery = self._decode(body, set(Source))
        recording = delivery and self.tracker.dead_letter(delivery.item.key)
        if recording:
            self.metrics.processed.labels(recording.status).inc()
        return 204

    def _decode(self, body: bytes, sources: Collection[str]) -> Push | None:
        """Read a push; a message that no retry can fix is logged, counted, and ``None``."""
        try:
            delivery = push.decode(body)
            if delivery.item.source not in sources:
                raise MessageError(f"unknown source: {delivery.item.source}", body)
            if delivery.item.account and delivery.item.account not in self.accounts:
                raise MessageError("the account is not one of DRIVE_SUBJECTS", body)
        except MessageError as error:
            self.metrics.rejected.inc()
            extra = {"raw": push.for_log(error.raw)}
            log.error("message rejected: %s", error, extra=extra)  # noqa: TRY400 - not our error
            return None
        return delivery

    def _wait_for_slot(self, item: SourceFile) -> Result | None:
        """Wait for the slot, unless this recording is already being processed or finished.

        Returns ``None`` with the slot taken, or the result of the delivery without it.
        """
        for _ in range(max(1, round(self.wait_s / _LOOK_EVERY_S))):
            if self._slot.acquire(timeout=_LOOK_EVERY_S):
                return None
            current = self.tracker.get(item.key)
            if current and current.status is Status.PROCESSING:
                if not self.tracker.has_expired(current):
                    return Result(Outcome.BUSY, current)
            elif current and current.status.is_final and not item.force:
                return Result(Outcome.DUPLICATE, current)
            if self.cancelled():
                return Result(Outcome.CANCELLED, current)
        return Result(Outcome.RETRY)
