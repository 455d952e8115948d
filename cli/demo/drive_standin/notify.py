"""Watch channels, and the notifications sent to their addresses over HTTP."""

from __future__ import annotations

import hashlib
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

#: Answers after which Drive sends a notification again.
RETRIED = {500, 502, 503, 504}


@dataclass(kw_only=True)
class PushChannel:
    """A channel as it was requested; ``expiration`` is in milliseconds since 1970."""

    id: str
    token: str
    address: str
    account: str
    drive_id: str
    all_drives: bool
    expiration: int
    resource_uri: str
    messages: int = 0

    @property
    def resource_id(self) -> str:
        """Return the opaque id of what is watched: one for each account and drive."""
        seed = f"changes/{self.account}/{self.drive_id}".encode()
        return hashlib.sha256(seed).hexdigest()[:27]

    def to_json(self) -> dict[str, Any]:
        """Return the channel as ``changes.watch`` answers it."""
        token = {"token": self.token} if self.token else {}
        return {
            "kind": "api#channel",
            "id": self.id,
            "resourceId": self.resource_id,
            "resourceUri": self.resource_uri,
            "expiration": str(self.expiration),
            **token,
        }


@dataclass(frozen=True)
class Delivery:
    """One attempt to deliver: the HTTP status, or 0 without an answer."""

    channel: str
    state: str
    number: int
    status: int


@dataclass
class Notifier:
    """Sends notifications from its own threads.

    ``drop`` loses them all, ``copies`` sends each that many times, ``retries`` is how
    often a refused one is sent again and ``retry_wait_s`` the first wait before that. ``on_send``
    is called with the state (``sync`` or ``change``) just before a request is sent.
    """

    drop: bool = False
    copies: int = 1
    retries: int = 4
    retry_wait_s: float = 0.25
    on_send: Callable[[str], None] = lambda _state: None
    deliveries: deque[Delivery] = field(default_factory=lambda: deque(maxlen=100_000))

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(32, thread_name_prefix="drive-notify")
        self._stopping = threading.Event()
        self._idle = threading.Condition()
        self._pending = 0

    def send(self, channel: PushChannel, state: str) -> None:
        """Queue a notification."""
        with self._idle:
            channel.messages += 1
            if self.drop and state != "sync":
                return
            self._pending += self.copies
            for _ in range(self.copies):
                self._pool.submit(self._deliver, channel, state, channel.messages)

    def settle(self, timeout_s: float = 60.0) -> bool:
        """Wait until nothing is queued or under way; returns whether that was reached."""
        with self._idle:
            return self._idle.wait_for(lambda: self._pending == 0, timeout_s)

    def close(self) -> None:
        """Drop queued notifications and end the threads."""
        self._stopping.set()
        self._pool.shutdown(cancel_futures=True)

    def _deliver(self, channel: PushChannel, state: str, number: int) -> None:
        try:
            for attempt in range(self.retries + 1):
                self.on_send(state)
                status = _post(channel, state, number)
                self.deliveries.append(Delivery(channel.id, state, number, status))
                if status not in RETRIED or self._stopping.wait(self.retry_wait_s * 2**attempt):
                    return
        finally:
            with self._idle:
                self._pending -= 1
                self._idle.notify_all()


def headers(channel: PushChannel, state: str, number: int) -> dict[str, str]:
    """Return the headers of a notification, as the push guide lists them."""
    expires = datetime.fromtimestamp(channel.expiration / 1000, UTC)
    token = {"X-Goog-Channel-Token": channel.token} if channel.token else {}
    return {
        "Content-Type": "application/json; utf-8",
        "User-Agent": "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)",
        "X-Goog-Channel-ID": channel.id,
        "X-Goog-Channel-Expiration": format_datetime(expires, usegmt=True),
        "X-Goog-Resource-ID": channel.resource_id,
        "X-Goog-Resource-URI": channel.resource_uri,
        "X-Goog-Resource-State": state,
        "X-Goog-Message-Number": str(number),
        **token,
    }


def _post(channel: PushChannel, state: str, number: int) -> int:
    body = b"" if state == "sync" else b'{"kind": "drive#changes"}'
    request = urllib.request.Request(  # noqa: S310
        channel.address, data=body, headers=headers(channel, state, number), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0
