"""Watch channels: recorded before Drive is asked to open them, renewed with an overlap."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from typing import Any

from functions.drive_watch.channel_tokens import TOKEN, ChannelTokens, stored_key
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

#: For how long the list of channels from before tokens were signed is kept.
_UNSIGNED_FOR = timedelta(minutes=1)

# The format of our ids.
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """The record of one channel.

    ``resource_id`` is unknown until Drive answers. ``key_id`` names the key that signed the
    token; it is empty for channels that were opened before tokens were signed.
    """

    id: str
    feed: str
    account: str
    token_sha256: str
    address: str
    created_at: datetime
    expires_at: datetime
    resource_id: str | None = None
    notified_at: datetime | None = None
    key_id: str = ""

    @classmethod
    def from_document(cls, doc_id: str, document: Document) -> Channel:
        names = ("created_at", "expires_at", "notified_at")
        times = {name: document_time(document.get(name)) for name in names}
        return cls(**{**document, "id": doc_id, **times})

    def to_document(self) -> Document:
        return {name: value for name, value in asdict(self).items() if name != "id"}


class _UnsignedChannels:
    """The digests of tokens from before tokens were signed, listed at most once a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listed_at: datetime | None = None
        self._digests: Mapping[str, str] = {}

    def digests(
        self, now: datetime, list_all: Callable[[], Iterable[Sequence[Channel]]]
    ) -> Mapping[str, str]:
        """Return the digests by the ids of channels."""
        with self._lock:
            if self._listed_at is None or now - self._listed_at >= _UNSIGNED_FOR:
                self._digests = {
                    channel.id: channel.token_sha256
                    for channels in list_all()
                    for channel in channels
                    if not channel.key_id
                }
                self._listed_at = now
            return self._digests


@dataclass(frozen=True)
class Channels:
    """The channels of all feeds.

    Args:
        documents: Where they are recorded.
        address: ``WEBHOOK_URL``.
        lifetime: ``CHANNEL_TTL_HOURS``.
        clock: Returns the current time.
        load_key: Returns ``CHANNEL_KEY``; by default the key that the tracker keeps.
    """

    documents: Documents
    address: str
    lifetime: timedelta
    clock: Clock
    load_key: Callable[[], str] | None = None
    _unsigned: _UnsignedChannels = field(
        default_factory=_UnsignedChannels, init=False, repr=False, compare=False
    )

    @cached_property
    def tokens(self) -> ChannelTokens:
        """What signs and checks tokens."""
        return ChannelTokens(self.load_key or partial(stored_key, self.documents), self.clock)

    def recognise(
        self, channel_id: str, token: str, resource_id: str, expiration: str = ""
    ) -> str | None:
        """Return the id of the feed that a notification is about; ``None`` for a forged one.

        A token that we did not sign, or that has expired, is refused without asking the
        database. A token from before tokens were signed is honoured until its channel
        expires or ``maintain`` has renewed it, within 15 minutes of the upgrade; forgeries of
        that kind cost one query a minute.

        ``sync`` may arrive before the answer to ``changes.watch``, so a channel whose
        resource id is unknown takes the one that comes with the right token. That also
        completes the record after a crash between the two.
        """
        if not (_ID.fullmatch(channel_id) and resource_id and self._is_ours(channel_id, token)):
            return None
        read = self.documents.get(CHANNELS, channel_id)
        if read is None:
            return None
        channel = Channel.from_document(read.id, read.document)
        if not hmac.compare_digest(_digest(token), channel.token_sha256):
            return None
        if channel.expires_at <= self.clock():
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

    def _is_ours(self, channel_id: str, token: str) -> bool:
        if self.tokens.is_valid(channel_id, token):
            return True
        if not TOKEN.fullmatch(token):
            return False
        known = self._unsigned.digests(self.clock(), lambda: self.all().values()).get(channel_id)
        return known is not None and hmac.compare_digest(_digest(token), known)

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
        enough = self.clock() + 2 * INTERVAL
        good = next((one for one in existing if self._works(one) and one.expires_at > enough), None)
        what = "kept" if good else "opened"
        current = good or self._open(feed, api, page_token)
        for channel in existing:
            if channel.id != current.id:
                self._retire(channel, api)
        return what, current

    def _works(self, channel: Channel) -> bool:
        return (
            channel.resource_id is not None
            and channel.address == self.address
            and channel.key_id == self.tokens.key_id
        )

    def _open(self, feed: Feed, api: DriveApi, page_token: str) -> Channel:
        now = self.clock()
        channel_id = uuid.uuid4().hex
        token = self.tokens.make(channel_id, now + self.lifetime)
        channel = Channel(
            id=channel_id,
            feed=feed.id,
            account=feed.account,
            token_sha256=_digest(token),
            address=self.address,
            created_at=now,
            expires_at=now + self.lifetime,
            key_id=self.tokens.key_id,
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
