"""Finds what the change feed missed: lists the last day each run, everything once a day."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from functions.drive_watch.feeds import Budget, Feed
from functions.drive_watch.publisher import Publisher
from shared.core.drive_folders import Listing, WatchedFolders, recent
from shared.core.message import SourceFile
from shared.core.ports import Clock, Document, DriveApi
from shared.core.times import document_time
from shared.tracking.leased_document import LeasedDocument

log = logging.getLogger(__name__)

FULL_EVERY = timedelta(days=1)
LAST_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Scan:
    """Lists one feed's recordings, and publishes those that the tracker does not know.

    ``state`` is the feed's page token; ``progress`` is how far the full scan is.
    """

    feed: Feed
    api: DriveApi
    folders: WatchedFolders
    folder_ids: Sequence[str]
    since: date | None
    state: LeasedDocument
    progress: LeasedDocument
    publisher: Publisher
    budget: Budget
    clock: Clock

    def last_day(self) -> int:
        """Publish what was created or changed since yesterday; returns how many recordings."""
        items = recent(self.api, self.clock() - LAST_DAY, self.feed.drive_id)
        found = self.publisher.publish(
            # Every 15 minutes is too often to retry files that may not be readable.
            self.folders.recordings(items),
            self.feed.account,
            revive=False,
        )
        self._report(len(found), "the last day")
        return len(found)

    def is_due(self) -> bool:
        """Return whether the last full scan began a day ago, or one is needed before that."""
        began = document_time((self.state.read() or {}).get("full_compare_at"))
        return began is None or self.clock() - began >= FULL_EVERY or self._is_under_way()

    def is_urgent(self) -> bool:
        """Return whether changes were lost, or a full scan is under way."""
        state = self.state.read()
        return bool(state and state.get("full_compare_at") is None) or self._is_under_way()

    def _is_under_way(self) -> bool:
        return bool((self.progress.read() or {}).get("todo"))

    def part(self) -> tuple[str, int]:
        """Continue the full scan, or begin one.

        Returns ``done``, ``part`` when the call's time is up, or ``busy`` when another
        process does it; and how many recordings only this listing has found.
        """
        self.progress.create({"todo": None})
        lease = self.progress.acquire()
        if lease is None:
            return "busy", 0
        with lease:
            generation = (self.state.read() or {}).get("generation")
            begun = lease.document
            if not begun.get("todo") or begun.get("generation") != generation:
                lease.write(
                    todo=self._listing().put_aside(), generation=generation, began_at=self.clock()
                )
            scanned = lease.document
            listing = self._listing().take_up(scanned["todo"])
            found = 0
            while not listing.is_done:
                self.budget.check()
                found += len(self._publish_page(listing))
                # At least one page in each part, so that every scan reaches its end.
                lease.write(todo=listing.put_aside())
                if self.budget.is_spent and not listing.is_done:
                    break
            self._report(found, "a full scan")
            if not listing.is_done:
                return "part", found

            def finished(state: Document) -> Document | None:
                # Changes were lost meanwhile: another scan is due.
                if state.get("generation") != scanned["generation"]:
                    return None
                return {"full_compare_at": scanned["began_at"]}

            self.state.change(finished)
            lease.write(todo=None)
            return "done", found

    def pages(self) -> Iterator[list[SourceFile]]:
        """List everything from the start; yields what was published of each page."""
        listing = self._listing()
        while not listing.is_done:
            yield self._publish_page(listing)

    def _listing(self) -> Listing:
        return Listing(self.api, self.folder_ids, drive_id=self.feed.drive_id, since=self.since)

    def _publish_page(self, listing: Listing) -> list[SourceFile]:
        return self.publisher.publish(listing.next_page(), self.feed.account)

    def _report(self, found: int, where: str) -> None:
        if found:
            log.warning(
                "the change feed missed recordings",
                extra={"feed": self.feed.id, "in": where, "found": found},
            )
