"""The ports that the dashboard works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Self

from shared.bootstrap import Services
from shared.core.message import Source
from shared.core.ports import Checkable, Queue, Storage
from shared.media.ffmpeg.executable import check_executable
from shared.tracking.tracker import Tracker


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What the dashboard reads and writes.

    Args:
        tracker: The recordings.
        storage: The bucket with the audio.
        queues: Where a retried recording is published, by its ``source``. One of another
            source is only set QUEUED, and its requeue publishes it.
        checks: What raises when a component is down, by the component's name.
        has_drive, has_sftp: Whether these sources are set up.
        iap_audience: When set, requests must carry IAP's signed header for it.
        hosts: Names that the dashboard answers to besides this machine's own; ``None`` for
            any, where only the platform can reach it.
        cache_s: How long figures are kept, in seconds.
    """

    tracker: Tracker
    storage: Storage
    queues: Mapping[str, Queue] = field(default_factory=dict)
    checks: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    has_drive: bool = False
    has_sftp: bool = False
    env: str = "dev"
    iap_audience: str = ""
    hosts: frozenset[str] | None = frozenset()
    cache_s: float = 2.0

    @classmethod
    def of(cls, services: Services, *, any_host: bool = False) -> Self:
        """Return the backend that the settings name."""
        settings = services.settings
        queues = {
            Source.DRIVE: services.recordings_queue,
            Source.SFTP: services.sftp_queue,
            Source.LOCAL: services.local_queue,
        }
        return cls(
            tracker=services.tracker,
            storage=services.storage,
            queues={source.value: queue for source, queue in queues.items()},
            checks={
                # Not in the cloud, where the dashboard's image has no FFmpeg.
                **({"ffmpeg": check_executable} if find_spec("imageio_ffmpeg") else {}),
                "storage": _late(lambda: services.storage),
                "tracker": _late(lambda: services.documents),
                "queue": _late(lambda: services.recordings_queue),
            },
            has_drive=bool(
                settings.drive_subjects
                or settings.drive_ids
                or settings.drive_folder_ids
                or settings.drive_service_account
                or settings.drive_api_endpoint
            ),
            has_sftp=bool(settings.sftp_host),
            env=settings.pipeline_env,
            iap_audience=settings.iap_audience,
            hosts=None if any_host else frozenset(settings.dashboard_hosts),
            # A count on Firestore costs a read for each 1,000 documents.
            cache_s=15.0 if settings.tracker_url.kind == "firestore" else 2.0,
        )


def _late(part: Callable[[], Checkable]) -> Callable[[], object]:
    # A part that cannot be built is reported as down, like one that does not answer.
    return lambda: part().check()
