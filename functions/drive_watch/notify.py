"""Answers a notification: drains the feed that it is about."""

from __future__ import annotations

import logging
from typing import Protocol

from functions.drive_watch.watch import Watch

log = logging.getLogger(__name__)


class Headers(Protocol):
    """A request's headers, whatever the case of their names."""

    def get(self, name: str, default: str) -> str:
        """Return a header."""


def receive(watch: Watch, headers: Headers) -> int:
    """Answer a notification with an HTTP status; raises what the drain met.

    The body carries no information and is not read. Source of the headers: "Notifications
    for resource changes", https://developers.google.com/workspace/drive/api/guides/push
    """
    feed_id = watch.channels.recognise(
        headers.get("X-Goog-Channel-ID", ""),
        headers.get("X-Goog-Channel-Token", ""),
        headers.get("X-Goog-Resource-ID", ""),
        headers.get("X-Goog-Channel-Expiration", ""),
    )
    if feed_id is None:
        log.info("a forged notification was refused")
        return 403
    if headers.get("X-Goog-Resource-State", "") == "sync":
        log.info("Drive reaches the webhook", extra={"feed": feed_id})
        return 204
    feed = next((feed for feed in watch.feeds if feed.id == feed_id), None)
    if feed is None:
        return 204
    budget = watch.budget()
    drained = watch.drain(feed, budget).run()
    if drained.published:
        log.info("drained", extra={"feed": feed.id, "published": drained.published})
    if drained.left:
        return 500  # Drive notifies again, and the next call continues
    if drained.lost:
        watch.scan(feed, budget).part()  # at once, so that nothing is missed in between
    return 204
