"""Posts results to an https address, signed as Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from urllib.parse import urlsplit

from shared.config.secret import Secret
from shared.core.errors import ConfigurationError, TransientError
from shared.core.results import MEDIA_TYPE, ResultEvent

_CHECK_S = 4.0


class WebhookResults:
    """A receiver of webhooks at ``url`` (``ports.Results``).

    ``secrets`` are ``whsec_`` and base64 each. The event is signed with every one of them, so
    that a secret can be replaced without a gap. Only http on this machine may go unsigned.

    A status of 200 to 299 accepts the event. Redirects are not followed. Sources: "Standard
    Webhooks" 1.0, "Webhook headers", "Signature scheme", "Delivery success and failure".
    """

    def __init__(self, url: str, secrets: Sequence[Secret], *, deadline_s: float = 10.0) -> None:
        self._url = urlsplit(url)
        self._keys = [
            base64.b64decode(secret.reveal().removeprefix("whsec_")) for secret in secrets
        ]
        self._deadline_s = deadline_s

    def publish(self, event: ResultEvent) -> None:
        """Post the event, and raise unless it was accepted."""
        if self._url.scheme == "https" and not self._keys:
            raise ConfigurationError(["RESULTS_SECRET is not set: results over https are signed"])
        body = event.encode()
        # The signed parts are joined by dots, so an id must not contain one.
        message_id, timestamp = event.id.replace(".", "~"), str(int(time.time()))
        signed = f"{message_id}.{timestamp}.".encode() + body
        headers = {
            "Content-Type": MEDIA_TYPE,
            "User-Agent": "audio-pipeline",
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
        }
        if self._keys:
            headers["webhook-signature"] = " ".join(_signature(key, signed) for key in self._keys)
        target = self._url.path or "/"
        if self._url.query:
            target += f"?{self._url.query}"
        with closing(self._connection(self._deadline_s)) as connection:
            connection.connect()
            # The timeout of a socket is for each read: a receiver that sends a byte now and
            # then would keep us here for hours.
            timer = threading.Timer(self._deadline_s, _shut_down, [connection.sock])
            timer.daemon = True
            timer.start()
            try:
                connection.request("POST", target, body, headers)
                status = connection.getresponse().status
            finally:
                timer.cancel()
        if not 200 <= status < 300:
            raise TransientError(f"the receiver of results answered {status}")

    def check(self) -> None:
        """Raise if nothing accepts a connection; takes at most 5 seconds."""
        with closing(self._connection(_CHECK_S)) as connection:
            connection.connect()

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)


def _signature(key: bytes, signed: bytes) -> str:
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _shut_down(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
