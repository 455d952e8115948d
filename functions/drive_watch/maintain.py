"""What is done by the clock: renew channels, drain, compare listings, requeue."""

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

log = logging.getLogger(__name__)

_THREADS = 8


@dataclass
class Summary:
    """What one call did, by the ids of feeds.

    ``found`` is what only listings found, and part of ``published``; ``left`` are feeds
    that time was short for; ``channel_hours_left`` is until the first of the channels
    that are wanted ends, ``None`` when none is.
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
        """Return what the alerts count, and the whole."""
        counted: dict[str, Any] = {
            "found": self.found,
            "published": self.published,
            "requeued": self.requeued,
            "failed": len(self.failures),
        }
        if self.channel_hours_left is not None:
            counted["channel_hours_left"] = self.channel_hours_left
        return counted | {"summary": asdict(self)}


#: The line of each call; it is counted, and missed when it does not come.
MAINTAINED = "maintained"

#: What a failure of the requeue is listed under; feeds are listed by their ids.
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
        """Whether the requeue or every feed has failed, of which the caller is to be told."""
        return REQUEUE in self.summary.failures or all(
            feed.id in self.summary.failures for feed in self._watch.feeds
        )

    def requeue(self) -> Summary:
        """Publish again what is stale, and finish what a crash has left half done."""
        self._requeue()
        self._each(self._watch.feeds, self._resume)
        return self._told("requeue")

    def run(self, *, full: bool = False) -> Summary:
        """Do all of it for every feed; one that fails does not stop the others."""
        self._requeue()
        channels = self._watch.channels.all() if self._watch.channels else {}
        self._each(
            self._watch.feeds,
            lambda feed: self._maintain(feed, channels.get(feed.id, ()), full=full),
        )
        self._abandon(channels)
        self.summary.channel_hours_left = self._hours_left()
        return self._told("all")

    def _hours_left(self) -> float | None:
        """Return when the first feed is without a channel, as it is recorded now."""
        if self._watch.channels is None:
            return None
        found = self._watch.channels.all()
        return min(
            self._watch.channels.hours_left(found.get(feed.id, ())) for feed in self._watch.feeds
        )

    def _told(self, task: str) -> Summary:
        log.info(MAINTAINED, extra={"task": task, **self.summary.log_context()})
        return self.summary

    def _requeue(self) -> None:
        try:
            self.summary.requeued = self._watch.requeue.run()
        except Exception as error:
            self._failed(REQUEUE, error)

    def _each(self, feeds: Sequence[Feed], action: Callable[[Feed], None]) -> None:
        # In another order each time, so that none is always the one that time is short for.
        order = random.sample(feeds, len(feeds))
        with ThreadPoolExecutor(min(_THREADS, len(order))) as pool:
            list(pool.map(lambda feed: self._guarded(feed, action), order))

    def _guarded(self, feed: Feed, action: Callable[[Feed], None]) -> None:
        if self._budget.is_spent:
            self.summary.left.append(feed.id)
            return
        try:
            action(feed)
        except (CancelledError, LeaseLostError):
            self.summary.left.append(feed.id)
        except Exception as error:
            self._failed(feed.id, error)

    def _failed(self, what: str, error: Exception) -> None:
        self.summary.failures[what] = f"{type(error).__name__}: {error}"
        log.error("maintain failed for %s: %s", what, error, exc_info=error)

    def _maintain(self, feed: Feed, channels: Sequence[Channel], *, full: bool) -> None:
        drain = self._watch.drain(feed, self._budget)
        compare = self._watch.compare(feed, self._budget)
        drain.begin()
        self._renew(feed, channels)
        self._drain(feed)
        self._add(found=compare.last_day())
        due = full or compare.is_due()
        if due:
            self._compare(feed)
        else:
            self.summary.compare[feed.id] = "not due"

    def _resume(self, feed: Feed) -> None:
        if self._watch.state(feed).was_abandoned(self._watch.state(feed).read() or {}):
            self._drain(feed)
        if self._watch.compare(feed, self._budget).is_urgent():
            self._compare(feed)

    def _drain(self, feed: Feed) -> None:
        drained = self._watch.drain(feed, self._budget).run()
        self._add(published=drained.published)
        if drained.left:
            self.summary.left.append(feed.id)

    def _compare(self, feed: Feed) -> None:
        self.summary.compare[feed.id], found = self._watch.compare(feed, self._budget).part()
        self._add(found=found)

    def _add(self, *, published: int = 0, found: int = 0) -> None:
        with self._lock:
            self.summary.published += published + found
            self.summary.found += found

    def _renew(self, feed: Feed, existing: Sequence[Channel]) -> None:
        """Renew the feed's channel; without one, changes are still found by the clock."""
        if self._watch.channels is None:
            self.summary.channel[feed.id] = {"state": "off"}
            return
        try:
            what, channel = self._open(feed, existing)
        except Exception as error:
            self.summary.channel[feed.id] = {"state": "failed"}
            self._failed(f"channel of {feed.id}", error)
            return
        until = channel.expires_at.isoformat().replace("+00:00", "Z")
        self.summary.channel[feed.id] = {"state": what, "expires_at": until}

    def _open(self, feed: Feed, existing: Sequence[Channel]) -> tuple[str, Channel]:
        assert self._watch.channels
        api = self._watch.api(feed)
        state = self._watch.state(feed)
        try:
            token = (state.read() or {})["page_token"]
            return self._watch.channels.renew(feed, api, token, existing)
        except PageTokenError:
            self._drain(feed)  # takes a new one
            token = (state.read() or {})["page_token"]
            return self._watch.channels.renew(feed, api, token, existing)

    def _abandon(self, channels: dict[str, list[Channel]]) -> None:
        watched = {feed.id for feed in self._watch.feeds}
        for feed_id in channels.keys() - watched:
            assert self._watch.channels
            self._watch.channels.abandon(channels[feed_id], self._watch.clients)
