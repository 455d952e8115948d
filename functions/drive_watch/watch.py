"""What one process watches: the parts for each feed, over ports and plain values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from functions.drive_watch.changes import Drain
from functions.drive_watch.channel import Channels
from functions.drive_watch.feeds import Budget, Feed
from functions.drive_watch.full_scan import Scan
from functions.drive_watch.publisher import Publisher
from shared.core.drive_folders import WatchedFolders
from shared.core.ports import Documents, DriveApi
from shared.core.times import utc_now
from shared.tracking.leased_document import LeasedDocument
from shared.tracking.requeue import Requeue

#: The page token of each feed, its lease, and when the last full scan began.
STATES = "drive_state"
#: How far the full scan of each feed is, and its lease.
SCANS = "drive_compares"


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What this process watches. Threads may share it.

    Args:
        documents: The database.
        clients: Returns the Drive that an account sees.
        publisher: Publishes recordings.
        requeue: Publishes stale ones again, of both sources.
        channels: The channels of all feeds.
        opens_channels: Whether ``WEBHOOK_URL`` is known. The webhook itself, when deployed,
            does not know its own address, and only recognises channels.
        feeds: Every feed that is watched.
        folder_ids: ``DRIVE_FOLDER_IDS``.
        since: ``BACKFILL_SINCE``.
        lease: How long leases last.
        limit_s: ``WATCH_LIMIT_SECONDS``.
        cancelled: Returns whether the process was asked to stop.
    """

    documents: Documents
    clients: Callable[[str], DriveApi]
    publisher: Publisher
    requeue: Requeue
    channels: Channels
    opens_channels: bool
    feeds: Sequence[Feed]
    folder_ids: Sequence[str]
    since: date | None
    lease: timedelta
    limit_s: float
    cancelled: Callable[[], bool] = lambda: False
    _folders: dict[str, WatchedFolders] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def budget(self) -> Budget:
        """Return the time of a call that begins now."""
        return Budget(self.limit_s, self.cancelled)

    def state(self, feed: Feed) -> LeasedDocument:
        """Return the feed's page token."""
        return LeasedDocument(self.documents, STATES, feed.id, self.lease, utc_now)

    def folders(self, feed: Feed) -> WatchedFolders:
        """Return the feed's watched folders, which cache what they looked up."""
        with self._lock:
            if feed.id not in self._folders:
                self._folders[feed.id] = WatchedFolders(self.clients(feed.account), self.folder_ids)
            return self._folders[feed.id]

    def drain(self, feed: Feed, budget: Budget) -> Drain:
        """Return what drains the feed."""
        return Drain(
            feed,
            self.clients(feed.account),
            self.folders(feed),
            self.state(feed),
            self.publisher,
            budget,
        )

    def scan(self, feed: Feed, budget: Budget) -> Scan:
        """Return what lists the feed's recordings."""
        return Scan(
            feed,
            self.clients(feed.account),
            self.folders(feed),
            self.folder_ids,
            self.since,
            self.state(feed),
            LeasedDocument(self.documents, SCANS, feed.id, self.lease, utc_now),
            self.publisher,
            budget,
            utc_now,
        )
