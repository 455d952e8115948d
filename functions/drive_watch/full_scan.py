"""Listings that find what no change told of: of the last day, and once a day of everything."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from functions.drive_watch.feeds import Budget, Feed
from functions.drive_watch.publisher import Publisher
from functions.drive_watch.state import Hold, Leased, as_time
from shared.core.drive_folders import Listing, WatchedFolders, recent
from shared.core.message import SourceFile
from shared.core.ports import Clock, Document, DriveApi

log = logging.getLogger(__name__)

FULL_EVERY = timedelta(days=1)
LAST_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Compare:
    """Compares one feed's listings with the tracker, and publishes what is missing."""

    feed: Feed
    api: DriveApi
    folders: WatchedFolders
    folder_ids: Sequence[str]
    since: date | None
    state: Leased
    progress: Leased
    publisher: Publisher
    budget: Budget
    clock: Clock

    def last_day(self) -> int:
        """Publish what was made or changed since yesterday; returns how much that was."""
        items = recent(self.api, self.clock() - LAST_DAY, self.feed.drive_id)
        found = self.publisher.publish(
            # Each quarter of an hour is too often to try again what may not be read.
            self.folders.recordings(items),
            self.feed.account,
            revive=False,
        )
        self._tell(len(found), "the last day")
        return len(found)

    def is_due(self) -> bool:
        """Tell whether the last full compare began a day ago, or one is wanted before that."""
        began = as_time((self.state.read() or {}).get("full_compare_at"))
        return began is None or self.clock() - began >= FULL_EVERY or self._is_under_way()

    def is_urgent(self) -> bool:
        """Tell whether changes were lost, or a full compare is under way."""
        state = self.state.read()
        return bool(state and state.get("full_compare_at") is None) or self._is_under_way()

    def _is_under_way(self) -> bool:
        return bool((self.progress.read() or {}).get("todo"))

    def part(self) -> tuple[str, int]:
        """Go on with the full compare, or begin one.

        Returns ``done``, ``part`` when the call's time is up, or ``busy`` when another
        does it; and how many recordings only this listing has found.
        """
        self.progress.create({"todo": None})
        hold = self.progress.acquire()
        if hold is None:
            return "busy", 0
        with hold:
            return self._part(hold)

    def pages(self) -> Iterator[list[SourceFile]]:
        """List everything from the start; yields what was published of each page."""
        listing = self._listing()
        while not listing.is_done:
            yield self._publish_page(listing)

    def _part(self, hold: Hold) -> tuple[str, int]:
        self._begin_or_go_on(hold)
        listing = self._listing().take_up(hold.document["todo"])
        found = 0
        while not listing.is_done:
            self.budget.check()
            found += len(self._publish_page(listing))
            # One page at least in each part, so that it always comes to its end.
            hold.write(todo=listing.put_aside())
            if self.budget.is_spent and not listing.is_done:
                break
        self._tell(found, "a full compare")
        if not listing.is_done:
            return "part", found
        self._finish(hold)
        return "done", found

    def _begin_or_go_on(self, hold: Hold) -> None:
        state = self.state.read() or {}
        begun = hold.document
        if begun.get("todo") and begun.get("generation") == state.get("generation"):
            return
        hold.write(
            todo=self._listing().put_aside(),
            generation=state.get("generation"),
            began_at=self.clock(),
        )

    def _listing(self) -> Listing:
        return Listing(self.api, self.folder_ids, drive_id=self.feed.drive_id, since=self.since)

    def _publish_page(self, listing: Listing) -> list[SourceFile]:
        recordings = listing.next_page()
        return self.publisher.publish(recordings, self.feed.account) if recordings else []

    def _finish(self, hold: Hold) -> None:
        """Note the end, unless changes were lost meanwhile: then another one is due."""
        compared = hold.document

        def finished(state: Document) -> Document | None:
            if state.get("generation") != compared["generation"]:
                return None
            return {"full_compare_at": compared["began_at"]}

        self.state.change(finished)
        hold.write(todo=None)

    def _tell(self, found: int, where: str) -> None:
        if found:
            log.warning(
                "found by a listing alone",
                extra={"feed": self.feed.id, "in": where, "found": found},
            )
