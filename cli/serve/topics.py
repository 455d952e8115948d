"""The publishing side of the local queue: a small HTTP server on one Unix socket a topic."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from cli.serve.queue import PushQueue, published

#: Pub/Sub's own limit for one request.
MAX_BODY = 10_000_000


@contextmanager
def listening(path: Path, queue: PushQueue) -> Iterator[None]:
    """Accept messages for ``queue`` on the socket ``path`` until the block ends."""
    with _TopicServer(path, queue) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class _TopicServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, path: Path, queue: PushQueue) -> None:
        self.queue = queue
        super().__init__(str(path), _TopicHandler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Leave out the tracebacks of publishers that died."""


class _TopicHandler(BaseHTTPRequestHandler):
    server: _TopicServer
    protocol_version = "HTTP/1.1"
    timeout = 30.0

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: the queue reports what matters."""

    def do_GET(self) -> None:
        """Answer a check."""
        self._answer(200)

    def do_POST(self) -> None:
        """Accept all messages of a request, or none."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY:
            self.close_connection = True
            self._answer(413)
            return
        try:
            messages = published(self.rfile.read(length))
        except ValueError:
            self._answer(400)
            return
        for data, attributes in messages:
            self.server.queue.publish(data, attributes)
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
