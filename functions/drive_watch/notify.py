"""What a notification sets off: nothing but a drain of the feed that it is about."""

from __future__ import annotations

import logging
from typing import Protocol

from functions.drive_watch.feeds import Feed
from functions.drive_watch.watch import Watch

log = logging.getLogger(__name__)


class Headers(Protocol):
    """A request's headers, whatever the case of their names."""

    def get(self, name: str, default: str) -> str:
        """Return a header."""


def receive(watch: Watch, headers: Headers) -> int:
    """Answer a notification with an HTTP status; raises what a drain met.

    The body says nothing and is not read. Source of the headers: "Notifications for
    resource changes", https://developers.google.com/workspace/drive/api/guides/push
    """
    feed_id = watch.recorded_channels.recognise(
        headers.get("X-Goog-Channel-ID", ""),
        headers.get("X-Goog-Channel-Token", ""),
        headers.get("X-Goog-Resource-ID", ""),
        headers.get("X-Goog-Channel-Expiration", ""),
    )
    if feed_id is None:
        log.info("a forged notification was refused")
        return 403
    feed = next((feed for feed in watch.feeds if feed.id == feed_id), None)
    if headers.get("X-Goog-Resource-State", "") == "sync":
        log.info("Drive reaches the webhook", extra={"feed": feed_id})
        return 204
    if feed is None:
        return 204
    return _drain(watch, feed)


def _drain(watch: Watch, feed: Feed) -> int:
    budget = watch.budget()
    drained = watch.drain(feed, budget).run()
    if drained.published:
        log.info("drained", extra={"feed": feed.id, "published": drained.published})
    if drained.left:
        return 500  # Drive notifies again, and the next call goes on
    if drained.lost:
        watch.compare(feed, budget).part()  # at once: nothing may fall between
    return 204
