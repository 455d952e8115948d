"""A loopback address for the push subscriptions of a Pub/Sub emulator.

The functions listen on Unix sockets, which a subscription cannot name.
"""

from __future__ import annotations

import http.client
import queue
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cli.serve.queue import Endpoint
from cli.serve.topics import MAX_BODY
from shared.runtime import unix_http


@contextmanager
def push_address(endpoints: Sequence[Endpoint], ack_deadline_s: float = 600.0) -> Iterator[str]:
    """Pass each request on to an idle endpoint until the block ends; yields the URL.

    The function's status is answered as it is. An emulator sends no ``Authorization``
    header, so the path is a secret that stands in for it.
    """
    idle: queue.Queue[Endpoint] = queue.Queue()
    for endpoint in endpoints:
        idle.put(endpoint)
    path = f"/{secrets.token_urlsafe(16)}"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30.0

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing: the functions log each delivery."""

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if self.path != path or length > MAX_BODY:
                self.close_connection = True
                self._answer(404 if self.path != path else 413)
                return
            self._answer(self._deliver(self.rfile.read(length)))

        def _deliver(self, body: bytes) -> int:
            try:
                endpoint = idle.get(timeout=ack_deadline_s)
            except queue.Empty:
                return 503
            try:
                reply = unix_http.request(
                    endpoint.socket, "POST", endpoint.path, body, timeout_s=ack_deadline_s
                )
            except (OSError, http.client.HTTPException):
                return 502  # the worker died; the emulator delivers the message again
            finally:
                idle.put(endpoint)
            return reply.status

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with _PushServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{path}"
        finally:
            server.shutdown()
            thread.join()


class _PushServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def handle_error(self, request: object, client_address: object) -> None:
        """Leave out the tracebacks of an emulator that was stopped."""
