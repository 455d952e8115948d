"""What a push service does with a delivery, whatever the work is, and what it tells the queue."""

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
from shared.tracking.lease import Outcome, Result
from shared.tracking.tracker import Tracker

log = logging.getLogger(__name__)

#: How long a delivery waits for the one FFmpeg of this instance before it is sent away.
WAIT_S = 30.0
_LOOK_EVERY_S = 0.25


@dataclass
class Receiver:
    """One instance: it works on one recording of ``source`` at a time, whatever is pushed at it."""

    source: Source
    tracker: Tracker
    work: Callable[[Push], Result]
    cancelled: Callable[[], bool] = lambda: False
    metrics: Metrics = field(default_factory=Metrics)
    wait_s: float = WAIT_S

    def __post_init__(self) -> None:
        self._slot = threading.Semaphore(1)

    def receive(self, body: bytes) -> int:
        """Work on a push request's body; returns the status to answer with."""
        delivery = self._decoded(body, {self.source})
        if delivery is None:
            return 204
        result = self._process(delivery)
        self._count(result)
        return 204 if result.outcome.acknowledges else 503

    def receive_dead(self, body: bytes) -> int:
        """Mark what the queue gave up on, of any source; returns the status to answer with."""
        delivery = self._decoded(body, set(Source))
        recording = delivery and self.tracker.dead_letter(delivery.item.key)
        if recording:
            self.metrics.processed.labels(recording.status).inc()
        return 204

    def _decoded(self, body: bytes, sources: Collection[str]) -> Push | None:
        """Read a push; one that no retry can mend is logged and counted, and ``None``."""
        try:
            delivery = push.decode(body)
            if delivery.item.source not in sources:
                raise MessageError(f"no source of this service: {delivery.item.source}", body)
        except MessageError as error:
            self._reject(error)
            return None
        return delivery

    def _reject(self, error: MessageError) -> None:
        """Log and count a message that no retry can mend."""
        self.metrics.rejected.inc()
        log.error("message rejected: %s", error, extra={"raw": push.for_log(error.raw)})

    def _process(self, delivery: Push) -> Result:
        refused = self._wait_for_slot(delivery.item)
        if refused:
            return refused
        try:
            with self.metrics.active.track_inprogress():
                return self.work(delivery)
        finally:
            self._slot.release()

    def _wait_for_slot(self, item: SourceFile) -> Result | None:
        """Wait for the FFmpeg; a copy of the message that is at work now is not kept waiting."""
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

    def _count(self, result: Result) -> None:
        recording = result.recording
        if recording and result.outcome.ends:
            self.metrics.processed.labels(recording.status).inc()
            self.metrics.duration.observe(recording.processing_s or 0.0)
            return
        extra = recording.log_context() if recording else {}
        if result.error:
            extra["error"] = str(result.error)
        log.info("recording %s", result.outcome.name.lower(), extra=extra)
