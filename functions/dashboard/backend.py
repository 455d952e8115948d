"""The ports that the dashboard works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from shared.bootstrap import Services
from shared.core.message import Source
from shared.core.ports import Queue, Storage
from shared.media.ffmpeg.process import check_executable
from shared.tracking.tracker import Tracker


class Checkable(Protocol):
    """A part whose state can be asked for."""

    def check(self) -> None:
        """Raise when the part cannot be reached."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What the dashboard reads and writes.

    Args:
        tracker: The recordings.
        storage: The bucket with the audio.
        queues: Where a retried recording is published, by its ``source``.
        checks: What raises when a component is down, by the component's name.
        env: The first path element in the bucket.
        iap_audience: When set, requests must carry IAP's signed header for it.
    """

    tracker: Tracker
    storage: Storage
    queues: Mapping[str, Queue] = field(default_factory=dict)
    checks: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    env: str = "dev"
    iap_audience: str = ""

    @classmethod
    def of(cls, services: Services) -> Self:
        """Return the backend that the settings name."""
        settings = services.settings
        queues = {Source.DRIVE: services.recordings_queue, Source.SFTP: services.sftp_queue}
        return cls(
            tracker=services.tracker,
            storage=services.storage,
            queues={str(source): queue for source, queue in queues.items()},
            checks={
                "ffmpeg": check_executable,
                "storage": _late(lambda: services.storage),
                "tracker": _late(lambda: services.documents),
                "queue": _late(lambda: services.recordings_queue),
            },
            env=settings.pipeline_env,
        )


def _late(part: Callable[[], Checkable]) -> Callable[[], object]:
    # A part that cannot be built is reported as down, like one that does not answer.
    return lambda: part().check()
