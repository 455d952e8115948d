"""The local queue of ``audio-pipeline serve``, for tests where Google's emulator is missing."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cli.serve import topics
from cli.serve.queue import Endpoint, Message, Policy, PushQueue
from shared.adapters.local.queue import SocketQueue

_WAIT_S = 30.0

#: How many messages a subscription pushes at the same time.
_AT_ONCE = 4


@dataclass
class Topic:
    """A topic of the local queue whose messages are kept for ``pull``."""

    url: str = ""
    _found: list[bytes] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def on_event(self, event: str, message: Message) -> None:
        if event == "published":
            with self._changed:
                self._found.append(message.data)
                self._changed.notify_all()

    def pull(self, count: int) -> list[bytes]:
        """Wait until ``count`` messages have arrived; return and forget all that are there."""
        with self._changed:
            end = time.monotonic() + _WAIT_S
            while len(self._found) < count and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            found, self._found[:] = list(self._found), []
            return found


@contextmanager
def local_topic() -> Iterator[Topic]:
    """Accept messages on a socket until the block ends."""
    topic = Topic()
    # Not below pytest's folder: a socket's path has at most 108 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="q", dir="/tmp") as folder:
        path = Path(folder) / "topic"
        topic.url = f"local://{path}"
        with topics.listening(path, PushQueue([], on_event=topic.on_event)):
            yield topic


@contextmanager
def local_subscription(
    url: str, *, dead_letters: str, deliveries: int = 100, copies: int = 1
) -> Iterator[SocketQueue]:
    """Push messages to the server ``url``; yields the queue to publish to.

    After so many ``deliveries`` they go to ``/dead-letter`` of the server ``dead_letters``.
    With ``copies`` each message is pushed as often, side by side.
    """

    class Queue(PushQueue):
        def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
            for _ in range(copies):
                super().publish(data, attributes)

    policy = Policy(first_backoff_s=0.1, longest_backoff_s=1.0, max_deliveries=deliveries)
    with (
        tempfile.TemporaryDirectory(prefix="q", dir="/tmp") as folder,
        _relay(Path(folder) / "push", url) as push,
        _relay(Path(folder) / "dead", dead_letters) as dead,
    ):
        queue = Queue([Endpoint(push)] * _AT_ONCE * copies, Endpoint(dead, "/dead-letter"), policy)
        with topics.listening(Path(folder) / "topic", queue):
            queue.start()
            try:
                yield SocketQueue(Path(folder) / "topic")
            finally:
                queue.close()


@contextmanager
def _relay(path: Path, url: str) -> Iterator[Path]:
    """Forward connections from a socket to a server: the local queue pushes to sockets only."""
    target = urlsplit(url)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # A server that is down or dies closes the connection: the push has failed.
            with (
                contextlib.suppress(OSError),
                socket.create_connection((target.hostname, target.port)) as there,
            ):
                threading.Thread(target=_copy, args=(self.request, there), daemon=True).start()
                _copy(there, self.request)

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 512

    with Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
