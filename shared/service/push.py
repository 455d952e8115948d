"""Pub/Sub's push envelope: what a subscription posts, and the message in it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.core import untrusted_json
from shared.core.errors import MessageError
from shared.core.message import SourceFile
from shared.core.times import parse_time

#: How much of a rejected message is logged, in bytes.
MAX_LOGGED_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Push:
    """One delivery: the message, and when it was published."""

    item: SourceFile
    published_at: datetime | None = None


def decode(body: bytes) -> Push:
    """Read the body of a push request.

    Raises ``MessageError``, with the data, for anything that no retry can fix.
    """
    try:
        envelope = untrusted_json.parse(body)
    except ValueError as error:
        raise MessageError(f"the request is not JSON: {error}", body) from error
    message = envelope.get("message") if isinstance(envelope, Mapping) else None
    if not isinstance(message, Mapping):
        raise MessageError("the request is not a push envelope with a message", body)
    data = message.get("data")
    if not isinstance(data, str):
        raise MessageError("the message has no data", body)
    try:
        raw = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise MessageError(f"the message's data is not base64: {error}", body) from error
    try:
        published_at = parse_time(message["publishTime"])
    except (KeyError, TypeError, ValueError):
        published_at = None  # a forced message then counts as new, and is processed once more
    return Push(item=SourceFile.decode(raw), published_at=published_at)


def for_log(raw: bytes) -> str:
    """Return the data of a rejected message for a log, cut."""
    return raw[:MAX_LOGGED_BYTES].decode("utf-8", "backslashreplace")
