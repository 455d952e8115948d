"""Builds the parts of this function from ``Services``; the only module here that sees it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from functions.drive_watch.channel import Channels
from functions.drive_watch.feeds import make_feeds
from functions.drive_watch.publisher import Publisher
from functions.drive_watch.watch import Watch
from shared.bootstrap import Services
from shared.core.message import Source
from shared.core.times import utc_now
from shared.tracking.requeue import Requeue


def build_watch(services: Services, cancelled: Callable[[], bool] = lambda: False) -> Watch:
    """Return what the settings watch."""
    settings = services.settings
    queues = {
        Source.DRIVE.value: services.recordings_queue,
        Source.SFTP.value: services.sftp_queue,
    }
    return Watch(
        documents=services.documents,
        # Imports the client of Drive only when it is used: a forged notification needs none.
        clients=lambda account: services.drive_clients(account),  # noqa: PLW0108
        publisher=Publisher(services.tracker, services.recordings_queue),
        requeue=Requeue(services.tracker, queues, settings.drive_subjects),
        channels=Channels(
            services.documents,
            settings.webhook_url,
            timedelta(hours=settings.channel_ttl_hours),
            utc_now,
            settings.channel_key.reveal if settings.channel_key else None,
        ),
        opens_channels=bool(settings.webhook_url),
        feeds=make_feeds(settings.drive_subjects, settings.drive_ids),
        folder_ids=settings.drive_folder_ids,
        since=settings.backfill_since,
        lease=timedelta(seconds=settings.lease_seconds),
        limit_s=settings.watch_limit_seconds,
        cancelled=cancelled,
    )
