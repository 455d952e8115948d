"""Publishes messages to the queue of ``audio-pipeline serve``, over a Unix socket."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Sequence
from pathlib import Path

from shared.core.errors import TransientError
from shared.core.message import SourceFile
from shared.runtime import unix_http

_PUBLISH_S = 30.0
_CHECK_S = 4.0


class SocketQueue:
    """A topic of the local queue (``ports.Queue``), at the socket ``path``.

    A message is sent as the body of Pub/Sub's REST method ``projects.topics.publish``
    (https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish).
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def publish(self, items: Sequence[SourceFile]) -> None:
        """Return when every message is accepted; raises a transient error otherwise."""
        if not items:
            return
        messages = [
            {"data": base64.b64encode(item.encode()).decode(), "attributes": item.attributes()}
            for item in items
        ]
        self._ask("POST", json.dumps({"messages": messages}).encode(), _PUBLISH_S)

    def check(self) -> None:
        """Raise when nothing listens on the socket; takes at most 5 seconds."""
        self._ask("GET", None, _CHECK_S)

    def _ask(self, method: str, body: bytes | None, timeout_s: float) -> None:
        try:
            reply = unix_http.request(self._path, method, "/", body, timeout_s=timeout_s)
        except (OSError, http.client.HTTPException) as error:
            # FileNotFoundError too: serve creates a new socket when it starts again.
            raise TransientError(f"the local queue does not answer: {error}") from error
        if reply.status != 200:
            raise TransientError(f"the local queue answered {reply.status}")
