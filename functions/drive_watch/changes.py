"""Draining a feed's changes: the page token moves only after what its page held was published."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from functions.drive_watch.feeds import Budget, Feed
from functions.drive_watch.publisher import Publisher
from functions.drive_watch.state import Hold, Leased
from shared.core.drive_folders import Listing, WatchedFolders
from shared.core.drive_items import Change, ChangePage, DriveItem, PageTokenError
from shared.core.errors import LeaseLostError
from shared.core.ports import Document, DriveApi

log = logging.getLogger(__name__)

#: Changes in one page: what a crash makes the next holder do again.
PAGE = 250


@dataclass
class Drained:
    """What a drain did.

    ``left`` tells that time was up before the changes were, ``lost`` that the page token
    was void: what had changed until then only a full compare finds.
    """

    published: int = 0
    left: bool = False
    lost: bool = False


@dataclass
class Drain:
    """Takes one feed's changes to their end, under the lease of its page token."""

    feed: Feed
    api: DriveApi
    folders: WatchedFolders
    state: Leased
    publisher: Publisher
    budget: Budget

    def begin(self) -> Document:
        """Return the feed's state; watching begins now where there is none yet."""
        state = self.state.read()
        if state:
            return state
        account = {"account": self.feed.account, "drive_id": self.feed.drive_id}
        return self.state.create(account | self._start())

    def run(self) -> Drained:
        """Publish what has changed, until nothing is left; at once done when another does.

        Whoever notified while the lease was held was sent away, so after it is given back
        the changes are listed once more. Raises what Drive, the queue or the tracker met;
        what was published stays, and the page is done again.
        """
        self.begin()
        drained = Drained()
        while True:
            hold = self.state.acquire()
            if hold is None:
                return drained
            with hold, suppress(LeaseLostError):  # who has taken it goes on with it
                self._to_the_end(hold, drained)
            if drained.left or not self._has_more():
                return drained

    def _to_the_end(self, hold: Hold, drained: Drained) -> None:
        while True:
            self.budget.check()
            if self.budget.is_spent:
                drained.left = True
                return
            try:
                page = self._page(hold.document)
            except PageTokenError as error:
                if drained.lost:
                    raise  # a token that was just given out: this is no expiry
                log.warning("a full compare is due: %s", error, extra={"feed": self.feed.id})
                hold.write(**self._start())
                drained.lost = True
                return
            drained.published += self._publish(page, hold)
            if page.token != hold.document["page_token"]:
                hold.write(page_token=page.token)
            if page.last and not page.changes:
                return

    def _page(self, state: Document) -> ChangePage:
        return self.api.changes(state["page_token"], self.feed.drive_id, page_size=PAGE)

    def _has_more(self) -> bool:
        try:
            page = self._page(self.state.read() or {})
        except PageTokenError:
            return True
        return bool(page.changes) or not page.last

    def _start(self) -> Document:
        """Return the state of a feed that is watched from now on, all before it unseen."""
        token = self.api.start_token(self.feed.drive_id)
        return {"page_token": token, **_unseen()}

    def _publish(self, page: ChangePage, hold: Hold) -> int:
        if page.drives_changed:
            log.info("a shared drive was joined, left or renamed", extra={"feed": self.feed.id})
            hold.write(**_unseen())
        self.folders.forget(change.file_id for change in page.changes)
        items = list(_present(page.changes))
        published = self._publish_recordings(self.folders.recordings(items))
        moved = [item for item in items if item.is_folder and self.folders.contains(item)]
        return published + self._publish_below([folder.id for folder in moved], hold)

    def _publish_recordings(self, recordings: Sequence[DriveItem]) -> int:
        return len(self.publisher.publish(recordings, self.feed.account)) if recordings else 0

    def _publish_below(self, folder_ids: Sequence[str], hold: Hold) -> int:
        """Publish what lies below folders that may just have come: only they are listed."""
        if not folder_ids:
            return 0
        published = 0
        listing = Listing(self.api, folder_ids, drive_id=self.feed.drive_id)
        while not listing.is_done:
            self.budget.check()
            hold.check()
            if self.budget.is_spent:
                # Doing it again would take as long: the full compare does it in parts.
                hold.write(**_unseen())
                return published
            published += self._publish_recordings(listing.next_page())
        return published


def _unseen() -> Document:
    """Return the fields after which a full compare is due, and one under way starts over."""
    return {"generation": uuid.uuid4().hex, "full_compare_at": None}


def _present(changes: Sequence[Change]) -> Iterator[DriveItem]:
    return (change.item for change in changes if change.item and not change.item.trashed)
