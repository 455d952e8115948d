"""Watch channels: recorded before Drive is asked to open them, renewed with an overlap."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from functions.drive_watch.feeds import Feed
from shared.core.errors import ConflictError, PipelineError, is_transient
from shared.core.ports import Clock, Document, Documents, DriveApi, Versioned
from shared.core.times import document_time
from shared.tracking.leased_document import delete_document, write_document

log = logging.getLogger(__name__)

CHANNELS = "drive_channels"

#: How often ``maintain`` runs; a channel that ends within two of these is renewed.
INTERVAL = timedelta(minutes=15)

#: How long Drive may leave a new channel unanswered before its record is removed.
UNANSWERED_FOR = timedelta(days=1)

_NOTE_EVERY = timedelta(minutes=1)

# The format of our ids and tokens; anything else is refused without asking the database.
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TOKEN = re.compile(r"[\w-]{43}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """The record of one channel. ``resource_id`` is unknown until Drive answers."""

    id: str
    feed: str
    account: str
    token_sha256: str
    address: str
    created_at: datetime
    expires_at: datetime
    resource_id: str | None = None
    notified_at: datetime | None = None

    @classmethod
    def from_document(cls, doc_id: str, document: Document) -> Channel:
        names = ("created_at", "expires_at", "notified_at")
        times = {name: document_time(document.get(name)) for name in names}
        return cls(**{**document, "id": doc_id, **times})

    def to_document(self) -> Document:
        return {name: value for name, value in asdict(self).items() if name != "id"}


@dataclass(frozen=True)
class Channels:
    """The channels of all feeds.

    Args:
        documents: Where they are recorded.
        address: ``WEBHOOK_URL``.
        lifetime: ``CHANNEL_TTL_HOURS``.
        clock: Returns the current time.
    """

    documents: Documents
    address: str
    lifetime: timedelta
    clock: Clock

    def recognise(
        self, channel_id: str, token: str, resource_id: str, expiration: str = ""
    ) -> str | None:
        """Return the id of the feed that a notification is about; ``None`` for a forged one.

        ``sync`` may arrive before the answer to ``changes.watch``, so a channel whose
        resource id is unknown takes the one that comes with the right token. That also
        completes the record after a crash between the two.
        """
        if not (_ID.fullmatch(channel_id) and _TOKEN.fullmatch(token) and resource_id):
            return None
        read = self.documents.get(CHANNELS, channel_id)
        if read is None:
            return None
        channel = Channel.from_document(read.id, read.document)
        if not hmac.compare_digest(_digest(token), channel.token_sha256):
            return None
        if channel.resource_id is None:
            answer = {
                "resource_id": resource_id,
                "notified_at": self.clock(),
                **_expiry(expiration),
            }
            with suppress(ConflictError):  # Drive's answer was written meanwhile
                self.documents.replace(CHANNELS, read, {**read.document, **answer})
        elif not hmac.compare_digest(resource_id.encode(), channel.resource_id.encode()):
            return None
        else:
            self._note_notification(read, channel)
        return channel.feed

    def _note_notification(self, read: Versioned, channel: Channel) -> None:
        """Record when Drive last notified, for the dashboard; at most once a minute."""
        now = self.clock()
        if channel.notified_at and now - channel.notified_at < _NOTE_EVERY:
            return
        try:
            self.documents.replace(CHANNELS, read, {**read.document, "notified_at": now})
        except Exception as error:
            # Information only: the notification itself must not fail for it.
            log.info("a notification could not be recorded: %s", error)

    def all(self) -> dict[str, list[Channel]]:
        """Return the channels by feed, the one that ends last first."""
        found = defaultdict(list)
        for read in self.documents.find(CHANNELS):
            channel = Channel.from_document(read.id, read.document)
            found[channel.feed].append(channel)
        for channels in found.values():
            channels.sort(key=lambda channel: channel.expires_at, reverse=True)
        return found

    def hours_left(self, existing: Sequence[Channel]) -> float:
        """Return the hours until the last of a feed's channels ends; 0 without one."""
        now = self.clock()
        ends = [channel.expires_at for channel in existing if self._works(channel)]
        return max(0.0, (max(ends, default=now) - now).total_seconds() / 3600)

    def renew(
        self, feed: Feed, api: DriveApi, page_token: str, existing: Sequence[Channel]
    ) -> tuple[str, Channel]:
        """Open a channel unless one lasts long enough; returns ``opened`` or ``kept``, and it.

        The new channel is open before the old ones are stopped; both are valid in between.
        Raises ``PageTokenError``, or what Drive met.
        """
        good = next((channel for channel in existing if self._lasts(channel)), None)
        what = "kept" if good else "opened"
        current = good or self._open(feed, api, page_token)
        for channel in existing:
            if channel.id != current.id:
                self._retire(channel, api)
        return what, current

    def _lasts(self, channel: Channel) -> bool:
        return self._works(channel) and channel.expires_at - self.clock() > 2 * INTERVAL

    def _works(self, channel: Channel) -> bool:
        return channel.resource_id is not None and channel.address == self.address

    def _open(self, feed: Feed, api: DriveApi, page_token: str) -> Channel:
        token = secrets.token_urlsafe(32)
        now = self.clock()
        channel = Channel(
            id=uuid.uuid4().hex,
            feed=feed.id,
            account=feed.account,
            token_sha256=_digest(token),
            address=self.address,
            created_at=now,
            expires_at=now + self.lifetime,
        )
        self.documents.create(CHANNELS, channel.id, channel.to_document())
        try:
            opened = api.watch(
                page_token,
                channel_id=channel.id,
                channel_token=token,
                address=self.address,
                expires_at=channel.expires_at,
                drive_id=feed.drive_id,
            )
        except Exception as error:
            # After a refusal there is no channel; without an answer there may be one.
            if isinstance(error, PipelineError) and not is_transient(error):
                delete_document(self.documents, CHANNELS, channel.id)
            raise
        answer: dict[str, Any] = {
            "resource_id": opened.resource_id,
            "expires_at": opened.expires_at,
        }
        write_document(
            self.documents,
            CHANNELS,
            channel.id,
            lambda document: None if document is None else {**document, **answer},
        )
        log.info("channel opened", extra={"feed": channel.feed, "until": opened.expires_at})
        return replace(channel, **answer)

    def _retire(self, channel: Channel, api: DriveApi) -> None:
        """Stop a channel that is no longer needed, and remove its record."""
        now = self.clock()
        if channel.expires_at > now:
            if channel.resource_id is None:
                # Its resource id may still arrive, and it cannot be stopped without one.
                if now - channel.created_at < UNANSWERED_FOR:
                    return
            else:
                try:
                    api.stop(channel.id, channel.resource_id)
                except Exception as error:
                    log.warning("could not stop a channel: %s", error)
                    return
        delete_document(self.documents, CHANNELS, channel.id)

    def abandon(self, channels: Sequence[Channel], api: Callable[[str], DriveApi]) -> None:
        """Stop the channels of a feed that is no longer watched, and remove their records."""
        for channel in channels:
            if channel.resource_id and channel.expires_at > self.clock():
                # Its account may refuse us now; then the channel expires by itself.
                with suppress(Exception):
                    api(channel.account).stop(channel.id, channel.resource_id)
            delete_document(self.documents, CHANNELS, channel.id)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _expiry(text: str) -> dict[str, Any]:
    """Read ``X-Goog-Channel-Expiration``, a date as HTTP writes it."""
    try:
        return {"expires_at": parsedate_to_datetime(text).astimezone(UTC)}
    except (ValueError, OverflowError):
        return {}
