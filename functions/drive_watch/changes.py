"""Drains a feed's changes. The page token moves only after its page was published."""

from __future__ import annotations

import logging
import uuid
from contextlib import suppress
from dataclasses import dataclass

from functions.drive_watch.feeds import Budget, Feed
from functions.drive_watch.publisher import Publisher
from shared.core.drive_folders import Listing, WatchedFolders
from shared.core.drive_items import ChangePage, PageTokenError
from shared.core.errors import LeaseLostError
from shared.core.ports import Document, DriveApi
from shared.tracking.leased_document import Lease, LeasedDocument

log = logging.getLogger(__name__)

#: Changes in one page: how much a crash makes the next process do again.
PAGE = 250


@dataclass
class Drained:
    """What a drain did.

    ``left``: time was up before the changes were. ``lost``: Drive rejected the page token,
    so earlier changes are found only by a full scan.
    """

    published: int = 0
    left: bool = False
    lost: bool = False


@dataclass
class Drain:
    """Publishes all changes of one feed, under the lease of its page token."""

    feed: Feed
    api: DriveApi
    folders: WatchedFolders
    state: LeasedDocument
    publisher: Publisher
    budget: Budget

    def begin(self) -> Document:
        """Return the feed's state; a new feed is watched from now on."""
        state = self.state.read()
        if state:
            return state
        account = {"account": self.feed.account, "drive_id": self.feed.drive_id}
        return self.state.create(account | self._start())

    def run(self) -> Drained:
        """Publish what has changed until nothing is left; return at once if another process is.

        Calls that came while the lease was taken returned at once, so the changes are
        listed once more after it is released. Raises what Drive, the queue or the tracker
        met; what was published stays, and the page is done again.
        """
        self.begin()
        drained = Drained()
        while True:
            lease = self.state.acquire()
            if lease is None:
                return drained
            with lease, suppress(LeaseLostError):  # the process that took it continues
                self._drain(lease, drained)
            if drained.left:
                return drained
            with suppress(PageTokenError):  # the next round takes another token
                page = self._changes(self.state.read() or {})
                if page.last and not page.changes:
                    return drained

    def _drain(self, lease: Lease, drained: Drained) -> None:
        while True:
            self.budget.check()
            if self.budget.is_spent:
                drained.left = True
                return
            try:
                page = self._changes(lease.document)
            except PageTokenError as error:
                if drained.lost:
                    raise  # a token that Drive has just returned did not expire
                log.warning("a full scan is due: %s", error, extra={"feed": self.feed.id})
                lease.write(**self._start())
                drained.lost = True
                return
            drained.published += self._publish(page, lease)
            if page.token != lease.document["page_token"]:
                lease.write(page_token=page.token)
            if page.last and not page.changes:
                return

    def _changes(self, state: Document) -> ChangePage:
        return self.api.changes(state["page_token"], self.feed.drive_id, page_size=PAGE)

    def _start(self) -> Document:
        """Return the state of a feed that is watched from now on."""
        token = self.api.start_token(self.feed.drive_id)
        return {"page_token": token, **_scan_needed()}

    def _publish(self, page: ChangePage, lease: Lease) -> int:
        """Publish the recordings of a page, and those below folders that changed."""
        if page.drives_changed:
            log.info("a shared drive was joined, left or renamed", extra={"feed": self.feed.id})
            lease.write(**_scan_needed())
        self.folders.forget(change.file_id for change in page.changes)
        items = [change.item for change in page.changes if change.item and not change.item.trashed]
        account = self.feed.account
        published = len(self.publisher.publish(self.folders.recordings(items), account))
        moved = [item.id for item in items if item.is_folder and self.folders.contains(item)]
        if not moved:
            return published
        listing = Listing(self.api, moved, drive_id=self.feed.drive_id)
        while not listing.is_done:
            self.budget.check()
            lease.check()
            if self.budget.is_spent:
                # The next drain would take as long; the full scan works in parts.
                lease.write(**_scan_needed())
                break
            published += len(self.publisher.publish(listing.next_page(), account))
        return published


def _scan_needed() -> Document:
    """Return the fields that make a full scan due, and restart one that is under way."""
    return {"generation": uuid.uuid4().hex, "full_compare_at": None}
