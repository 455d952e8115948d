"""The parts of one process, put together for each feed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property

from functions.drive_watch.changes import Drain
from functions.drive_watch.channel import Channels
from functions.drive_watch.feeds import Budget, Feed, feeds
from functions.drive_watch.full_scan import Compare
from functions.drive_watch.publisher import Publisher
from functions.drive_watch.state import COMPARES, STATES, Leased
from shared.bootstrap import Services
from shared.core.drive_folders import WatchedFolders
from shared.core.message import Source
from shared.core.ports import DriveApi
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import utc_now


class Watch:
    """What this process watches, over what the settings name. Threads may share it."""

    def __init__(self, services: Services, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.services = services
        self._cancelled = cancelled
        self._folders: dict[str, WatchedFolders] = {}
        self._lock = threading.Lock()

    @cached_property
    def feeds(self) -> list[Feed]:
        """Every feed that the settings name."""
        return feeds(self.services.settings)

    @cached_property
    def channels(self) -> Channels | None:
        """The channels, to open and renew; ``None`` without ``WEBHOOK_URL``."""
        return self.recorded_channels if self.services.settings.webhook_url else None

    @cached_property
    def recorded_channels(self) -> Channels:
        """The channels, to recognise: the webhook cannot know its own address when deployed."""
        settings = self.services.settings
        return Channels(
            self.services.documents,
            settings.webhook_url,
            timedelta(hours=settings.channel_ttl_hours),
            utc_now,
        )

    @cached_property
    def requeue(self) -> Requeue:
        """The requeue, for both sources."""
        queues = {
            Source.DRIVE.value: self.services.recordings_queue,
            Source.SFTP.value: self.services.sftp_queue,
        }
        return Requeue(self.services.tracker, queues)

    def clients(self, account: str) -> DriveApi:
        """Return the Drive of an account."""
        return self.services.drive_clients(account)

    def api(self, feed: Feed) -> DriveApi:
        """Return the Drive that the feed is read from."""
        return self.clients(feed.account)

    def budget(self) -> Budget:
        """Return the time of a call that begins now."""
        return Budget(self.services.settings.watch_limit_seconds, self._cancelled)

    def state(self, feed: Feed) -> Leased:
        """Return the feed's page token."""
        return self._leased(STATES, feed)

    def _leased(self, collection: str, feed: Feed) -> Leased:
        lease = timedelta(seconds=self.services.settings.lease_seconds)
        return Leased(self.services.documents, collection, feed.id, lease, utc_now)

    def folders(self, feed: Feed) -> WatchedFolders:
        """Return the feed's watched folders, which remember what they have looked up."""
        with self._lock:
            if feed.id not in self._folders:
                ids = self.services.settings.drive_folder_ids
                self._folders[feed.id] = WatchedFolders(self.api(feed), ids)
            return self._folders[feed.id]

    def _publisher(self) -> Publisher:
        return Publisher(self.services.tracker, self.services.recordings_queue)

    def drain(self, feed: Feed, budget: Budget) -> Drain:
        """Return what drains the feed."""
        return Drain(
            feed,
            self.api(feed),
            self.folders(feed),
            self.state(feed),
            self._publisher(),
            budget,
        )

    def compare(self, feed: Feed, budget: Budget) -> Compare:
        """Return what compares the feed's listings with the tracker."""
        settings = self.services.settings
        return Compare(
            feed,
            self.api(feed),
            self.folders(feed),
            settings.drive_folder_ids,
            settings.backfill_since,
            self.state(feed),
            self._leased(COMPARES, feed),
            self._publisher(),
            budget,
            utc_now,
        )
