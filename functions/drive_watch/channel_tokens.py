"""The tokens of watch channels: signed, so that a forged one is refused without the database."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cached_property

from shared.core.errors import ConflictError
from shared.core.ports import Clock, Documents

_KEYS = "drive_keys"
_KEY = "channels"

#: The format of every token: 32 bytes in base64url.
TOKEN = re.compile(r"[\w-]{43}", re.ASCII)


class ChannelTokens:
    """Makes and checks tokens: when the channel ends, and a signature of that and its id.

    32 bytes in base64url: seconds since 1970 in 4, and the first 28 of an HMAC-SHA256. Drive
    returns the token unchanged with each notification ("Notifications for resource changes").

    Args:
        load_key: Returns the key; called once, when it is first needed.
        clock: Returns the current time.
    """

    def __init__(self, load_key: Callable[[], str], clock: Clock) -> None:
        self._load_key = load_key
        self._clock = clock

    @cached_property
    def _key(self) -> bytes:
        return self._load_key().encode()

    @property
    def key_id(self) -> str:
        """A name for the key that does not reveal it: a channel of another key is renewed."""
        return hashlib.sha256(b"audio-pipeline channel key " + self._key).hexdigest()[:16]

    def make(self, channel_id: str, expires_at: datetime) -> str:
        expiry = int(expires_at.timestamp()).to_bytes(4)
        return base64.urlsafe_b64encode(expiry + self._signature(channel_id, expiry)).decode()[:43]

    def is_valid(self, channel_id: str, token: str) -> bool:
        """Return whether we made this token for this channel, and it has not expired."""
        if not TOKEN.fullmatch(token):
            return False
        data = base64.urlsafe_b64decode(token + "=")
        expiry, signature = data[:4], data[4:]
        if not hmac.compare_digest(signature, self._signature(channel_id, expiry)):
            return False
        return int.from_bytes(expiry) > self._clock().timestamp()

    def _signature(self, channel_id: str, expiry: bytes) -> bytes:
        return hmac.digest(self._key, channel_id.encode() + expiry, "sha256")[:28]


def stored_key(documents: Documents) -> str:
    """Return the key that the tracker keeps, for deployments without ``CHANNEL_KEY``."""
    with suppress(ConflictError):  # another process was faster
        if documents.get(_KEYS, _KEY) is None:
            documents.create(_KEYS, _KEY, {"key": secrets.token_urlsafe(32)})
    read = documents.get(_KEYS, _KEY)
    assert read is not None
    return str(read.document["key"])
