"""Builds the parts of this function from ``Services``; the only module here that sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from functions.extract_audio.worker import ExtractionWorker
from shared.bootstrap import Services
from shared.core.message import Source
from shared.core.ports import Sources
from shared.media.ffmpeg.executable import check_executable, executable
from shared.service.push import Push
from shared.service.receiver import Receiver
from shared.tracking.lease import Outcome, Result, RunOptions


def build_worker(services: Services, *sources: Source) -> ExtractionWorker:
    """Return the worker for recordings of these sources.

    Raises ``ConfigurationError`` when FFmpeg is missing or too old.
    """
    executable()
    settings = services.settings
    readers: dict[str, Callable[[], Sources]] = {
        Source.DRIVE: lambda: services.drive_sources,
        Source.LOCAL: lambda: services.local_sources,
    }
    return ExtractionWorker(
        tracker=services.tracker,
        storage=services.storage,
        sources={source: readers[source]() for source in sources},
        env=settings.pipeline_env,
        audio_preset=settings.audio_preset,
        audio_bitrate=settings.audio_bitrate,
        chunk_max_mb=settings.chunk_max_mb,
        encode_workers=settings.encode_workers,
        max_duration_hours=settings.max_duration_hours,
        check_space=services.check_space,
    )


def build_receiver(services: Services, cancelled: Callable[[], bool]) -> Receiver:
    """Return what answers pushes; what takes longer than a push may goes to the job."""
    settings = services.settings

    def work(delivery: Push) -> Result:
        options = RunOptions(
            published_at=delivery.published_at,
            cancelled=cancelled,
            limit_s=settings.push_limit_seconds if settings.extract_job else None,
        )
        result = build_worker(services, Source.DRIVE).process(delivery.item, options)
        if result.outcome is Outcome.HANDED_OVER:
            services.jobs.start(delivery.item.key)
        return result

    return Receiver(
        source=Source.DRIVE,
        tracker=services.tracker,
        work=work,
        cancelled=cancelled,
        accounts=settings.drive_subjects,
        authenticator=services.push_authenticator,
    )


def health_checks(
    services: Services, *, only_ready: bool = False
) -> Mapping[str, Callable[[], object]]:
    """Return the checks of ``/health`` by component; of ``/ready``, what a delivery needs."""
    # Each part is built by its check: a part that cannot be built is down.
    checks: dict[str, Callable[[], object]] = {
        "ffmpeg": check_executable,
        "storage": lambda: services.storage.check(),  # noqa: PLW0108
        "tracker": lambda: services.documents.check(),  # noqa: PLW0108
    }
    if not only_ready:
        checks["queue"] = lambda: services.recordings_queue.check()  # noqa: PLW0108
    return checks
