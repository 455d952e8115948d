"""What runs on a schedule: renew channels, drain changes, scan listings, requeue."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from functions.drive_watch.channel import Channel
from functions.drive_watch.feeds import Budget, Feed
from functions.drive_watch.watch import Watch
from shared.core.drive_items import PageTokenError
from shared.core.errors import CancelledError, LeaseLostError
from shared.core.times import format_time

log = logging.getLogger(__name__)

_THREADS = 8


@dataclass
class Summary:
    """What one call did, by the ids of feeds.

    ``found`` counts recordings that only listings found; they are part of ``published``.
    ``left`` are feeds that the call had no time for. ``channel_hours_left`` is the time until
    the first feed is without a channel, ``None`` without ``WEBHOOK_URL``.
    """

    channel: dict[str, Any] = field(default_factory=dict)
    compare: dict[str, str] = field(default_factory=dict)
    found: int = 0
    published: int = 0
    requeued: int = 0
    left: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    channel_hours_left: float | None = None

    def log_context(self) -> dict[str, Any]:
        """Return the numbers that alerts use, and the whole summary."""
        counted: dict[str, Any] = {
            "found": self.found,
            "published": self.published,
            "requeued": self.requeued,
            "failed": len(self.failures),
        }
        if self.channel_hours_left is not None:
            counted["channel_hours_left"] = self.channel_hours_left
        return counted | {"summary": asdict(self)}


#: The log line of each call; an alert fires when it is missing.
MAINTAINED = "maintained"

#: The name under which a failed requeue is listed; feeds are listed by their ids.
REQUEUE = "requeue"


class Maintenance:
    """One call of ``maintain``."""

    def __init__(self, watch: Watch, budget: Budget) -> None:
        self._watch = watch
        self._budget = budget
        self.summary = Summary()
        self._lock = threading.Lock()

    @property
    def has_failed(self) -> bool:
        """Whether the requeue or every feed failed, so that the call answers 500."""
        return REQUEUE in self.summary.failures or all(
            feed.id in self.summary.failures for feed in self._watch.feeds
        )

    def requeue(self) -> Summary:
        """Publish stale recordings again, and finish what a crash left half done."""
        self._requeue()
        self._each(self._resume)
        return self._logged("requeue")

    def run(self, *, full: bool = False) -> Summary:
        """Do all of it for every feed; one that fails does not stop the others."""
        self._requeue()
        channels = self._watch.channels.all() if self._watch.opens_channels else {}
        self._each(lambda feed: self._maintain(feed, channels.get(feed.id, ()), full=full))
        watched = {feed.id for feed in self._watch.feeds}
        for feed_id in channels.keys() - watched:
            self._watch.channels.abandon(channels[feed_id], self._watch.clients)
        if self._watch.opens_channels:
            found = self._watch.channels.all()
            self.summary.channel_hours_left = min(
                self._watch.channels.hours_left(found.get(feed.id, ()))
                for feed in self._watch.feeds
            )
        return self._logged("all")

    def _logged(self, task: str) -> Summary:
        log.info(MAINTAINED, extra={"task": task, **self.summary.log_context()})
        return self.summary

    def _requeue(self) -> None:
        try:
            self.summary.requeued = self._watch.requeue.run()
        except Exception as error:
            self._failed(REQUEUE, error)

    def _each(self, action: Callable[[Feed], None]) -> None:
        """Do ``action`` for every feed; what fails, and what there was no time for, is noted."""

        def attempt(feed: Feed) -> None:
            if self._budget.is_spent:
                self.summary.left.append(feed.id)
                return
            try:
                action(feed)
            except (CancelledError, LeaseLostError):
                self.summary.left.append(feed.id)
            except Exception as error:
                self._failed(feed.id, error)

        # In random order, so that the call does not always run out of time at the same feed.
        feeds = random.sample(self._watch.feeds, len(self._watch.feeds))
        with ThreadPoolExecutor(min(_THREADS, len(feeds))) as pool:
            list(pool.map(attempt, feeds))

    def _failed(self, what: str, error: Exception) -> None:
        self.summary.failures[what] = f"{type(error).__name__}: {error}"
        log.error("maintain failed for %s: %s", what, error, exc_info=error)

    def _maintain(self, feed: Feed, channels: Sequence[Channel], *, full: bool) -> None:
        scan = self._watch.scan(feed, self._budget)
        self._watch.drain(feed, self._budget).begin()
        self._renew(feed, channels)
        self._drain(feed)
        self._add(found=scan.last_day())
        if full or scan.is_due():
            self._scan(feed)
        else:
            self.summary.compare[feed.id] = "not due"

    def _resume(self, feed: Feed) -> None:
        state = self._watch.state(feed)
        if state.was_abandoned(state.read() or {}):
            self._drain(feed)
        if self._watch.scan(feed, self._budget).is_urgent():
            self._scan(feed)

    def _drain(self, feed: Feed) -> None:
        drained = self._watch.drain(feed, self._budget).run()
        self._add(published=drained.published)
        if drained.left:
            self.summary.left.append(feed.id)

    def _scan(self, feed: Feed) -> None:
        self.summary.compare[feed.id], found = self._watch.scan(feed, self._budget).part()
        self._add(found=found)

    def _add(self, *, published: int = 0, found: int = 0) -> None:
        with self._lock:
            self.summary.published += published + found
            self.summary.found += found

    def _renew(self, feed: Feed, existing: Sequence[Channel]) -> None:
        """Renew the feed's channel; without one, changes are still found on the schedule."""
        if not self._watch.opens_channels:
            self.summary.channel[feed.id] = {"state": "off"}
            return
        api, state = self._watch.clients(feed.account), self._watch.state(feed)
        try:
            try:
                token = (state.read() or {})["page_token"]
                what, channel = self._watch.channels.renew(feed, api, token, existing)
            except PageTokenError:
                self._drain(feed)  # takes a new page token
                token = (state.read() or {})["page_token"]
                what, channel = self._watch.channels.renew(feed, api, token, existing)
        except Exception as error:
            self.summary.channel[feed.id] = {"state": "failed"}
            self._failed(f"channel of {feed.id}", error)
            return
        self.summary.channel[feed.id] = {
            "state": what,
            "expires_at": format_time(channel.expires_at),
        }
