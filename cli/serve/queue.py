"""A local queue that pushes as Pub/Sub does: ack deadline, back-off, at least once.

It keeps its messages in memory. What makes them durable is the tracker: every message has
a QUEUED document, and ``System`` publishes those that the queue does not know.
"""

from __future__ import annotations

import base64
import heapq
import http.client
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.core import untrusted_json
from shared.core.times import format_time
from shared.runtime import unix_http

log = logging.getLogger(__name__)

#: The answers that acknowledge a push.
#: https://cloud.google.com/pubsub/docs/push#receive_push
ACKNOWLEDGED = frozenset({102, 200, 201, 202, 204})


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How a subscription delivers; times are in seconds.

    Back-off is shorter than in the cloud (10 to 600 s), since a push here costs nothing.
    """

    ack_deadline_s: float = 600.0
    first_backoff_s: float = 1.0
    longest_backoff_s: float = 60.0
    max_deliveries: int = 100


@dataclass
class Message:
    """One message and its deliveries so far."""

    id: str
    data: bytes
    attributes: Mapping[str, str]
    published_at: datetime
    deliveries: int = 0
    is_dead: bool = False

    def envelope(self) -> bytes:
        """Return the body of a push request.

        https://cloud.google.com/pubsub/docs/push#properties_of_a_push_subscription
        """
        message = {
            "data": base64.b64encode(self.data).decode(),
            "attributes": dict(self.attributes),
            "messageId": self.id,
            "publishTime": format_time(self.published_at),
        }
        return json.dumps(
            {
                "message": message,
                "subscription": "projects/local/subscriptions/serve",
                "deliveryAttempt": self.deliveries,
            }
        ).encode()


@dataclass(frozen=True)
class Endpoint:
    """Where messages are pushed: a function's socket. It gets one message at a time."""

    socket: Path
    path: str = "/"


@dataclass
class PushQueue:
    """A topic with one push subscription.

    Args:
        endpoints: Each gets one message at a time.
        dead_letters: Where messages go that were delivered ``max_deliveries`` times.
        on_event: Called with ``published``, ``pushed``, ``acked`` or ``refused`` and the
            message; must not raise.
    """

    endpoints: Sequence[Endpoint]
    dead_letters: Endpoint | None = None
    policy: Policy = field(default_factory=Policy)
    on_event: Callable[[str, Message], None] = lambda _event, _message: None

    def __post_init__(self) -> None:
        self._heap: list[tuple[float, int, Message]] = []
        self._order = itertools.count()
        self._in_flight: set[str] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._ids = itertools.count(1)
        self._threads = [
            threading.Thread(target=self._deliver, args=(endpoint,), daemon=True)
            for endpoint in self.endpoints
        ]

    def start(self) -> None:
        """Start pushing."""
        for thread in self._threads:
            thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Push nothing more; waits for pushes under way, within ``timeout_s``."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """Accept a message."""
        message = Message(str(next(self._ids)), data, attributes, datetime.now(UTC))
        self.on_event("published", message)
        self._push_back(message, 0.0)

    def known(self) -> set[str]:
        """Return the keys of all messages that are waiting or being pushed."""
        with self._changed:
            waiting = {message.attributes.get("key", "") for _, _, message in self._heap}
            return waiting | self._in_flight

    def __len__(self) -> int:
        with self._changed:
            return len(self._heap) + len(self._in_flight)

    def _push_back(self, message: Message, wait_s: float) -> None:
        with self._changed:
            due = time.monotonic() + wait_s
            heapq.heappush(self._heap, (due, next(self._order), message))
            self._changed.notify()

    def _next(self) -> Message | None:
        """Wait for a message that is due; ``None`` once the queue is closed."""
        with self._changed:
            while not self._closed:
                left = self._heap[0][0] - time.monotonic() if self._heap else None
                if left is not None and left <= 0:
                    message = heapq.heappop(self._heap)[2]
                    self._in_flight.add(message.attributes.get("key", ""))
                    return message
                self._changed.wait(left)
            return None

    def _deliver(self, endpoint: Endpoint) -> None:
        while message := self._next():
            message.deliveries += not message.is_dead
            self.on_event("pushed", message)
            target = self.dead_letters if message.is_dead and self.dead_letters else endpoint
            is_acked = self._is_acknowledged(target, message)
            with self._changed:
                self._in_flight.discard(message.attributes.get("key", ""))
            if is_acked:
                self.on_event("acked", message)
                continue
            self.on_event("refused", message)
            if message.deliveries >= self.policy.max_deliveries:
                log.error("message not delivered: dead letter", extra=dict(message.attributes))
                if self.dead_letters is None:
                    continue
                message.is_dead = True
            doublings = min(message.deliveries - 1, 20)
            wait_s = self.policy.first_backoff_s * 2.0**doublings
            self._push_back(message, min(wait_s, self.policy.longest_backoff_s))

    def _is_acknowledged(self, endpoint: Endpoint, message: Message) -> bool:
        try:
            reply = unix_http.request(
                endpoint.socket,
                "POST",
                endpoint.path,
                message.envelope(),
                timeout_s=self.policy.ack_deadline_s,
            )
        except (OSError, http.client.HTTPException):
            return False  # the worker died, or did not answer within the ack deadline
        return reply.status in ACKNOWLEDGED


def published(body: bytes) -> list[tuple[bytes, dict[str, str]]]:
    """Read the body of a publish request, as ``SocketQueue`` sends it.

    Raises ``ValueError`` for anything else.
    """
    try:
        messages: list[Any] = untrusted_json.parse(body)["messages"]
        return [
            (base64.b64decode(message["data"], validate=True), dict(message["attributes"]))
            for message in messages
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a publish request: {error}") from error
