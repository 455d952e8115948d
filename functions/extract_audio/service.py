"""The service that extracts: what is done with a delivery, and what its health is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from functions.extract_audio.worker import ExtractionWorker
from shared.bootstrap import Services
from shared.core.message import Source
from shared.media.ffmpeg.process import check_executable
from shared.service import health
from shared.service.metrics import Metrics
from shared.service.push import Push
from shared.service.receiver import Receiver
from shared.tracking.lease import Outcome, Result


class Checked(Protocol):
    """A part that can be asked."""

    def check(self) -> None:
        """Raise when the part cannot be reached."""


@dataclass
class Service:
    """The service over what the settings name; ``receive`` answers pushes."""

    services: Services
    cancelled: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        self._receiver = Receiver(
            source=Source.DRIVE,
            tracker=self.services.tracker,
            work=self._work,
            cancelled=self.cancelled,
        )

    @property
    def metrics(self) -> Metrics:
        """What was counted since the start."""
        return self._receiver.metrics

    def receive(self, body: bytes) -> int:
        """Work on a push request's body; returns the status to answer with."""
        return self._receiver.receive(body)

    def receive_dead(self, body: bytes) -> int:
        """Mark what the queue gave up on; returns the status to answer with."""
        return self._receiver.receive_dead(body)

    def _work(self, delivery: Push) -> Result:
        services, settings = self.services, self.services.settings
        worker = ExtractionWorker(
            tracker=services.tracker,
            storage=services.storage,
            sources={Source.DRIVE: services.drive_sources},
            settings=settings,
        )
        result = worker.process(
            delivery.item,
            published_at=delivery.published_at,
            cancelled=self.cancelled,
            limit_s=settings.push_limit_seconds if settings.extract_job else None,
        )
        if result.outcome is Outcome.HANDED_OVER:
            services.jobs.start(delivery.item.key)
        return result

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
