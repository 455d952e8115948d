"""Pub/Sub's push envelope: what a subscription posts, and what its message says."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.core.errors import MessageError
from shared.core.message import SourceFile
from shared.core.times import parse_time

#: How much of a message that cannot be understood is logged, in bytes.
MAX_LOGGED_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Push:
    """One delivery: the message, when it was published, and how often it was delivered."""

    item: SourceFile
    published_at: datetime | None = None
    message_id: str = ""
    attempt: int | None = None


def decode(body: bytes) -> Push:
    """Read the body of a push request.

    Raises ``MessageError``, with the data, for anything that no retry can mend.
    """
    message = _message(body)
    attempt = _envelope(body).get("deliveryAttempt")
    return Push(
        item=SourceFile.decode(_data(message, body)),
        published_at=_published_at(message),
        message_id=str(message.get("messageId", "")),
        attempt=attempt if type(attempt) is int else None,
    )


def _envelope(body: bytes) -> Mapping[str, Any]:
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"the request is not JSON: {error}", body) from error
    if not isinstance(envelope, Mapping):
        raise MessageError("the request is not a push envelope", body)
    return envelope


def _message(body: bytes) -> Mapping[str, Any]:
    message = _envelope(body).get("message")
    if not isinstance(message, Mapping):
        raise MessageError("the push envelope has no message", body)
    return message


def _data(message: Mapping[str, Any], body: bytes) -> bytes:
    data = message.get("data")
    if not isinstance(data, str):
        raise MessageError("the message has no data", body)
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MessageError(f"the message's data is not base64: {error}", body) from error


def _published_at(message: Mapping[str, Any]) -> datetime | None:
    # Without it a forced message counts as new: doing the work again harms nobody.
    try:
        return parse_time(str(message.get("publishTime")))
    except ValueError:
        return None


def for_log(raw: bytes) -> str:
    """Return the data of a message that was refused, cut, for a log."""
    return raw[:MAX_LOGGED_BYTES].decode("utf-8", "backslashreplace")
