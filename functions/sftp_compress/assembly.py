"""Builds the parts of this function from ``Services``; the only module here that sees it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from functions.sftp_compress.nightly import Nightly
from functions.sftp_compress.worker import CompressionWorker
from shared.bootstrap import Services
from shared.core.message import Source
from shared.core.ports import PassedOver
from shared.media.ffmpeg.executable import executable
from shared.service.push import Push
from shared.service.receiver import Receiver
from shared.tracking.lease import Result, RunOptions


def build_nightly(
    services: Services,
    *,
    resume: bool = False,
    retry_failed: bool = False,
    remake_as: str = "",
) -> Nightly:
    """Return the scan of the SFTP server that the settings name."""
    passed_over = PassedOver()
    return Nightly(
        sources=services.sftp_files(passed_over),
        passed_over=passed_over,
        tracker=services.tracker,
        queue=services.sftp_queue,
        settle=timedelta(minutes=services.settings.sftp_settle_minutes),
        resume=resume,
        retry_failed=retry_failed,
        remake_as=remake_as,
    )


def build_worker(services: Services) -> CompressionWorker:
    """Return the worker for files of the SFTP server.

    Raises ``ConfigurationError`` when FFmpeg is missing or too old.
    """
    executable()
    settings = services.settings
    return CompressionWorker(
        tracker=services.tracker,
        storage=services.storage,
        sources={Source.SFTP: services.sftp_sources},
        env=settings.pipeline_env,
        output_dir=settings.output_dir,
        output_format=settings.output_format,
        sample_rate=settings.sample_rate,
        channels=settings.channels,
        bitrate=settings.bitrate,
        encode_workers=settings.encode_workers,
        max_duration_hours=settings.max_duration_hours,
        check_space=services.check_space,
        mirror=services.sftp_mirror,
    )


def build_receiver(services: Services, cancelled: Callable[[], bool]) -> Receiver:
    """Return what answers pushes."""

    def work(delivery: Push) -> Result:
        # Built only now: without a server there is no worker, but malformed messages must
        # still be acknowledged.
        options = RunOptions(published_at=delivery.published_at, cancelled=cancelled)
        return build_worker(services).process(delivery.item, options)

    return Receiver(
        source=Source.SFTP,
        tracker=services.tracker,
        work=work,
        cancelled=cancelled,
        authenticator=services.push_authenticator,
    )
