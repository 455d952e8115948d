"""What the service does with a delivery, and what it tells the queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from functions.extract_audio.worker import Worker
from shared import health, push
from shared.bootstrap import Services
from shared.errors import MessageError
from shared.events import Source, SourceFile
from shared.lease import Outcome, Result
from shared.media.ffmpeg import check_executable
from shared.metrics import Metrics
from shared.models import Status
from shared.push import Push

log = logging.getLogger(__name__)

#: How long a delivery waits for the one FFmpeg of this instance before it is sent away.
WAIT_S = 30.0
_LOOK_EVERY_S = 0.25


class Checked(Protocol):
    """A part that can be asked."""

    def check(self) -> None:
        """Raise when the part cannot be reached."""


@dataclass
class Service:
    """One instance: it works on one recording at a time, whatever is pushed at it."""

    services: Services
    cancelled: Callable[[], bool] = lambda: False
    metrics: Metrics = field(default_factory=Metrics)
    wait_s: float = WAIT_S

    def __post_init__(self) -> None:
        self._slot = threading.Semaphore(1)

    @property
    def worker(self) -> Worker:
        """The worker, over what the settings name."""
        services = self.services
        return Worker(
            tracker=services.tracker,
            storage=services.storage,
            sources={Source.DRIVE: services.drive_sources},
            settings=services.settings,
        )

    def receive(self, body: bytes) -> int:
        """Work on a push request's body; returns the status to answer with."""
        delivery = self._decoded(body)
        if delivery is None:
            return 204
        result = self._process(delivery)
        self._count(result)
        if result.outcome is Outcome.HANDED_OVER:
            self.services.jobs.start(delivery.item.key)
        return 204 if result.outcome.acknowledges else 503

    def receive_dead(self, body: bytes) -> int:
        """Mark what the queue gave up on; returns the status to answer with."""
        try:
            delivery = push.decode(body)
        except MessageError as error:
            self._reject(error)
            return 204
        recording = self.services.tracker.dead_letter(delivery.item.key)
        if recording:
            log.error("dead-lettered", extra=recording.log_context())
            self.metrics.processed.labels(recording.status).inc()
        return 204

    def _decoded(self, body: bytes) -> Push | None:
        try:
            delivery = push.decode(body)
            if delivery.item.source != Source.DRIVE:
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
                return self._work(delivery)
        finally:
            self._slot.release()

    def _wait_for_slot(self, item: SourceFile) -> Result | None:
        """Wait for the FFmpeg; a copy of the message that is at work now is not kept waiting."""
        for _ in range(max(1, round(self.wait_s / _LOOK_EVERY_S))):
            if self._slot.acquire(timeout=_LOOK_EVERY_S):
                return None
            current = self.services.tracker.get(item.key)
            if current and current.status is Status.PROCESSING:
                if not self.services.tracker.has_expired(current):
                    return Result(Outcome.BUSY, current)
            elif current and current.status.is_final and not item.force:
                return Result(Outcome.DUPLICATE, current)
            if self.cancelled():
                return Result(Outcome.CANCELLED, current)
        return Result(Outcome.RETRY)

    def _work(self, delivery: Push) -> Result:
        settings = self.services.settings
        return self.worker.process(
            delivery.item,
            published_at=delivery.published_at,
            cancelled=self.cancelled,
            limit_s=settings.push_limit_seconds if settings.extract_job else None,
        )

    def _count(self, result: Result) -> None:
        recording = result.recording
        extra: dict[str, Any] = recording.log_context() if recording else {}
        if recording and result.outcome in _FINAL:
            extra["processing_s"] = recording.processing_s
            self.metrics.processed.labels(recording.status).inc()
            self.metrics.duration.observe(recording.processing_s or 0.0)
        if result.error:
            extra["error"] = str(result.error)
        level = logging.ERROR if result.outcome is Outcome.FAILED else logging.INFO
        log.log(level, "recording %s", result.outcome.name.lower(), extra=extra)

    def health(self) -> dict[str, Any]:
        """Ask all parts."""
        services = self.services
        return health.check({**self._parts(), "queue": _late(lambda: services.recordings_queue)})

    def ready(self) -> dict[str, Any]:
        """Ask what a delivery cannot do without."""
        return health.check(self._parts())

    def _parts(self) -> dict[str, Callable[[], object]]:
        services = self.services
        return {
            "ffmpeg": check_executable,
            "storage": _late(lambda: services.storage),
            "tracker": _late(lambda: services.documents),
        }


def _late(part: Callable[[], Checked]) -> Callable[[], object]:
    """Build a part only when it is asked: one that cannot be built is one that is down."""
    return lambda: part().check()


_FINAL = (Outcome.DONE, Outcome.FAILED, Outcome.SKIPPED)
